"""`Observer`: watches tensors while samples run, one sample in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from edgecompile.calibration.bounds import FREE, graph_bounds
from edgecompile.calibration.layout import Layout, in_order, outputs_of
from edgecompile.calibration.probes import Pooling, instrument, poolable, stride
from edgecompile.calibration.session import Runner, run_session
from edgecompile.calibration.tally import NotANumberError, Tally
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


class Observer:
    """Runs samples through the model and tallies the observed tensors.

    `tensors` are computed by the main graph, in its order, and floating point.
    """

    def __init__(
        self, model: Model, tensors: Sequence[str], *, threads: int, wanted: int, apart: bool = True
    ) -> None:
        """About `wanted` values per tensor and sample go into histograms, or none for 0.

        Without `apart`, extremes are exact over all samples, but not those of each by itself.
        """
        self._model, self._tensors, self._threads = model, list(tensors), threads
        self._wanted, self._apart = wanted, apart
        self._bounds = graph_bounds(model)
        self._runner: Runner | None = None
        self.tally = Tally([], wanted)
        """Made anew when the first sample has told how tensors can be observed."""

    def see(self, sample: Sample) -> None:
        """Run one sample. Raises EC-340 to EC-342."""
        flat = self.prepare(sample) if self._runner is None else None
        assert self._runner is not None
        if flat is None:
            flat = self._runner.run(sample.feeds, sample=sample.name)
        try:
            self.tally.take(flat, self._runner.shapes, sample.name)
        except NotANumberError:
            raise self._blame(sample) from None

    def prepare(self, sample: Sample) -> NDArray[np.floating]:
        """Find out with the first sample how to observe, and give its outputs, not yet tallied.

        It tells shapes, and which bounds are reached: the others are looked at.
        """
        ways = self._poolable(sample.feeds)
        runner = self._instrument(ways)
        flat = runner.run(sample.feeds, sample=sample.name)
        needed = self._needed(ways, self.tally.layout(runner.shapes), flat)
        if needed != ways:
            runner = self._instrument(needed)
            flat = runner.run(sample.feeds, sample=sample.name)
        self._runner = runner
        return flat

    def _needed(
        self, ways: Mapping[str, Pooling], layout: Layout, flat: NDArray[np.floating]
    ) -> dict[str, Pooling]:
        """What is still to be looked at after the first sample, tried in `ways`."""
        highest = layout.extremes(flat)[1]
        lowest = layout.lowest_samples(flat)
        return {
            probe.tensor: replace(
                ways[probe.tensor],
                maxima=self._apart or bool(highest[at] < probe.bound.high),
                sample=bool(self._wanted),
            )
            for at, probe in enumerate(self.tally.probes[: len(ways)])
            if lowest[at] <= probe.bound.low
        }

    def _poolable(self, feeds: Mapping[str, np.ndarray]) -> dict[str, Pooling]:
        copy = self._model.clone()
        for value in copy.graph.graph.inputs:
            if value.name is not None and value.name in feeds:
                value.shape = ir.Shape(feeds[value.name].shape)
        values = {v.name: v for n in infer(copy).graph.graph for v in n.outputs}
        found = {}
        for name in self._tensors:
            shape = static_shape(values[name])
            if shape and poolable(self._bounds.get(name, FREE), values[name].dtype, shape):
                found[name] = Pooling(strides=stride(shape, self._wanted or 1))
        return found

    def _instrument(self, pooled: Mapping[str, Pooling]) -> Runner:
        model, probes = instrument(self._model, self._tensors, pooled, self._bounds)
        self.tally = Tally(in_order(probes), self._wanted)
        # A maximum hides NaN, but what is computed from it does not.
        own = [n for n in _float_outputs(self._model) if n not in self._tensors] if pooled else []
        session = run_session(model, threads=self._threads, by_readiness=bool(pooled))
        return Runner(session, outputs_of(probes, own))

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
