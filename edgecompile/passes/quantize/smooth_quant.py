"""`smooth_quant`: move the outliers of activations into the weights that multiply them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from edgecompile.calibration.split import spread
from edgecompile.calibration.taps import tapped_session
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, NoteBook, Outcome, Pass, unchanged
from edgecompile.passes.quantize.affine import integer_type
from edgecompile.passes.quantize.scaled_groups import Group, scaled_groups
from edgecompile.passes.quantize.smoothing import (
    Arithmetic,
    Floats,
    Product,
    Smoothing,
    best_smoothing,
)
from edgecompile.targets.schema import QdqStyle

BALANCED = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Exponents alpha that are tried with 1 - alpha for the weights..."""
ALONE = (0.5, 0.6, 0.7, 0.8, 0.9)
"""... and without the weights."""
GRID = (*((alpha, 1 - alpha) for alpha in BALANCED), *((alpha, 0.0) for alpha in ALONE))


class SmoothQuant(Pass):
    """Scale the channels of activations down and those of weights up, so that both quantize well.

    Xiao et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
    Language Models". The model computes the same; run it before `calibrate`.
    """

    id: ClassVar[str] = "smooth_quant"
    version: ClassVar[int] = 4
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    facts: ClassVar[tuple[str, ...]] = ("quantization",)
    required_facts: ClassVar[tuple[str, ...]] = ("quantization",)
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "onnxruntime", "onnx-ir")

    alpha: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = "auto"
    """How much of the difficulty moves into the weights; `auto` takes for each tensor the value
    of least error of its quantized products. No scale at all is always among the candidates."""
    operators: tuple[Literal["MatMul", "Gemm", "Conv"], ...] = ("MatMul", "Gemm")
    """Layers whose inputs are scaled."""
    insert: tuple[Literal["MatMul", "Gemm", "Conv"], ...] = ()
    """Layers in front of which to multiply by the scales where nothing before the tensor can take
    them in: an operator more, which OpenVINO takes into the quantizer behind it."""
    gain: Annotated[float, Field(ge=1)] = 1.1
    """Leave tensors alone whose error would fall by less than this factor."""
    samples: Annotated[int, Field(ge=1)] = 32
    """Calibration samples to look at."""
    rows: Annotated[int, Field(ge=16)] = 512
    """Rows (positions, tokens) of each tensor that the candidates are tried on."""

    def run(self, model: Model, context: Context) -> Outcome:
        """Scale every tensor that gains from it."""
        style, data = context.target.quantization, context.data
        if style is None or data is None:
            return unchanged(model)
        book, result = NoteBook(), model.clone()
        groups = list(scaled_groups(result, self.operators, book, insert=self.insert))
        if not style.weights.per_channel:
            # the layer that makes the tensor would pay for it: its rows share one scale
            groups = [g for g in groups if g.division is None or g.division.layer is None]
        if not groups:
            return unchanged(model, book.notes)
        picked = data.subset(spread(len(data), self.samples))
        names = sorted({group.name for group in groups})
        session = tapped_session(model, names, threads=context.threads, only=True)
        taken: dict[tuple[str, int], list[Floats]] = {}
        limit = max(1, -(-self.rows // len(picked)))
        for index, sample in enumerate(picked):
            arrays = session.run(sample.feeds, names, sample=sample.name)
            for group in groups:
                for i, view in enumerate(group.views):
                    rng = np.random.default_rng(index)
                    rows = view.pick(arrays[group.name], limit, rng)
                    taken.setdefault((group.name, i), []).append(rows)
            del arrays  # before the next ones are made
            if context.progress is not None:
                context.progress(index + 1, len(picked))
        scaled = [group for group in groups if self._smooth(group, taken, style, result, book)]
        if not scaled:
            return unchanged(model, book.notes)
        book.fail(f"{len(scaled)} of {len(groups)} tensors smoothed")
        return Outcome(model=result, changed=True, notes=book.notes)

    def _smooth(
        self,
        group: Group,
        taken: dict[tuple[str, int], list[Floats]],
        style: QdqStyle,
        result: Model,
        book: NoteBook,
    ) -> bool:
        """Find and apply the scales of one group; whether there are any."""
        products = [
            Product(layer=layer, view=view, rows=np.concatenate(taken[group.name, i], axis=1))
            for i, (layer, view) in enumerate(zip(group.layers, group.views, strict=True))
        ]
        candidates = GRID if self.alpha == "auto" else ((self.alpha, 1 - self.alpha),)
        found = best_smoothing(products, candidates, _arithmetic(style), gain=self.gain)
        if (
            found is None
            or found.before < self.gain * found.after
            or not np.isfinite(found.scales).all()
        ):
            return False
        group.scale(found.scales, result)
        book.fail(_told(found), group.layers[0].node.name, op_type=group.layers[0].node.op_type)
        return True


def _arithmetic(style: QdqStyle) -> Arithmetic:
    return Arithmetic(
        activations=integer_type(style.activations.type),
        weights=integer_type(style.weights.type, narrow=style.weights.narrow_range),
        symmetric=style.activations.symmetric,
        per_channel=style.weights.per_channel,
    )


def _told(found: Smoothing) -> str:
    gained = 10 * np.log10(found.before / found.after) if found.after else np.inf
    alpha, beta = found.exponents
    balance = "" if beta else " and the weights left out"
    return (
        f"inputs smoothed with alpha {alpha:g}{balance}: {gained:.1f} dB less error of its products"
    )
