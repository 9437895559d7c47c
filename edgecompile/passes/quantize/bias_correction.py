"""`bias_correction`: take out what quantization shifts the mean of each channel by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from edgecompile.calibration.split import spread
from edgecompile.calibration.taps import tapped_session
from edgecompile.ir.facts import output_specs
from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.base import Context, Need, Note, NoteBook, Outcome, Pass, unchanged
from edgecompile.passes.quantize.bias_sites import BiasSite, Vector, bias_sites, correct
from edgecompile.passes.quantize.sensitivity import bound_work
from edgecompile.passes.quantize.timing import work

if TYPE_CHECKING:
    from edgecompile.calibration.dataset import Dataset

Halves = npt.NDArray[np.float64]
"""[2, M]: means of each channel over the samples of even and of odd number."""


class BiasCorrection(Pass):
    """Correct biases for the mean error of each channel of the quantized layers' outputs.

    Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
    section 4.2, in the empirical form of its appendix D: layers are compared with the float
    model on calibration samples, front to back, so that later ones see the corrections before.
    A channel is corrected only when both halves of the samples agree that it helps, and a group
    of layers only when the model's outputs do not get worse on either of them.
    """

    id: ClassVar[str] = "bias_correction"
    version: ClassVar[int] = 2
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA, Need.REFERENCE})
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "onnxruntime", "onnx-ir")
    lossy: ClassVar[bool] = True

    samples: Annotated[int, Field(ge=2)] = 32
    """Calibration samples to compare on."""
    groups: Annotated[int, Field(ge=1)] = 6
    """Layers are corrected in this many groups, front to back; each costs a run of the samples."""

    clear: Annotated[float, Field(gt=0, le=1)] = 1.0
    """A group stays corrected where at most that share of the outputs' error is left on either
    half of the samples."""
    largest_macs: Annotated[int, Field(ge=1)] | None = None
    """Leave models alone that take more multiply-accumulates than this for one sample, whose
    inferences cost too much for what may come of it; null corrects all."""

    def run(self, model: Model, context: Context) -> Outcome:
        """Correct the layers with integer weights."""
        data, reference, book = context.data, context.reference, NoteBook()
        if data is None or reference is None:
            return unchanged(model)
        if self.largest_macs is not None and self._too_large(reference, data, context.threads):
            return unchanged(model, [Note(message="a model of this size is left as it is")])
        known = {node.outputs[0].name for node in reference.graph.graph}
        sites = [site for site in bias_sites(model) if site.tensor in known]
        if not sites:
            return unchanged(model)
        picked = data.subset(spread(len(data), self.samples))
        exact = _observe(reference, sites, picked, context)
        chunks = np.array_split(np.arange(len(sites)), min(self.groups, len(sites)))
        groups = [*([sites[i] for i in chunk] for chunk in chunks), []]
        current, seen = model, _observe(model, groups[0], picked, context, exact=exact)
        first, done = seen.error, 0
        for number, group in enumerate(groups[:-1]):
            tried, channels = _corrected(current, group, exact.means, seen.means)
            after = _observe(tried, groups[number + 1], picked, context, exact=exact)
            if np.all(after.errors <= self.clear * seen.errors):
                current, seen, done = tried, after, done + channels
            else:
                text = "correcting it would make the outputs worse, with its group"
                for site in group:
                    book.fail(text, site.tensor)
                seen = _observe(current, groups[number + 1], picked, context, exact=exact)
            if context.progress is not None:
                context.progress(number + 1, len(chunks))
        if current.digest == model.digest:
            return unchanged(model, book.notes)
        gained = 10 * np.log10(first / seen.error) if seen.error > 0 else np.inf
        book.fail(f"{done} channels of {len(sites)} layers corrected: {gained:.1f} dB less error")
        return Outcome(model=current, changed=True, notes=book.notes)

    def _too_large(self, reference: Model, data: Dataset, threads: int) -> bool:
        """Also of a model whose open dimensions hide it, which is then run once."""
        least = sum(map(work, reference.graph.graph))
        if least > (self.largest_macs or 0):
            return True
        found = bound_work(reference, data[0].feeds, threads=threads).values()
        return sum(one.macs for one in found) > (self.largest_macs or 0)


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What a run over the samples shows: mean outputs of layers, and outputs of the model."""

    means: dict[str, Halves]
    outputs: list[list[npt.NDArray[np.float32]]]
    errors: Vector
    """[2]: those of the outputs on samples of even and of odd number; a gain on one half alone is
    owed to single samples."""

    @property
    def error(self) -> float:
        """On all samples."""
        return float(self.errors.sum())


def _observe(
    model: Model,
    sites: Sequence[BiasSite],
    data: Dataset,
    context: Context,
    *,
    exact: _Seen | None = None,
) -> _Seen:
    """Run `model`. The outputs are kept of the float model, and compared with `exact` of others."""
    tensors = [site.tensor for site in sites]
    outputs = [spec.name for spec in output_specs(model) if spec.dtype.kind == "f"]
    session = tapped_session(model, tensors, threads=context.threads, exact=True)
    sums = {site.tensor: np.zeros((2, site.channels)) for site in sites}
    kept, errors = [], np.zeros(2)
    for index, sample in enumerate(data):
        arrays = session.run(sample.feeds, [*tensors, *outputs], sample=sample.name)
        for site in sites:
            sums[site.tensor][index % 2] += site.mean(arrays[site.tensor])
        found = [arrays[name] for name in outputs]
        if exact is None:
            kept.append(found)
        else:
            errors[index % 2] += _distance(found, exact.outputs[index])
    counts = np.array([[(len(data) + 1) // 2], [max(1, len(data) // 2)]])
    means = {name: total / counts for name, total in sums.items()}
    return _Seen(means=means, outputs=kept, errors=errors / len(data))


def _distance(
    found: Sequence[npt.NDArray[np.float32]], exact: Sequence[npt.NDArray[np.float32]]
) -> float:
    """Squared error of the outputs, each over its power."""
    total = 0.0
    for rough, fine in zip(found, exact, strict=True):
        power = float(np.square(fine, dtype=np.float64).sum())
        total += float(np.square(rough - fine, dtype=np.float64).sum()) / (power or 1.0)
    return total


def _corrected(
    model: Model, sites: Sequence[BiasSite], exact: dict[str, Halves], found: dict[str, Halves]
) -> tuple[Model, int]:
    """A copy of `model` with the layers at `sites` corrected, and how many channels were."""
    result, count = model.clone(), 0
    nodes = {node.outputs[0].name: node for node in result.graph.graph}
    names = Names(result.graph.graph)
    for site in sites:
        shift = _agreed(exact[site.tensor] - found[site.tensor])
        if np.any(shift):
            correct(nodes[site.tensor], shift, names)
            count += int(np.count_nonzero(shift))
    return result, count


def _agreed(shifts: Halves) -> Vector:
    """The mean of both halves' shifts where each of them, made, lowers the other's; else 0."""
    one, other = shifts
    helps = (np.abs(one - other) < np.abs(one)) & (np.abs(one - other) < np.abs(other))
    agreed: Vector = np.where(helps, shifts.mean(axis=0), 0.0)
    return agreed
