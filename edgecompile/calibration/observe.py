"""`Observer`: watches tensors while samples run, one sample in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from edgecompile.calibration.bounds import FREE, graph_bounds
from edgecompile.calibration.layout import in_order, outputs_of
from edgecompile.calibration.probes import instrument, poolable, stride
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

    def __init__(self, model: Model, tensors: Sequence[str], *, threads: int, wanted: int) -> None:
        """About `wanted` values per tensor and sample go into histograms, or none for 0."""
        self._model, self._tensors, self._threads = model, list(tensors), threads
        self._wanted = wanted
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
        pooled = self._poolable(sample.feeds)
        while True:
            runner = self._instrument(pooled)
            flat = runner.run(sample.feeds, sample=sample.name)
            lowest = self.tally.layout(runner.shapes).lowest_samples(flat)
            missed = {
                probe.tensor
                for probe, low in zip(self.tally.probes, lowest, strict=False)
                if low > probe.bound.low
            }
            if not missed:
                self._runner = runner
                return flat
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
            if shape and poolable(self._bounds.get(name, FREE), values[name].dtype, shape):
                found[name] = stride(shape, self._wanted or 1)
        return found

    def _instrument(self, pooled: Mapping[str, tuple[int, int]]) -> Runner:
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
