"""`decompose`: write operators that the target's runtime lacks as the arithmetic that they are.

    HardSigmoid(x)             -> Clip(alpha x + beta, 0, 1)
    HardSwish(x)               -> x Clip(x / 6 + 1/2, 0, 1)
    Gelu(x)                    -> 0.5 x (1 + Erf(x / sqrt 2)), or its tanh form
    Mish(x)                    -> x Tanh(Softplus(x))
    LayerNormalization(x)      -> (x - mean) / sqrt(mean((x - mean)^2) + epsilon) scale + bias

Definitions: the operators' specifications in ONNX. The opposite of `fuse_activation` and
`fuse_normalization`, for runtimes with few operators or an old opset.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import onnx
import onnx_ir as ir

from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue.check import OPERATOR_ELSEWHERE
from edgecompile.diagnostics.catalogue.emit import OPERATOR_UNSUPPORTED
from edgecompile.ir.facts import all_nodes
from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.base import Context, NoteBook, Outcome, Pass
from edgecompile.passes.graph.edit import (
    add_constant,
    float_attribute,
    graph_of,
    graphs,
    hand_over,
    input_at,
    int_attribute,
    is_onnx,
    rewritten,
    string_attribute,
)
from edgecompile.targets.operators import operator_table
from edgecompile.targets.schema import Target

Operator = Literal["HardSigmoid", "HardSwish", "Gelu", "Mish", "LayerNormalization"]
AXES_AS_INPUT = 18
"""Opset from which on ReduceMean takes its axes as an input."""
CLIP_BY_INPUT = 11


class Decompose(Pass):
    """Write operators that the target does not have in terms of those that it has."""

    id: ClassVar[str] = "decompose"
    facts: ClassVar[tuple[str, ...]] = ("operators", "opset")
    mends: ClassVar[frozenset[str]] = frozenset(
        {OPERATOR_ELSEWHERE.code, OPERATOR_UNSUPPORTED.code}
    )

    operators: tuple[Operator, ...] | None = None
    """Which; null for those that the target's operator tables or its highest opset lack."""

    def takes_away(self, problem: Diagnostic, model: Model) -> bool:
        """Only operators that it can write out."""
        if problem.code not in self.mends or problem.where.node is None:
            return False
        known = {node.name or node.op_type: node.op_type for node in all_nodes(model)}
        return known.get(problem.where.node) in (self.operators or get_args(Operator))

    def run(self, model: Model, context: Context) -> Outcome:
        """Says of each node why it was left, where one of `operators` could not be written."""
        chosen = self.operators
        if chosen is None:
            chosen = tuple(op for op in get_args(Operator) if _lacks(context.target, op))
        book = NoteBook()
        edit = functools.partial(_decompose, chosen=chosen, book=book)
        return rewritten(model, edit, book.notes)


def _lacks(target: Target, op: str) -> bool:
    if not onnx.defs.has(op, max_inclusive_version=target.opset.max, domain=""):
        return True
    return any(
        not operator_table(support.table).entries("", op, support.column)
        for support in target.operators
    )


def _decompose(graph: ir.Model, chosen: tuple[str, ...], book: NoteBook) -> None:
    opset = graph.opset_imports.get("", 0)
    names = Names(graph.graph)
    for part in graphs(graph):
        for node in list(part):
            if node.graph is part and is_onnx(node, *chosen):
                problem = _why_not(node, opset)
                if problem:
                    book.fail(problem, node.name, op_type=node.op_type)
                else:
                    writer = _Writer(node, opset, names)
                    writer.finish(_FORMS[node.op_type](writer))


def _why_not(node: ir.Node, opset: int) -> str | None:
    source = node.inputs[0]
    if opset < CLIP_BY_INPUT:
        return f"it is written for opset {CLIP_BY_INPUT} and up; the model has {opset}"
    if source is None or source.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return "its input is not known to be float or float16"
    if node.op_type == "LayerNormalization":
        if source.shape is None:
            return "the number of axes of its input is not known"
        if any(v.uses() or v.is_graph_output() for v in node.outputs[1:]):
            return "mean or deviation are used as well"
    return None


