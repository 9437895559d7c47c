"""`Layout`: where, in one flat array, lies what probes gave; all tensors in a few NumPy calls.

A network of a few milliseconds leaves no time for calls per tensor: each costs microseconds once
inference has emptied the caches. All outputs therefore lie one after another in one array, and are
reduced and picked from at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgecompile.calibration.probes import Probe, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray


_PHASES = 8
"""Sample i counts the elements of phase i mod `_PHASES`, so that in time many are looked at."""
_RUN = 8
"""Neighbours are counted together: single elements would each cost a cache line."""


@dataclass(frozen=True)
class Cut:
    """Which of the elements that a probe gave are counted."""

    index: NDArray[np.intp]
    """Their places in the flattened output, in phase 0."""
    shifts: NDArray[np.intp]
    """By how many elements each phase lies further on, `[_PHASES]`."""
    weight: float
    """How many elements of the tensor each of them stands for."""

    @classmethod
    def of(cls, probe: Probe, shape: Shape, wanted: int) -> Cut:
        """The cut that leaves about `wanted` elements of an output of `shape`."""
        phases = np.arange(_PHASES)
        if probe.strides is None:
            size = math.prod(shape)
            if size <= max(wanted, _RUN * _RUN):
                return cls(np.arange(size), np.zeros(_PHASES, np.intp), 1.0)
            runs = max(1, wanted // _RUN)
            step = max(1, size // _RUN // runs)
            while math.gcd(step, size) > 1 and step > 1:  # else it always meets the same channels
                step -= 1
            runs = size // _RUN // step
            index = np.arange(runs)[:, None] * step * _RUN + np.arange(_RUN)
            return cls(index.reshape(-1), phases * step // _PHASES * _RUN, size / index.size)
        # Row and column 0 touch the padding: a coarse stride would give them too much weight.
        channels, height, width = shape[1:]
        sides = zip(probe.strides, (height, width), strict=True)
        top, left = (int(s > 1 and side > 1) for s, side in sides)
        inside = (height - top) * (width - left)
        step = min(channels, math.ceil(channels * inside / wanted))
        plane = (np.arange(top, height)[:, None] * width + np.arange(left, width)).reshape(-1)
        index = np.arange(channels // step)[:, None] * step * height * width + plane
        shifts = phases * step // _PHASES * height * width
        weight = math.prod(probe.strides) * channels * inside / index.size
        return cls(index.reshape(-1), shifts, weight)


class Layout:
    """Outputs of the shapes `shapes`, flattened: see `outputs_of` for their order."""

    def __init__(self, probes: Sequence[Probe], shapes: Sequence[Shape], wanted: int) -> None:
        """About `wanted` values of each tensor are counted; with 0 none are."""
        pooled = [probe for probe in probes if probe.pooled]
        maxima = [at for at, probe in enumerate(pooled) if probe.maxima is not None]
        sampled = [at for at, probe in enumerate(pooled) if probe.values is not None]
        sizes = [math.prod(shape) for shape in shapes]
        starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.intp)
        self._pooled, self._count = len(pooled), len(probes)
        first, wholes = len(maxima), len(probes) - len(pooled)
        behind = first + wholes
        self._bounds = np.array([(p.bound.low, p.bound.high) for p in pooled]).reshape(-1, 2).T
        self._with_maxima = np.array(maxima, np.intp)
        self._maxima = starts[:first]
        filled = np.flatnonzero(sizes[first:behind])
        self._filled = filled + self._pooled
        self._wholes = slice(int(starts[first]), int(starts[behind]))
        self._within = starts[filled + first] - self._wholes.start
        self._samples = starts[behind : behind + len(sampled)]
        self.rest = slice(int(starts[behind + len(sampled)]), None)
        """The model's own outputs, which are looked at for NaN only."""
        places = dict(zip(sampled, range(behind, behind + len(sampled)), strict=True))
        places |= {self._pooled + at: first + at for at in range(wholes)}
        self._choose(probes, shapes, places, starts, wanted)

    def _choose(
        self,
        probes: Sequence[Probe],
        shapes: Sequence[Shape],
        places: Mapping[int, int],
        starts: NDArray[np.intp],
        wanted: int,
    ) -> None:
        """Which values are counted; `places` are the outputs that probes have their values in."""
        nothing = Cut(np.zeros(0, np.intp), np.zeros(_PHASES, np.intp), 1.0)
        cuts = [
            Cut.of(probe, shapes[places[at]], wanted) if wanted and at in places else nothing
            for at, probe in enumerate(probes)
        ]
        self._lengths = [cut.index.size for cut in cuts]
        self.ends = np.cumsum(self._lengths)
        """Ends of each tensor's values in what `values` gives."""
        self.weights = [cut.weight for cut in cuts]
        self._shifts = np.array([cut.shifts for cut in cuts]).reshape(-1, _PHASES)
        self._phases: dict[int, NDArray[np.intp]] = {}
        picked = [cut.index + starts[places.get(at, 0)] for at, cut in enumerate(cuts)]
        self._index = np.concatenate(picked) if picked else np.zeros(0, np.intp)

    def extremes(self, flat: NDArray[np.floating]) -> NDArray[np.float64]:
        """Smallest and largest values, `[2, tensors]`: (inf, -inf) where a tensor is empty."""
        found = np.empty((2, self._count))
        found[0], found[1] = math.inf, -math.inf
        found[:, : self._pooled] = self._bounds
        if self._maxima.size:
            maxima = flat[: self._wholes.start]
            found[1, self._with_maxima] = np.maximum.reduceat(maxima, self._maxima)
        if self._filled.size:
            wholes = flat[self._wholes]
            found[0, self._filled] = np.minimum.reduceat(wholes, self._within)
            found[1, self._filled] = np.maximum.reduceat(wholes, self._within)
        return found

    def values(self, flat: NDArray[np.floating], sample: int) -> NDArray[np.floating]:
        """The values to count of every tensor, one tensor after another; see `ends`."""
        phase = sample % _PHASES
        index = self._phases.get(phase)
        if index is None:
            index = self._index + np.repeat(self._shifts[:, phase], self._lengths)
            self._phases[phase] = index
        return flat.take(index)

    def lowest_samples(self, flat: NDArray[np.floating]) -> NDArray[np.floating]:
        """The smallest value in each strided sample, pooled tensor after pooled tensor."""
        sampled = flat[self._wholes.stop : self.rest.start]
        if not self._samples.size:
            return sampled
        lowest: NDArray[np.floating] = np.minimum.reduceat(
            sampled, self._samples - self._wholes.stop
        )
        return lowest


def outputs_of(probes: Sequence[Probe], own: Sequence[str]) -> list[str]:
    """The outputs to fetch: maxima of pooled tensors, whole tensors, strided samples, `own`."""
    maxima = [probe.maxima for probe in probes]
    whole = [probe.values for probe in probes if not probe.pooled]
    samples = [probe.values for probe in probes if probe.pooled]
    return [name for name in (*maxima, *whole, *samples, *own) if name is not None]


def in_order(probes: Sequence[Probe]) -> list[Probe]:
    """The probes in the order of a layout's tensors: pooled ones first."""
    return sorted(probes, key=lambda probe: not probe.pooled)
