"""What each quantized layer costs at the model's outputs.

With layer l alone in integers, the error at an output is J_l e_l: the layer's own rounding error
e_l, carried there by the rest of the float network J_l. Errors of different layers hardly
correlate, so their powers add up, and few layers make most of the sum (per-layer analysis as in Wu
et al., "Integer Quantization for Deep Learning Inference", arXiv:2004.09602, section 5.2, by SQNR
instead of task accuracy).

All layers are estimated at once, by following the error of the quantized model back to the layers
that made it (see `attribution`); those that seem to matter most are then measured, each alone in
integers. That takes (4 + `exact`) inferences per sample, whatever the number of layers.
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
from edgecompile.calibration.taps import tapped_session
from edgecompile.ir.facts import constant_tensor, macs
from edgecompile.ir.model import Model
from edgecompile.passes.quantize.attribution import attribute
from edgecompile.passes.quantize.layers import Layer, Pairing
from edgecompile.passes.quantize.side_by_side import Floats, Powers, SideBySide
from edgecompile.passes.quantize.switchboard import Switchboard

MULTIPLY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators whose multiply-accumulates are counted."""
EXACT = 8
"""Layers that are measured and not only estimated."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What quantizing one layer costs. Ratios in dB are of powers over all samples."""

    layer: Layer
    alone_db: float
    """SQNR at the worst output of the model with only this layer quantized."""
    measured: bool = True
    """Whether `alone_db` was measured; else it is an estimate."""
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


def measure_layers(
    model: Model,
    reference: Model,
    pairing: Pairing,
    data: Dataset,
    *,
    exact: int = EXACT,
    board: Switchboard | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Sensitivity:
    """The cost of every layer of `pairing`, that of `model` and `reference`, over `data`.

    The `exact` layers that seem to cost most are measured, the others estimated. A `board` of the
    same says which tensors are judged; without one the outputs are. One sample's outputs are in
    memory at a time. Raises EC-340 and EC-341.
    """
    layers = pairing.layers
    outputs = [value.name or "" for value in reference.graph.graph.outputs]
    outputs = outputs if board is None else list(board.outputs)
    session = SideBySide(model, reference, pairing, watched=outputs, threads=threads)
    total = _Total(layers=len(layers), outputs=outputs)
    steps = len(data) * (1 + min(exact, len(layers)))
    for done, sample in enumerate(data, 1):
        powers = session.run(sample.feeds, sample=sample.name)
        errors = {name: _error(powers.want[name], powers.got[name]) for name in outputs}
        total.add(powers, attribute(reference, layers, powers, errors))
        if progress is not None:
            progress(done, steps)
    del session
    found = total.alone_db()
    few = sorted(range(len(layers)), key=lambda number: (found[number], number))[:exact]
    if few:
        board = board or Switchboard(model, reference, pairing, threads)
        measured = _measured(board, data, few, progress, steps)
        found |= measured
    local, accumulated = total.local_db(), total.accumulated_db()
    costs = tuple(
        Cost(
            layer=layer,
            alone_db=found[number],
            measured=number in few,
            local_db=local[number],
            accumulated_db=accumulated[number],
        )
        for number, layer in enumerate(layers)
    )
    return Sensitivity(costs=costs, outputs=total.together.fidelity())


@dataclass
class _Total:
    """Sums over samples."""

    layers: int
    outputs: Sequence[str]
    together: _Sums = field(default_factory=_Sums)

    def __post_init__(self) -> None:
        self._parts = np.zeros((self.layers, len(self.outputs)))
        self._powers = np.zeros((3, self.layers))

    def add(self, powers: Powers, parts: Floats) -> None:
        """One sample: what each layer makes of the error of each output."""
        self._parts += parts
        self._powers += (powers.signal, powers.own, powers.accumulated)
        self.together.add(powers.want, powers.got, self.outputs)

    def alone_db(self) -> dict[int, float]:
        """Layer -> SQNR at the worst output, as if only this layer were quantized."""
        sums = self.together.sums
        known = [(at, sums[name]) for at, name in enumerate(self.outputs) if name in sums]
        return {
            number: min(
                (_decibels(s.signal, self._parts[number, at]) for at, s in known), default=math.inf
            )
            for number in range(self.layers)
        }

    def local_db(self) -> list[float]:
        """Of each layer's output, it alone quantized."""
        return [_decibels(a, b) for a, b in zip(self._powers[0], self._powers[1], strict=True)]

    def accumulated_db(self) -> list[float]:
        """Of each layer's output, all layers quantized."""
        return [_decibels(a, b) for a, b in zip(self._powers[0], self._powers[2], strict=True)]


def _error(want: Array, got: Array) -> float:
    """Power of the error of one output; zero where it cannot be told, that of the output itself
    where nothing finite is left of it."""
    if want.dtype.kind != "f" or want.shape != got.shape:
        return 0.0
    signal = np.asarray(want, np.float64)
    known = np.isfinite(signal)
    error = (np.asarray(got, np.float64) - signal)[known]
    return float(np.square(error if np.isfinite(error).all() else signal[known]).sum())


def _decibels(signal: float, noise: float) -> float:
    finite = math.isfinite(signal) and math.isfinite(noise)
    return decibels(float(signal), float(noise)) if finite else -math.inf


def _measured(
    board: Switchboard,
    data: Dataset,
    numbers: Sequence[int],
    progress: Progress | None,
    steps: int,
) -> dict[int, float]:
    """SQNR at the worst output with only one of the layers `numbers` quantized, of each."""
    alone = {number: _Sums() for number in numbers}
    done = len(data)
    for sample in data:
        want = board.run(sample.feeds, (), sample=sample.name)
        for number, sums in alone.items():
            got = board.run(sample.feeds, (number,), sample=sample.name)
            sums.add(want, got, board.outputs)
            done += 1
            if progress is not None:
                progress(done, steps)
    return {number: sums.worst_db() for number, sums in alone.items()}


def bound_macs(
    reference: Model, feeds: Mapping[str, np.ndarray], *, threads: int = 1
) -> dict[str, int]:
    """Multiply-accumulates by output name, with the shapes that `feeds` really lead to.

    Runs the float model once; operators that multiply nothing are left out. Raises EC-340, EC-341.
    """
    return {name: work.macs for name, work in bound_work(reference, feeds, threads=threads).items()}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one operator does in one inference."""

    macs: int
    """Multiply-accumulates."""
    elements: int
    """Numbers that it reads and writes, constants left out."""


def bound_work(
    reference: Model, feeds: Mapping[str, np.ndarray], *, threads: int = 1
) -> dict[str, Work]:
    """`Work` by output name, as `bound_macs` counts it. Raises EC-340, EC-341."""
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
    found: dict[str, Work] = {}
    for node in products:
        count, name = macs(node), node.outputs[0].name or ""
        names = {value.name for value in (*node.inputs[:2], node.outputs[0]) if value is not None}
        moved = sum(shapes[other].size for other in names if other in shapes)
        if count is not None:
            found[name] = Work(macs=count, elements=moved)
    return found
