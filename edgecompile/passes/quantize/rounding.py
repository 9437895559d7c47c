"""What passes that choose integers of weights by their layer's inputs have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from edgecompile.calibration.moments import Moments, moments_bytes, second_moments
from edgecompile.calibration.split import spread
from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, Need, NoteBook, Outcome, Pass, unchanged
from edgecompile.passes.quantize.affine import FloatArray
from edgecompile.passes.quantize.batches import batches
from edgecompile.passes.quantize.second_order import (
    Lattice,
    Matrix,
    output_error,
)
from edgecompile.passes.quantize.stored_weight import StoredWeight, stored_weights
from edgecompile.targets.schema import Saturation

WORTHWHILE = 0.95
"""Share of a channel's error that a new rounding must come below. What is left above it fits the
samples at hand."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Choose steps for `weights` [G, M, K] that change the outputs least: tr(D H D^T)."""

    weights: Matrix
    moments: Matrix
    """H, [G, K, K], of the layer's inputs, with what is chance taken out."""
    lattice: Lattice
    steps: Matrix
    """The steps that are stored now."""
    partners: Sequence[int] | None
    """Columns whose products meet in 16 bits; None where that does no harm."""
    power_of_two: bool = False
    """Whether scales must be powers of two."""

    def error(self, steps: Matrix, lattice: Lattice | None = None) -> Matrix:
        """Expected squared error of each output, [G, M]."""
        scale = (lattice or self.lattice).scale
        return output_error(steps * scale - self.weights, self.moments)


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """Steps found, [G, M, K], and their scales, [G, M, B], where those are new."""

    steps: Matrix
    scale: FloatArray | None = None


class RoundingPass(Pass):
    """Base of passes that round stored weights anew, each channel only where it gains.

    The inputs of each layer are those of the float model on calibration samples, and stand in
    memory as their second moments: the same size whatever the number of samples.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA, Need.REFERENCE})
    facts: ClassVar[tuple[str, ...]] = ("quantization",)
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "onnxruntime")
    lossy: ClassVar[bool] = True

    samples: Annotated[int, Field(ge=1)] = 32
    """Calibration samples to gather input moments from."""
    rows: Annotated[int, Field(ge=1)] = 4
    """Inputs (positions, tokens) to gather in all, in multiples of the inputs per output."""
    damping: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = "auto"
    """How little to trust the moments: a share of the mean of their diagonal added to it. `auto`
    takes correlations down by the part that two halves of the samples disagree about."""
    memory_mb: Annotated[int, Field(ge=16)] = 512
    """Moments held at once; layers beyond it take a further run over the samples."""
    largest_inputs: Annotated[int, Field(ge=1)] = 8192
    """Leave layers with more inputs per output than this: cost grows with its cube."""
    overflow: Literal["auto", "avoid", "ignore"] = "auto"
    """Whether pairs of weights must be safe from 16-bit saturation; `auto` asks the target."""

    @abstractmethod
    def rounded(self, layer: StoredWeight, problem: Problem) -> Rounded | None:
        """A better rounding of one layer, its partners safe; None where there is no way to one."""

    def run(self, model: Model, context: Context) -> Outcome:
        """Round every weight that is a matrix of known inputs again."""
        data, reference = context.data, context.reference
        if data is None or reference is None:
            return unchanged(model)
        book, result = NoteBook(), model.clone()
        layers = list(stored_weights(result, reference, book, largest_inputs=self.largest_inputs))
        samples = data.subset(spread(len(data), self.samples))
        style = context.target.quantization
        octaves = style is not None and style.power_of_two_scales
        avoid = self._avoid(context)
        before = after = 0.0
        for batch in batches(layers, lambda x: moments_bytes(x.rows), self.memory_mb << 20):
            moments = second_moments(
                reference,
                {layer.name: layer.rows for layer in batch},
                samples,
                rows_per_input=self.rows,
                threads=context.threads,
                progress=context.progress,
            )
            for layer in batch:
                lost, left = self._improve(layer, moments.pop(layer.name), book, avoid, octaves)
                before, after = before + lost, after + left
        if before == after:
            return unchanged(model, book.notes)
        ratio = 10 * np.log10(before / after) if after else np.inf
        book.fail(f"{len(layers)} weights rounded again: {ratio:.1f} dB less error of the outputs")
        return Outcome(model=result, changed=True, notes=book.notes)

    def _avoid(self, context: Context) -> bool:
        style = context.target.quantization
        if self.overflow == "auto":
            return style is not None and style.saturation is not Saturation.NEVER
        return self.overflow == "avoid"

    def _improve(
        self, layer: StoredWeight, moments: Moments, book: NoteBook, avoid: bool, octaves: bool
    ) -> tuple[float, float]:
        """Round one layer in place: its error over its output's power, before and after."""
        shrunk = moments.shrunk(None if self.damping == "auto" else self.damping)
        pairs = layer.rows.partners() if avoid and layer.kind.bits == 8 else None
        problem = Problem(
            weights=layer.floats(),
            moments=shrunk,
            lattice=layer.lattice(),
            steps=layer.steps(),
            partners=pairs,
            power_of_two=octaves,
        )
        power = float(output_error(problem.weights, shrunk).sum()) or 1.0
        error = problem.error(problem.steps)
        found = self.rounded(layer, problem)
        if found is None:
            book.fail("its input moments cannot be inverted: left as it is", layer.name)
            return error.sum() / power, error.sum() / power
        steps, scale = found.steps, found.scale
        improved = problem.error(steps, layer.lattice(scale))
        better = improved < WORTHWHILE * error
        if layer.shared and scale is not None:
            better = np.full_like(better, improved.sum() < WORTHWHILE * error.sum())
        if scale is not None and better.any():
            layer.store_scale(np.where(better[..., None], scale, layer.scale))
        layer.keep(np.where(better[..., None], steps, problem.steps))
        return error.sum() / power, np.where(better, improved, error).sum() / power
