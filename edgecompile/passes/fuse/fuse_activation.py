"""`fuse_activation`: write an activation that an exporter spelled out as the one operator it is.

    Min(Max(x, a), b), Relu and Min, ...               -> Clip(x, a, b), or Relu for [0, inf)
    x * Clip(x + 3, 0, 6) / 6, x * HardSigmoid(x)      -> HardSwish(x)    opset 14
    0.5 x (1 + Erf(x / sqrt 2))                        -> Gelu(x)         opset 20
    0.5 x (1 + Tanh(sqrt(2/pi) (x + 0.044715 x^3)))    -> Gelu(x, tanh)   opset 20

OpenVINO finds most of these by itself. What a target gains is that no quantizer puts rounding in
the middle: so an operator is made where the target declares that it is fused into the layer before.
`x * Sigmoid(x)` stays: Swish exists since opset 24 only, and ONNX Runtime has no kernel for it.
Sources: arXiv:1905.02244 (hard swish), arXiv:1606.08415 (GELU).
"""

from __future__ import annotations

import functools
from typing import ClassVar

import onnx_ir as ir

from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, NoteBook, Outcome, Pass
from edgecompile.passes.fuse.activations import Activation, recognise
from edgecompile.passes.fuse.clamps import fuse_clamps
from edgecompile.passes.graph.edit import graphs, is_onnx, prune, replace_node, rewritten

SINCE = {"Clip": 11, "Relu": 6, "HardSwish": 14, "Gelu": 20}
"""Opset from which on an operator exists in the form that is written here."""


class FuseActivation(Pass):
    """Write Clip, HardSwish and Gelu for the arithmetic that computes them."""

    id: ClassVar[str] = "fuse_activation"
    facts: ClassVar[tuple[str, ...]] = ("quantization",)

    def run(self, model: Model, context: Context) -> Outcome:
        """Fires for operators that the target has, fused or of their own, and the opset too."""
        style = context.target.quantization
        fused = frozenset((*style.fused_activations, *style.operators) if style is not None else ())
        book = NoteBook()
        return rewritten(model, functools.partial(_fuse, fused=fused, book=book), book.notes)


def _fuse(graph: ir.Model, fused: frozenset[str], book: NoteBook) -> None:
    opset = graph.opset_imports.get("", 0)
    usable = {op for op in fused if opset >= SINCE.get(op, 0)}
    for part in graphs(graph):
        fuse_clamps(part, usable, book)
        # backwards: the whole product is met before the products inside it
        for root in reversed(list(part)):
            if root.graph is part and is_onnx(root, "Mul", "Div"):
                found = recognise(root)
                if found is None:
                    continue
                problem = _why_not(found, fused, opset)
                if problem:
                    book.fail(problem, root.name, op_type=root.op_type)
                else:
                    _write(root, found)


def _why_not(found: Activation, fused: frozenset[str], opset: int) -> str | None:
    if found.op not in fused:
        return f"this is {found.op}, which the target does not name among its operators"
    if opset < SINCE[found.op]:
        return f"this is {found.op}, which needs opset {SINCE[found.op]}; the model has {opset}"
    return None


def _write(root: ir.Node, found: Activation) -> None:
    attributes = [ir.AttrString("approximate", found.approximate)] if found.approximate else []
    new = ir.Node("", found.op, [found.source], attributes, name=root.name)
    new.doc_string = root.doc_string
    new.metadata_props.update(root.metadata_props)
    producers = [value.producer() for value in root.inputs if value is not None]
    replace_node(root, new)
    prune(*(node for node in producers if node is not None))
