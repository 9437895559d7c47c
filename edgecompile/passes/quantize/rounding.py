"""What passes that choose integers of weights by their layer's inputs have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from edgecompile.calibration.moments import Moments, moments_bytes, moments_of_both, second_moments
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

if TYPE_CHECKING:
    from edgecompile.calibration.dataset import Dataset

WORTHWHILE = 0.95
"""Share of a channel's error that a new rounding must come below. What is left above it fits the
samples at hand."""
RIDGE = np.float32(0.01)
"""Share of the mean input power that holds weights near the float ones."""


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


def made_up(weights: Matrix, shrunk: Matrix, moments: Moments) -> Matrix:
    """Weights that come closest to the exact outputs, given inputs that are off.

    min |W x - V x'|^2 has V = W E[x x'^T] E[x' x'^T]^-1: W, and what is lost in W (x - x').
    """
    assert moments.cross is not None
    level = np.einsum("gkk->gk", shrunk).mean(axis=1)[:, None, None]
    eye = np.eye(shrunk.shape[1], dtype=np.float32)
    safe = shrunk + eye * np.where(level > 0, RIDGE * level, 1.0)
    lost = weights @ (moments.cross - moments.matrix)
    change = np.linalg.solve(safe, lost.swapaxes(1, 2)).swapaxes(1, 2)
    found: Matrix = (weights + change).astype(np.float32)
    return found if np.isfinite(found).all() else weights


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
    """Calibration samples to gather input moments from; more of them tell more than more rows."""
    rows: Annotated[int, Field(ge=1)] = 2
    """Inputs (positions, tokens) to gather in all, in multiples of the inputs per output."""
    damping: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = "auto"
    """How little to trust the moments: a share of the mean of their diagonal added to it. `auto`
    takes correlations down by the part that two halves of the samples disagree about."""
    memory_mb: Annotated[int, Field(ge=16)] = 128
    """Moments held at once; layers beyond it take a further run over the samples."""
    largest_inputs: Annotated[int, Field(ge=1)] = 8192
    """Leave layers with more inputs per output than this: cost grows with its cube."""
    inputs: Literal["float", "quantized"] = "float"
    """The inputs that layers are rounded for: those of the float model, or, layer by layer, those
    that the layers before leave after rounding, so that each makes up for their errors ("asymmetric
    reconstruction" of AdaRound, section 3.4). That runs the samples once for each tensor."""
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
        for batch in self._batches(layers):
            moments = self._moments(batch, reference, result, samples, context)
            for layer in batch:
                lost, left = self._improve(layer, moments.pop(layer.name), book, avoid, octaves)
                before, after = before + lost, after + left
        if before == after:
            return unchanged(model, book.notes)
        ratio = 10 * np.log10(before / after) if after else np.inf
        book.fail(f"{len(layers)} weights rounded again: {ratio:.1f} dB less error of the outputs")
        return Outcome(model=result, changed=True, notes=book.notes)

    def _batches(self, layers: Sequence[StoredWeight]) -> Iterator[list[StoredWeight]]:
        """Layers whose moments are gathered at once."""
        if self.inputs == "float":
            yield from batches(layers, lambda x: moments_bytes(x.rows), self.memory_mb << 20)
            return
        for _, alike in groupby(layers, key=lambda x: x.rows.tensor):
            yield from batches(alike, lambda x: moments_bytes(x.rows), self.memory_mb << 20)

    def _moments(
        self,
        batch: Sequence[StoredWeight],
        reference: Model,
        current: Model,
        samples: Dataset,
        context: Context,
    ) -> dict[str, Moments]:
        """What the layers of `batch` are given, in the float model or in both."""
        if self.inputs == "float":
            return second_moments(
                reference,
                {layer.name: layer.rows for layer in batch},
                samples,
                rows_per_input=self.rows,
                threads=context.threads,
                progress=context.progress,
            )
        return moments_of_both(
            reference,
            current,
            {layer.name: (layer.rows, layer.rows_here()) for layer in batch},
            samples,
            rows_per_input=self.rows,
            threads=context.threads,
        )

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
        wanted = layer.floats()
        if moments.cross is not None:
            wanted = made_up(wanted, shrunk, moments)
        problem = Problem(
            weights=wanted,
            moments=shrunk,
            lattice=layer.lattice(),
            steps=layer.steps(),
            partners=pairs,
            power_of_two=octaves,
        )
        power = float(output_error(problem.weights, shrunk).sum()) or 1.0
        error = problem.error(problem.steps)
        if error.sum() > power:
            book.fail(
                "its integers are no rounding of the float weights: left as it is", layer.name
            )
            return error.sum() / power, error.sum() / power
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
