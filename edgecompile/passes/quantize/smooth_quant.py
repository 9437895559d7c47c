"""`smooth_quant`: move the outliers of activations into the weights that multiply them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import onnx_ir as ir
from pydantic import Field

from edgecompile.calibration.split import spread
from edgecompile.calibration.taps import tapped_session
from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.base import Context, Need, NoteBook, Outcome, Pass, unchanged
from edgecompile.passes.graph.edit import add_constant
from edgecompile.passes.quantize.affine import integer_type
from edgecompile.passes.quantize.channel_scale import (
    Division,
    Layer,
    Scales,
    division,
    layer_of,
    scale_inputs,
)
from edgecompile.passes.quantize.smoothing import (
    Arithmetic,
    Floats,
    Product,
    Smoothing,
    best_smoothing,
)
from edgecompile.passes.quantize.unfold import Unfolded, unfold
from edgecompile.targets.schema import QdqStyle

BALANCED = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Exponents alpha that are tried with 1 - alpha for the weights..."""
ALONE = (0.5, 0.6, 0.7, 0.8, 0.9)
"""... and without the weights."""
GRID = (*((alpha, 1 - alpha) for alpha in BALANCED), *((alpha, 0.0) for alpha in ALONE))


@dataclass(frozen=True, kw_only=True)
class Group:
    """A tensor and the layers of one kind that read it: they share one scale per channel."""

    tensor: ir.Value
    layers: tuple[Layer, ...]
    views: tuple[Unfolded, ...]
    division: Division | None
    """How what makes the tensor divides by the scales; None to multiply by their inverse."""

    @property
    def name(self) -> str:
        """Name of the tensor."""
        return self.tensor.name or ""


class SmoothQuant(Pass):
    """Scale the channels of activations down and those of weights up, so that both quantize well.

    Xiao et al. 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
    Language Models". The model computes the same; run it before `calibrate`.
    """

    id: ClassVar[str] = "smooth_quant"
    version: ClassVar[int] = 2
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
        groups = list(self._groups(result, book))
        if not groups:
            return unchanged(model, book.notes)
        picked = data.subset(spread(len(data), self.samples))
        session = tapped_session(
            model, sorted({group.name for group in groups}), threads=context.threads
        )
        taken: dict[tuple[str, int], list[Floats]] = {}
        limit = max(1, -(-self.rows // len(picked)))
        for index, sample in enumerate(picked):
            arrays = session.run(sample.feeds, [g.name for g in groups], sample=sample.name)
            for group in groups:
                for i, view in enumerate(group.views):
                    rng = np.random.default_rng(index)
                    rows = view.pick(arrays[group.name], limit, rng)
                    taken.setdefault((group.name, i), []).append(rows)
            if context.progress is not None:
                context.progress(index + 1, len(picked))
        scaled = [group for group in groups if self._smooth(group, taken, style, result, book)]
        if not scaled:
            return unchanged(model, book.notes)
        book.fail(f"{len(scaled)} of {len(groups)} tensors smoothed")
        return Outcome(model=result, changed=True, notes=book.notes)

    def _groups(self, model: Model, book: NoteBook) -> Iterator[Group]:
        values: dict[str, ir.Value] = {}
        for node in model.graph.graph:
            source = node.inputs[0] if node.op_type in self.operators and node.inputs else None
            if source is not None and source.name:
                values.setdefault(source.name, source)
        for value in values.values():
            users = {use.node for use in value.uses() if use.node.op_type in self.operators}
            found = [layer_of(node) for node in sorted(users, key=lambda n: n.name or "")]
            for axis in (-1, 1):
                layers = [x for x in found if x is not None and x.channel_axis == axis]
                group = self._group(value, layers, book)
                if group is not None:
                    yield group

    def _group(self, value: ir.Value, layers: Sequence[Layer], book: NoteBook) -> Group | None:
        if not layers or len({layer.channels for layer in layers}) != 1 or value.shape is None:
            return None
        first = layers[0]
        views = [unfold(layer.node, 1, layer.weights) for layer in layers]
        nodes = [layer.node for layer in layers]
        way = division(value, nodes, first.channel_axis, first.channels)
        if isinstance(way, str) and first.node.op_type not in self.insert:
            book.fail(f"not smoothed: {way}", first.node.name, op_type=first.node.op_type)
            return None
        return Group(
            tensor=value,
            layers=tuple(layers),
            views=tuple(view for view in views if view is not None),
            division=None if isinstance(way, str) else way,
        )

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
        found = best_smoothing(products, candidates, _arithmetic(style))
        if found.before < self.gain * found.after or not np.isfinite(found.scales).all():
            return False
        names = Names(result.graph.graph)
        scales = found.scales
        for layer in group.layers:
            scale_inputs(layer, scales, names)
        if group.division is not None:
            group.division.apply(scales, names)
        else:
            _multiply(group, scales, result, names)
        book.fail(_told(found), group.layers[0].node.name, op_type=group.layers[0].node.op_type)
        return True


def _multiply(group: Group, scales: Scales, model: Model, names: Names) -> None:
    """Put a Mul by 1 / `scales` between the tensor and its layers."""
    value, graph = group.tensor, model.graph.graph
    axis, rank = group.layers[0].channel_axis, len(value.shape or ())
    shape = [len(scales) if i == axis % rank else 1 for i in range(rank)]
    factors = (1 / scales).astype(np.float32).reshape(shape if axis == 1 else -1)
    factor = add_constant(graph, factors, f"{value.name}_smooth_scale", names)
    node = ir.node("Mul", [value, factor], name=names.unique(f"{value.name}_smooth"))
    node.outputs[0].name = names.unique(f"{value.name}_smoothed")
    node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
    first = min((layer.node for layer in group.layers), key=graph.index)
    graph.insert_before(first, node)
    for layer in group.layers:
        layer.node.replace_input_with(0, node.outputs[0])


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
