"""`Tally`: histograms of tensors from what probes gave, sample after sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.calibration.histogram import Histogram
from edgecompile.calibration.layout import Layout
from edgecompile.calibration.probes import Probe, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

WAITING_SAMPLES = 32
_WAITING_BYTES = 32 * 2**20
"""How much waits before it is counted: counting a little at a time costs more."""


class NotANumberError(ValueError):
    """One of the tensors holds NaN."""


@dataclass(frozen=True)
class _Seen:
    """What one sample gave; see `Layout` for the order of extremes and values."""

    layout: Layout
    extremes: NDArray[np.float64]
    values: NDArray[np.floating]


class Tally:
    """Keeps a `Histogram` for the tensor of each probe. `probes` are in the order of a layout."""

    def __init__(self, probes: Sequence[Probe], wanted: int) -> None:
        """About `wanted` values per tensor and sample are counted, or none for 0."""
        self.probes = probes
        self._wanted = wanted
        self._shapes: Sequence[Shape] = ()
        self._layout: Layout | None = None
        self._waiting: list[_Seen] = []
        self._samples = 0
        self.histograms = {probe.tensor: Histogram() for probe in probes}
        self.infinite: dict[str, str] = {}
        """Tensors that had an infinity, and the first sample in which they had it."""

    def layout(self, shapes: Sequence[Shape]) -> Layout:
        """Where things lie in a flat array of outputs of `shapes`."""
        if self._layout is None or shapes != self._shapes:
            self._layout, self._shapes = Layout(self.probes, shapes, self._wanted), shapes
        return self._layout

    def take(self, flat: NDArray[np.floating], shapes: Sequence[Shape], sample: str) -> None:
        """Take in the outputs of one sample. Raises `NotANumberError`."""
        layout = self.layout(shapes)
        extremes = layout.extremes(flat)
        values = layout.values(flat, self._samples)
        rest = flat[layout.rest]
        if any(part.size and math.isnan(part.min()) for part in (values, rest)):
            raise NotANumberError
        if not np.isfinite(extremes).all():
            self._note_infinite(extremes, sample)
        self._waiting.append(_Seen(layout, extremes, values))
        self._samples += 1
        full = len(self._waiting) * values.nbytes >= _WAITING_BYTES
        if full or len(self._waiting) >= WAITING_SAMPLES:
            self.flush()

    def flush(self) -> None:
        """Count what waits.

        Where a value stands for several elements, the extremes, which are known exactly, count as
        themselves too: a rare outlier is not left to chance.
        """
        for at, probe in enumerate(self.probes):
            if probe.tensor in self.infinite:
                continue
            histogram = self.histograms[probe.tensor]
            some = [seen for seen in self._waiting if seen.extremes[0, at] <= seen.extremes[1, at]]
            if not some:
                continue
            lows, highs = np.array([seen.extremes[:, at] for seen in some]).T.tolist()
            histogram.see_samples(lows, highs)
            if self._wanted:
                _count(histogram, some, at)
        self._waiting = []

    def state(self) -> dict[str, Any]:
        """What `restore` takes, as JSON; the histograms' counts are apart. Nothing may wait."""
        assert not self._waiting
        histograms = {
            name: {key: value for key, value in vars(found).items() if key != "counts"}
            for name, found in self.histograms.items()
        }
        return {"samples": self._samples, "infinite": self.infinite, "histograms": histograms}

    def restore(self, state: Mapping[str, Any], counts: Mapping[str, NDArray[np.float64]]) -> None:
        """Go on where `state` was taken; `counts` are those of each tensor's histogram.

        Raises `KeyError` for the state of another set of tensors; then nothing has changed.
        """
        known = {
            probe.tensor: Histogram(
                **state["histograms"][probe.tensor], counts=counts[probe.tensor]
            )
            for probe in self.probes
        }
        self.histograms, self._waiting = known, []
        self._samples, self.infinite = int(state["samples"]), dict(state["infinite"])

    def _note_infinite(self, extremes: NDArray[np.float64], sample: str) -> None:
        for probe, (low, high) in zip(self.probes, extremes.T.tolist(), strict=True):
            if math.isnan(low) or math.isnan(high):
                raise NotANumberError
            if low <= high and (math.isinf(low) or math.isinf(high)):
                self.infinite.setdefault(probe.tensor, sample)


def _count(histogram: Histogram, some: Sequence[_Seen], at: int) -> None:
    """Count the values of tensor number `at`, all samples of one weight together."""
    by_weight: dict[float, list[NDArray[np.floating]]] = {}
    for seen in some:
        ends = seen.layout.ends
        part = seen.values[ends[at - 1] if at else 0 : ends[at]]
        by_weight.setdefault(seen.layout.weights[at], []).append(part)
        if seen.layout.weights[at] > 1.0:
            by_weight.setdefault(1.0, []).append(seen.extremes[:, at])
    for weight, parts in by_weight.items():
        histogram.add_covered(np.concatenate(parts), weight)
