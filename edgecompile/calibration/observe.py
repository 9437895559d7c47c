"""`Observer`: watches tensors while samples run, one sample in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from edgecompile.calibration.bounds import Bound, graph_bounds
from edgecompile.calibration.histogram import Histogram
from edgecompile.calibration.probes import Cut, Probe, instrument, poolable, stride
from edgecompile.calibration.session import Runner, run_session
from edgecompile.diagnostics import EdgecompileError
from edgecompile.diagnostics.catalogue.data import ACTIVATION_NOT_FINITE
from edgecompile.ir.facts import static_shape
from edgecompile.ir.shapes import infer

if TYPE_CHECKING:
    from edgecompile.calibration.sample import Sample
    from edgecompile.ir.model import Model

_FLUSH_VALUES = 8192
_FLUSH_SAMPLES = 64
"""Values and samples kept per tensor before they are counted: few at a time cost more."""


_least, _largest = np.minimum.reduce, np.maximum.reduce


class Track:
    """What is known of one tensor so far."""

    def __init__(self, name: str) -> None:
        """Nothing seen yet of the tensor `name`."""
        self.name = name
        self.histogram = Histogram()
        self.infinite_in: str | None = None
        """Name of the first sample with an infinity; nothing more is counted then."""
        self._shape: tuple[int, ...] = ()
        self._cut: Cut | None = None
        self._waiting: list[tuple[str, np.ndarray]] = []
        self._lows: list[float] = []
        self._highs: list[float] = []
        self._size = 0

    def extremes(self, low: float, high: float) -> None:
        """Take in the exact extremes of one sample."""
        if len(self._lows) >= _FLUSH_SAMPLES:
            self.flush()
        self._lows.append(low)
        self._highs.append(high)

    def values(
        self, probe: Probe, array: np.ndarray, sample: str, number: int, wanted: int
    ) -> None:
        """Take in about `wanted` of the values of one sample, after its extremes."""
        if self._cut is None or array.shape != self._shape:
            cut = Cut.of(probe, array.shape, wanted)
            if self._cut is not None and cut.weight != self._cut.weight:
                self.flush()
            self._cut, self._shape = cut, array.shape
        taken = self._cut.taken(array, number)
        self._waiting.append((sample, taken))
        self._size += taken.size
        if self._size >= _FLUSH_VALUES:
            self.flush()

    def flush(self) -> None:
        """Count what waits. Raises EC-342 where a sample's values hold NaN.

        Where a value stands for several elements, the extremes, which are known exactly, count as
        themselves too: a rare outlier is not left to chance.
        """
        lows, highs = self._lows, self._highs
        if lows:
            self.histogram.see_samples(lows, highs)
        if self._cut is not None and self._waiting:
            values = np.concatenate([array for _, array in self._waiting])
            if math.isnan(values.min()):
                bad = next(name for name, array in self._waiting if np.isnan(array).any())
                raise ACTIVATION_NOT_FINITE.error(name=self.name, what="NaN", sample=bad)
            self.histogram.add_covered(values, self._cut.weight)
            if self._cut.weight > 1.0:
                self.histogram.add_covered(np.array(lows + highs))
        self._waiting, self._lows, self._highs, self._size = [], [], [], 0


class Observer:
    """Runs samples through the model and keeps a `Track` for each observed tensor.

    `tensors` are computed by the main graph, in its order, and floating point.
    """

    def __init__(
        self, model: Model, tensors: Sequence[str], *, threads: int, counted: bool, wanted: int
    ) -> None:
        """With `counted`, about `wanted` values per tensor and sample go into histograms."""
        self._model, self._tensors, self._threads = model, list(tensors), threads
        self._counted, self._wanted = counted, wanted
        self._bounds = graph_bounds(model)
        self._probes: list[Probe] = []
        self._runner: Runner | None = None
        self._seen = 0
        self.tracks = {name: Track(name) for name in tensors}

    def see(self, sample: Sample) -> None:
        """Run one sample. Raises EC-340 to EC-342."""
        arrays = self._run(sample)
        for probe in self._probes:
            maxima = next(arrays) if probe.maxima is not None else None
            if not self._take(probe, maxima, next(arrays), sample):
                raise self._blame(sample)
        if any(array.size and math.isnan(array.min()) for array in arrays):
            raise self._blame(sample)
        self._seen += 1

    def finish(self) -> None:
        """Count what is pending."""
        for track in self.tracks.values():
            track.flush()

    def _take(
        self, probe: Probe, maxima: np.ndarray | None, array: np.ndarray, sample: Sample
    ) -> bool:
        """Take in what one probe gave; false if there is a NaN in it."""
        track = self.tracks[probe.tensor]
        if track.infinite_in is not None or not array.size:
            return True
        if maxima is None:
            low, high = float(_least(array, axis=None)), float(_largest(array, axis=None))
        else:
            low, high = probe.bound.low, float(_largest(maxima, axis=None))
        if not (math.isfinite(low) and math.isfinite(high)):
            track.infinite_in = sample.name
            return not (math.isnan(low) or math.isnan(high))
        track.extremes(low, high)
        if self._counted:
            track.values(probe, array, sample.name, self._seen, self._wanted)
        return True

    def _run(self, sample: Sample) -> Iterator[np.ndarray]:
        """The outputs of one sample. The first tells shapes, and which bounds are reached."""
        if self._runner is not None:
            return iter(self._runner.run(sample.feeds, sample=sample.name))
        pooled = self._poolable(sample.feeds)
        while True:
            runner = self._instrument(pooled)
            arrays = runner.run(sample.feeds, sample=sample.name)
            missed = self._not_reached(iter(arrays))
            if not missed:
                self._runner = runner
                return iter(arrays)
            pooled = {name: s for name, s in pooled.items() if name not in missed}

    def _poolable(self, feeds: Mapping[str, np.ndarray]) -> dict[str, tuple[int, int]]:
        copy = self._model.clone()
        for value in copy.graph.graph.inputs:
            if value.name is not None and value.name in feeds:
                value.shape = ir.Shape(feeds[value.name].shape)
        values = {v.name: v for n in infer(copy).graph.graph for v in n.outputs}
        found = {}
        for name in self._tensors:
            shape = static_shape(values[name])
            if shape and poolable(self._bounds.get(name, Bound()), values[name].dtype, shape):
                found[name] = stride(shape, self._wanted)
        return found

    def _instrument(self, pooled: Mapping[str, tuple[int, int]]) -> Runner:
        model, self._probes = instrument(self._model, self._tensors, pooled, self._bounds)
        outputs = [name for probe in self._probes for name in probe.outputs]
        if pooled:  # a maximum hides NaN, but what is computed from it does not
            outputs += [n for n in _float_outputs(self._model) if n not in outputs]
        session = run_session(model, threads=self._threads, by_readiness=bool(pooled))
        return Runner(session, outputs)

    def _not_reached(self, arrays: Iterator[np.ndarray]) -> set[str]:
        """Pooled tensors whose sample does not show that the lower bound is their minimum."""
        missed = set()
        for probe in self._probes:
            values = [next(arrays) for _ in probe.outputs][-1]
            if probe.maxima is not None and values.min() > probe.bound.low:
                missed.add(probe.tensor)
        return missed

    def _blame(self, sample: Sample) -> EdgecompileError:
        """EC-342 for the first tensor, in the order of the graph, that has a NaN."""
        outputs = [*self._tensors, *_float_outputs(self._model)]
        model, _ = instrument(self._model, self._tensors, {}, {})
        found = run_session(model, threads=self._threads).run(sample.feeds, outputs)
        name = next((n for n, array in found.items() if np.isnan(array).any()), outputs[-1])
        return ACTIVATION_NOT_FINITE.error(name=name, what="NaN", sample=sample.name)


def _float_outputs(model: Model) -> list[str]:
    return [
        value.name
        for value in model.graph.graph.outputs
        if value.name and isinstance(value.type, ir.TensorType) and value.dtype in FLOATS
    ]


FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE})
"""Element types that can be observed; ONNX Runtime's CPU gives no bfloat16 to NumPy."""
