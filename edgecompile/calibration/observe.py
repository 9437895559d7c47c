"""`Observer`: watches tensors while samples run, one sample in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from edgecompile.calibration.bounds import FREE, graph_bounds
from edgecompile.calibration.histogram import Histogram
from edgecompile.calibration.layout import Layout, in_order, outputs_of
from edgecompile.calibration.probes import Probe, instrument, poolable, stride
from edgecompile.calibration.session import Runner, run_session
from edgecompile.diagnostics import EdgecompileError
from edgecompile.diagnostics.catalogue.data import ACTIVATION_NOT_FINITE
from edgecompile.ir.facts import static_shape
from edgecompile.ir.shapes import infer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecompile.calibration.sample import Sample
    from edgecompile.ir.model import Model

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE})
"""Element types that can be observed; ONNX Runtime's CPU gives no bfloat16 to NumPy."""
_WAITING_SAMPLES = 32
_WAITING_BYTES = 32 * 2**20
"""How much waits before it is counted: counting a little at a time costs more."""


@dataclass(frozen=True)
class _Seen:
    """What one sample gave; see `Layout` for the order of extremes and values."""

    layout: Layout
    extremes: NDArray[np.float64]
    values: NDArray[np.floating]


class Observer:
    """Runs samples through the model and keeps a `Histogram` for each observed tensor.

    `tensors` are computed by the main graph, in its order, and floating point.
    """

    def __init__(
        self, model: Model, tensors: Sequence[str], *, threads: int, counted: bool, wanted: int
    ) -> None:
        """With `counted`, about `wanted` values per tensor and sample go into histograms."""
        self._model, self._tensors, self._threads = model, list(tensors), threads
        self._wanted = wanted if counted else 0
        self._bounds = graph_bounds(model)
        self._probes: list[Probe] = []
        self._runner: Runner | None = None
        self._layouts: dict[tuple[tuple[int, ...], ...], Layout] = {}
        self._waiting: list[_Seen] = []
        self._samples = 0
        self.histograms = {name: Histogram() for name in tensors}
        self.infinite: dict[str, str] = {}
        """Tensors that had an infinity, and the first sample in which they had it."""

    def see(self, sample: Sample) -> None:
        """Run one sample. Raises EC-340 to EC-342."""
        flat, layout = self._run(sample)
        extremes = layout.extremes(flat)
        values = layout.values(flat, self._samples)
        rest = flat[layout.rest]
        if any(part.size and math.isnan(part.min()) for part in (values, rest)):
            raise self._blame(sample)
        if not np.isfinite(extremes).all():
            self._note_infinite(extremes, sample)
        self._waiting.append(_Seen(layout, extremes, values))
        self._samples += 1
        full = len(self._waiting) * values.nbytes >= _WAITING_BYTES
        if full or len(self._waiting) >= _WAITING_SAMPLES:
            self.flush()

    def flush(self) -> None:
        """Count what waits.

        Where a value stands for several elements, the extremes, which are known exactly, count as
        themselves too: a rare outlier is not left to chance.
        """
        for at, probe in enumerate(self._probes):
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

    def _run(self, sample: Sample) -> tuple[NDArray[np.floating], Layout]:
        """The outputs of one sample. The first tells shapes, and which bounds are reached."""
        if self._runner is not None:
            flat = self._runner.run(sample.feeds, sample=sample.name)
            return flat, self._layout(self._runner)
        pooled = self._poolable(sample.feeds)
        while True:
            runner = self._instrument(pooled)
            flat = runner.run(sample.feeds, sample=sample.name)
            layout = self._layout(runner)
            lowest = layout.lowest_samples(flat)
            missed = {
                probe.tensor
                for probe, low in zip(self._probes, lowest, strict=False)
                if low > probe.bound.low
            }
            if not missed:
                self._runner = runner
                return flat, layout
            pooled = {name: s for name, s in pooled.items() if name not in missed}

    def _layout(self, runner: Runner) -> Layout:
        found = self._layouts.get(runner.shapes)
        if found is None:
            found = Layout(self._probes, runner.shapes, self._wanted)
            self._layouts = {runner.shapes: found}
        return found

    def _poolable(self, feeds: Mapping[str, np.ndarray]) -> dict[str, tuple[int, int]]:
        copy = self._model.clone()
        for value in copy.graph.graph.inputs:
            if value.name is not None and value.name in feeds:
                value.shape = ir.Shape(feeds[value.name].shape)
        values = {v.name: v for n in infer(copy).graph.graph for v in n.outputs}
        found = {}
        for name in self._tensors:
            shape = static_shape(values[name])
            if shape and poolable(self._bounds.get(name, FREE), values[name].dtype, shape):
                found[name] = stride(shape, self._wanted or 1)
        return found

    def _instrument(self, pooled: Mapping[str, tuple[int, int]]) -> Runner:
        model, probes = instrument(self._model, self._tensors, pooled, self._bounds)
        self._probes, self._layouts = in_order(probes), {}
        # A maximum hides NaN, but what is computed from it does not.
        own = [n for n in _float_outputs(self._model) if n not in self._tensors] if pooled else []
        session = run_session(model, threads=self._threads, by_readiness=bool(pooled))
        return Runner(session, outputs_of(probes, own))

    def _note_infinite(self, extremes: NDArray[np.float64], sample: Sample) -> None:
        for probe, (low, high) in zip(self._probes, extremes.T.tolist(), strict=True):
            if math.isnan(low) or math.isnan(high):
                raise self._blame(sample)
            if low <= high and (math.isinf(low) or math.isinf(high)):
                self.infinite.setdefault(probe.tensor, sample.name)

    def _blame(self, sample: Sample) -> EdgecompileError:
        """EC-342 for the first tensor, in the order of the graph, that has a NaN."""
        outputs = [*self._tensors, *_float_outputs(self._model)]
        model, _ = instrument(self._model, self._tensors, {}, {})
        found = run_session(model, threads=self._threads).run(sample.feeds, outputs)
        name = next((n for n, array in found.items() if np.isnan(array).any()), outputs[-1])
        return ACTIVATION_NOT_FINITE.error(name=name, what="NaN", sample=sample.name)


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


def _float_outputs(model: Model) -> list[str]:
    return [
        value.name
        for value in model.graph.graph.outputs
        if value.name and isinstance(value.type, ir.TensorType) and value.dtype in FLOATS
    ]
