"""What each quantized layer costs at the model's outputs.

With layer l alone in integers, the error at an output is J_l e_l: the layer's own rounding error
e_l, carried there by the rest of the float network J_l. It is measured and not estimated: one
inference per layer and sample on a switchboard. Errors of different layers hardly correlate, so
their powers add up, and the layers that matter stand out in a few samples (per-layer analysis as
in Wu et al., "Integer Quantization for Deep Learning Inference", arXiv:2004.09602, section 5.2,
by SQNR instead of task accuracy).

Cost: (layers + 2) inferences per sample in exact fake-quant arithmetic, one session.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgecompile.artifacts.types import OutputFidelity
from edgecompile.calibration.dataset import Dataset
from edgecompile.calibration.fidelity import Array, OutputSums, decibels
from edgecompile.calibration.sample import Sample
from edgecompile.calibration.taps import tapped_session
from edgecompile.ir.facts import constant_tensor, macs
from edgecompile.ir.model import Model
from edgecompile.passes.quantize.layers import Layer
from edgecompile.passes.quantize.switchboard import Switchboard

MULTIPLY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators whose multiply-accumulates are counted."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What quantizing one layer costs. Ratios in dB are of powers over all samples."""

    layer: Layer
    alone_db: float
    """SQNR at the worst output of the model with only this layer quantized."""
    local_db: float
    """SQNR of the layer's own output, quantized, on the inputs of the float model."""
    accumulated_db: float
    """SQNR of the layer's own output with the layers before it quantized too."""

    @property
    def noise(self) -> float:
        """Power of its error at the worst output, relative to the signal's."""
        return math.pow(10.0, -self.alone_db / 10.0)


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """The costs in the order of the graph, and the fidelity with all layers quantized."""

    costs: tuple[Cost, ...]
    outputs: Mapping[str, OutputFidelity]


@dataclass
class _Sums:
    """Figures of some tensors, by name."""

    sums: dict[str, OutputSums] = field(default_factory=dict)

    def add(
        self, want: Mapping[str, Array], got: Mapping[str, Array], names: Iterable[str]
    ) -> None:
        for name in names:
            if want[name].dtype.kind == "f" and want[name].shape == got[name].shape:
                self.sums.setdefault(name, OutputSums()).add(want[name], got[name])

    def worst_db(self) -> float:
        return min((sqnr_db(found) for found in self.sums.values()), default=math.inf)

    def fidelity(self) -> dict[str, OutputFidelity]:
        return {name: self.sums[name].fidelity() for name in sorted(self.sums)}


def sqnr_db(sums: OutputSums) -> float:
    """Of one tensor; minus infinity where it is not finite any more, infinity without error."""
    if sums.not_finite:
        return -math.inf
    return decibels(sums.signal, sums.noise)


@dataclass
class _Power:
    """Signal and noise of an inner tensor: no more than its SQNR, since there are many."""

    signal: float = 0.0
    noise: float = 0.0

    def add(self, want: Array, got: Array) -> None:
        if want.dtype.kind != "f" or want.shape != got.shape:
            return
        signal = np.asarray(want, np.float32)
        error = np.asarray(got, np.float32) - signal
        self.signal += float(np.vdot(signal, signal))
        self.noise += float(np.vdot(error, error))

    @property
    def sqnr_db(self) -> float:
        finite = math.isfinite(self.signal) and math.isfinite(self.noise)
        return decibels(self.signal, self.noise) if finite else -math.inf


def measure_layers(
    board: Switchboard, data: Dataset, progress: Progress | None = None
) -> Sensitivity:
    """The cost of every layer over all samples of `data`; keeps one sample's tensors at a time.

    Raises EC-341.
    """
    numbers = range(len(board.layers))
    alone = [_Sums() for _ in numbers]
    local, accumulated = [_Power() for _ in numbers], [_Power() for _ in numbers]
    together = _Sums()
    names = [layer.output for layer in board.layers]
    total = len(data) * len(names)
    for count, sample in enumerate(data):
        feeds = sample.feeds
        want = board.run(feeds, (), inner=True, sample=sample.name)
        got = board.run(feeds, numbers, inner=True, sample=sample.name)
        together.add(want, got, board.outputs)
        for number, name in enumerate(names):
            accumulated[number].add(want[name], got[name])
        for number, name in enumerate(names):
            got = board.run(feeds, (number,), inner=(number,), sample=sample.name)
            alone[number].add(want, got, board.outputs)
            local[number].add(want[name], got[name])
            if progress is not None:
                progress(count * len(names) + number + 1, total)
    costs = tuple(
        Cost(
            layer=layer,
            alone_db=alone[number].worst_db(),
            local_db=local[number].sqnr_db,
            accumulated_db=accumulated[number].sqnr_db,
        )
        for number, layer in enumerate(board.layers)
    )
    return Sensitivity(costs=costs, outputs=together.fidelity())


class Gauge:
    """Fidelity with any layers quantized, on samples whose float outputs are kept."""

    def __init__(self, board: Switchboard, samples: Sequence[Sample]) -> None:
        """Runs the float model once on every sample. Raises EC-341."""
        self._board, self._samples = board, samples
        self._want = [board.run(s.feeds, (), sample=s.name) for s in samples]

    def fidelity(self, quantized: Iterable[int]) -> dict[str, OutputFidelity]:
        """Figures of every floating-point output. Raises EC-341."""
        numbers, sums = tuple(quantized), _Sums()
        for sample, want in zip(self._samples, self._want, strict=True):
            got = self._board.run(sample.feeds, numbers, sample=sample.name)
            sums.add(want, got, self._board.outputs)
        return sums.fidelity()


def bound_macs(
    reference: Model, feeds: Mapping[str, np.ndarray], *, threads: int = 1
) -> dict[str, int]:
    """Multiply-accumulates by output name, with the shapes that `feeds` really lead to.

    Runs the float model once; operators that multiply nothing are left out. Raises EC-340, EC-341.
    """
    bound = reference.clone()
    products = [node for node in bound.graph.graph if node.op_type in MULTIPLY and not node.domain]
    values = {
        value.name: value
        for node in products
        for value in (*node.inputs[:2], node.outputs[0])
        if value is not None and value.name
    }
    varying = [name for name, value in values.items() if constant_tensor(value) is None]
    shapes = tapped_session(reference, varying, threads=threads).run(feeds, varying)
    for name, value in values.items():
        tensor = constant_tensor(value)
        value.shape = ir.Shape(shapes[name].shape if tensor is None else tensor.shape.numpy())
    counts = {node.outputs[0].name or "": macs(node) for node in products}
    return {name: count for name, count in counts.items() if count is not None}