class _Writer:
    """Puts nodes in front of `origin`, named after its result."""

    def __init__(self, origin: ir.Node, opset: int, names: Names) -> None:
        self.opset = opset
        self.origin = origin
        self._names = names
        self._stem = origin.outputs[0].name or origin.op_type
        self._nodes: list[ir.Node] = []
        source = origin.inputs[0]
        assert source is not None
        assert source.dtype is not None
        self.source = source
        self._dtype = source.dtype.numpy()

    def op(self, op_type: str, *inputs: ir.Value | float, **attributes: Any) -> ir.Value:
        """One node; numbers become constants of the input's type."""
        values = [v if isinstance(v, ir.Value) else self.number(v) for v in inputs]
        found = [ir.convenience.convert_attribute(k, v) for k, v in attributes.items()]
        node = ir.Node("", op_type, values, found, num_outputs=1)
        name = self._names.unique(f"{self._stem}_{op_type}")
        node.name, made = name, node.outputs[0]
        # every form works on its first operand, element by element
        made.name, made.type = name, self.source.type
        made.shape = None if values[0].shape is None else values[0].shape.copy()
        self._nodes.append(node)
        return made

    def number(self, value: float) -> ir.Value:
        """A scalar constant."""
        return self.constant(np.array(value, self._dtype))

    def constant(self, array: np.ndarray) -> ir.Value:
        """A constant."""
        return add_constant(graph_of(self.origin), array, f"{self._stem}_constant", self._names)

    def finish(self, result: ir.Value) -> None:
        """Let `result` stand for the first output of the origin, and remove that."""
        old = self.origin.outputs[0]
        hand_over(old, result)
        self._nodes[-1].metadata_props.update(self.origin.metadata_props)
        ir.convenience.replace_nodes_and_values(
            graph_of(self.origin), self.origin, [self.origin], self._nodes, [old], [result]
        )


def _hard_sigmoid(w: _Writer) -> ir.Value:
    alpha, beta = float_attribute(w.origin, "alpha", 0.2), float_attribute(w.origin, "beta", 0.5)
    return w.op("Clip", w.op("Add", w.op("Mul", w.source, alpha), beta), 0.0, 1.0)


def _hard_swish(w: _Writer) -> ir.Value:
    gate = w.op("Clip", w.op("Add", w.op("Mul", w.source, 1 / 6), 0.5), 0.0, 1.0)
    return w.op("Mul", w.source, gate)


def _gelu(w: _Writer) -> ir.Value:
    if string_attribute(w.origin, "approximate", "none") == "tanh":
        cube = w.op("Mul", w.op("Mul", w.op("Mul", w.source, w.source), w.source), 0.044715)
        scaled = w.op("Mul", w.op("Add", w.source, cube), math.sqrt(2 / math.pi))
        gate = w.op("Tanh", scaled)
    else:
        gate = w.op("Erf", w.op("Mul", w.source, math.sqrt(0.5)))
    return w.op("Mul", w.op("Mul", w.source, 0.5), w.op("Add", gate, 1.0))


def _mish(w: _Writer) -> ir.Value:
    return w.op("Mul", w.source, w.op("Tanh", w.op("Softplus", w.source)))


def _layer_normalization(w: _Writer) -> ir.Value:
    assert w.source.shape is not None
    rank, axis = len(w.source.shape), int_attribute(w.origin, "axis", -1)
    axes = list(range(axis if axis < 0 else axis - rank, 0))

    def mean(value: ir.Value) -> ir.Value:
        if w.opset < AXES_AS_INPUT:
            made = w.op("ReduceMean", value, axes=axes, keepdims=1)
        else:
            made = w.op("ReduceMean", value, w.constant(np.array(axes, np.int64)), keepdims=1)
        assert value.shape is not None
        made.shape = ir.Shape([*value.shape[: axes[0]], *(1 for _ in axes)])
        return made

    centred = w.op("Sub", w.source, mean(w.source))
    variance = mean(w.op("Mul", centred, centred))
    deviation = w.op("Sqrt", w.op("Add", variance, float_attribute(w.origin, "epsilon", 1e-5)))
    result = w.op("Div", centred, deviation)
    for op_type, parameter in (("Mul", input_at(w.origin, 1)), ("Add", input_at(w.origin, 2))):
        if parameter is not None:
            result = w.op(op_type, result, parameter)
    return result


_FORMS: dict[str, Callable[[_Writer], ir.Value]] = {
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Gelu": _gelu,
    "Mish": _mish,
    "LayerNormalization": _layer_normalization,
}
