"""Which nodes must stay in float32 because half precision would break them, and why.

Half precision (IEEE 754 binary16) reaches 65504, its smallest number is 2^-24, and its steps are
2^-11 of the number. Squares, large sums, tiny epsilons and angles do not fit into that.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

import numpy as np
import onnx_ir as ir

from edgecompile.calibration.ranges import Ranges
from edgecompile.ir.facts import constant_array, static_shape
from edgecompile.passes.graph.edit import constant_at, float_attribute, ints_attribute

LARGEST = 65504.0
SMALLEST = 2.0**-24
MASK = 1e9
"""Constants at least as large stand for infinity (an attention mask): they can be clipped."""
MASK_OPERATORS = frozenset({"Add", "Sub", "Mul", "Where", "Max", "Min", "Clip", "Pad"})
SQUARES = frozenset({"Pow", "ReduceSumSquare", "ReduceL2"})
WIDE = frozenset(
    {"Exp", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "CumSum", "MeanVarianceNormalization"}
)
ANGLES = frozenset({"Sin", "Cos", "Tan"})
SUMS = frozenset({"ReduceSum", "ReduceMean", "ReduceL1", "GlobalAveragePool"})
CHAIN = frozenset({"ReduceMean", "ReduceSum", "Sqrt", "Reciprocal"}) | SQUARES
"""What stands between the square and the division of a normalisation written out in parts."""
LONGEST_SUM = 4096
LEAST_SQNR_DB = 40.0
"""Half precision keeps a weight to 70 dB and more, unless much of it is below 2^-14."""


class Policy:
    """Decides about one graph. Known ranges of tensors, where there are any, overrule guesses."""

    def __init__(self, graph: ir.Graph, ranges: Ranges | None) -> None:
        """Look at every node of `graph`; subgraphs stay in float32 anyway."""
        self.ranges = {} if ranges is None else ranges.tensors
        self.reasons: dict[ir.Node, str] = {}
        for node in graph:
            reason = self._reason(node)
            if reason:
                self.reasons[node] = reason
        self._close(graph)

    def _reason(self, node: ir.Node) -> str:
        """Why `node` must stay, or an empty string."""
        epsilon = float_attribute(node, "epsilon", 1.0)
        if epsilon < SMALLEST:
            return f"its epsilon {epsilon:g} is 0 in half precision"
        for value in (*node.inputs, *node.outputs):
            seen = self._seen(value)
            if value is not None and seen is not None and seen > LARGEST:
                return f"'{value.name}' reaches {seen:g}"
        return self._operator(node) or self._constants(node)

    def _operator(self, node: ir.Node) -> str:
        if node.op_type in ANGLES:
            return "angles lose their precision"
        if node.op_type == "GridSample":
            return "coordinates lose their precision"
        squares = (node.op_type in SQUARES and not _root(node)) or _square(node)
        if (squares or node.op_type in WIDE) and any(self._seen(v) is None for v in node.outputs):
            return "it may overflow half precision"
        if node.op_type in SUMS:
            count = _summed(node)
            if count is None or count > LONGEST_SUM:
                many = "an unknown number of" if count is None else f"{count}"
                return f"it sums {many} numbers"
        return ""

    def _seen(self, value: ir.Value | None) -> float | None:
        """Largest magnitude that calibration saw of a value; None where nobody looked."""
        known = None if value is None else self.ranges.get(value.name or "")
        return None if known is None else max(abs(known.observed_min), abs(known.observed_max))

    def _constants(self, node: ir.Node) -> str:
        for value in node.inputs:
            array = constant_array(value)
            if array is None or array.dtype != np.float32 or not array.size or value is None:
                continue
            reason = _constant(node, array)
            if reason:
                return f"constant '{value.name}' {reason}"
        return ""

    def _close(self, graph: ir.Graph) -> None:
        """Keep a normalisation that is written out in parts together, from square to root."""
        for node, anchor in normalisation_parts(graph, self.reasons).items():
            self.reasons[node] = f"it belongs to the normalisation around '{anchor.name}'"


def normalisation_parts(graph: ir.Graph, kept: Collection[ir.Node]) -> dict[ir.Node, ir.Node]:
    """What belongs to the normalisations that `kept` are parts of, each with the part before it."""
    frontier = [node for node in kept if _in_chain(node)]
    known, found = set(kept), dict[ir.Node, ir.Node]()
    while frontier:
        node = frontier.pop()
        for other in _neighbours(node):
            if _in_chain(other) and other.graph is graph and other not in known:
                found[other] = node
                known.add(other)
                frontier.append(other)
    return found


def clipped(array: np.ndarray) -> np.ndarray:
    """A constant in half precision; numbers that stand for infinity become half the largest.

    Half, so that adding a mask to scores does not overflow after all. Infinities stay.
    """
    mask = np.isfinite(array) & (np.abs(array) > LARGEST)
    return np.where(mask, np.copysign(LARGEST / 2, array), array).astype(np.float16)


def _constant(node: ir.Node, array: np.ndarray) -> str:
    finite = array[np.isfinite(array)]
    if np.isnan(array).any():
        return "holds NaN"
    if not finite.size:
        return ""
    top = float(np.abs(finite).max())
    large = np.abs(finite) > LARGEST
    if large.any():
        is_mask = bool((np.abs(finite[large]) >= MASK).all()) and node.op_type in MASK_OPERATORS
        return "" if is_mask else f"reaches {top:g}"
    if finite.size == 1 and 0 < top < SMALLEST:
        return f"is {top:g}, which is 0 in half precision"
    exact = finite.astype(np.float64)
    lost = float(np.square(exact - finite.astype(np.float16)).sum())
    power = float(np.square(exact).sum())
    quality = 10 * math.log10(power / lost) if lost and power else math.inf
    return f"would keep only {quality:.0f} dB" if quality < LEAST_SQNR_DB else ""


def _in_chain(node: ir.Node) -> bool:
    if node.op_type == "Add":
        arrays = [constant_at(node, index) for index in (0, 1)]
        return any(array is not None and array.size == 1 for array in arrays)
    return node.op_type in CHAIN or _square(node)


def _square(node: ir.Node) -> bool:
    return node.op_type == "Mul" and node.inputs[0] is node.inputs[1]


def _root(node: ir.Node) -> bool:
    """Whether a Pow takes a root or does nothing: an exponent in [0, 1]."""
    exponent = constant_at(node, 1) if node.op_type == "Pow" else None
    if exponent is None:
        return False
    powers = exponent.astype(np.float64)
    return bool(((powers >= 0) & (powers <= 1)).all())


def _summed(node: ir.Node) -> int | None:
    """How many numbers each output of a reduction sums; None when that depends on the input."""
    shape = static_shape(node.inputs[0])
    source, result = node.inputs[0], node.outputs[0]
    if node.op_type == "GlobalAveragePool":
        return None if shape is None else math.prod(shape[2:])
    axes = ints_attribute(node, "axes", ()) or tuple(_axes_input(node))
    if not axes:
        reduced = static_shape(result)
        if shape is None or reduced is None:
            return None
        return math.prod(shape) // max(1, math.prod(reduced))
    dims = None if source is None or source.shape is None else source.shape.dims
    if dims is None:
        return None
    sizes = [dims[axis] for axis in axes]
    known = [size for size in sizes if isinstance(size, int)]
    return math.prod(known) if len(known) == len(sizes) else None


def _axes_input(node: ir.Node) -> Iterable[int]:
    axes = constant_at(node, 1)
    return () if axes is None else (int(axis) for axis in axes.reshape(-1).tolist())


def _neighbours(node: ir.Node) -> Iterable[ir.Node]:
    for value in node.inputs:
        producer = None if value is None else value.producer()
        if producer is not None:
            yield producer
    for value in node.outputs:
        yield from (use.node for use in value.uses())
