"""`Observer`: watches tensors while samples run, one sample in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from edgecompile.calibration.bounds import Bound, graph_bounds
from edgecompile.calibration.histogram import Histogram
from edgecompile.calibration.probes import Probe, instrument, pick_values, poolable, stride
from edgecompile.calibration.session import Runner, Session, run_session
from edgecompile.diagnostics import EdgecompileError
from edgecompile.diagnostics.catalogue.data import ACTIVATION_NOT_FINITE
from edgecompile.ir.facts import static_shape
from edgecompile.ir.shapes import infer

if TYPE_CHECKING:
    from edgecompile.calibration.sample import Sample
    from edgecompile.ir.model import Model

_FLUSH_VALUES = 16384
"""Values kept per tensor before they are counted: counting a few at a time costs more."""


class Track:
    """What is known of one tensor so far."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self.histogram = Histogram()
        self.infinite_in: str | None = None
        """Name of the first sample with an infinity; nothing more is counted then."""
        self._pending: list[np.ndarray] = []
        self._extremes: list[float] = []
        self._size = 0
        self._weight = 1.0

    def count(self, values: np.ndarray, weight: float, low: float, high: float) -> None:
        """Take in values that stand for `weight` elements each, and their sample's extremes.

        Extremes are known exactly even where only a part of the values is counted, so they
        count as themselves: a rare outlier is not left to chance.
        """
        if weight != self._weight or self._size > _FLUSH_VALUES:
            self.flush()
            self._weight = weight
        self._pending.append(values.flatten())
        self._size += values.size
        if weight > 1.0:
            self._extremes += (low, high)

    def flush(self) -> None:
        """Count what is pending."""
        if self._pending:
            self.histogram.add_covered(np.concatenate(self._pending), self._weight)
            self.histogram.add_covered(np.array(self._extremes))
            self._pending, self._extremes, self._size = [], [], 0


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
        self.tracks = {name: Track() for name in tensors}

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
        low, high = float(array.min()), float(array.max())
        weight = 1.0
        if maxima is not None and not math.isnan(high):
            low, high = probe.bound.low, float(maxima.max())
            weight *= math.prod(probe.strides)
        if math.isnan(low) or math.isnan(high):
            return False
        if math.isinf(low) or math.isinf(high):
            track.infinite_in = sample.name
            return True
        track.histogram.see_sample(low, high)
        if self._counted:
            values = pick_values(probe, array, wanted=self._wanted, sample=self._seen)
            track.count(values, weight * array.size / values.size, low, high)
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
        session = observing(self._model, self._tensors, threads=self._threads)
        found = session.run(sample.feeds, outputs)
        name = next((n for n, array in found.items() if np.isnan(array).any()), outputs[-1])
        return ACTIVATION_NOT_FINITE.error(name=name, what="NaN", sample=sample.name)


def observing(model: Model, tensors: Sequence[str], *, threads: int = 1) -> Session:
    """A session of `model` that gives `tensors` too: inputs, or outputs of the main graph's nodes.

    For whole tensors of one sample at a time; ranges are cheaper by `collect`. Raises EC-340.
    """
    inputs = {value.name for value in model.graph.graph.inputs}
    computed = [name for name in dict.fromkeys(tensors) if name not in inputs]
    return run_session(instrument(model, computed, {}, {})[0], threads=threads)


def _float_outputs(model: Model) -> list[str]:
    return [
        value.name
        for value in model.graph.graph.outputs
        if value.name and isinstance(value.type, ir.TensorType) and value.dtype in FLOATS
    ]


FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE})
"""Element types that can be observed; ONNX Runtime's CPU gives no bfloat16 to NumPy."""
