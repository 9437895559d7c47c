"""`fuse_conv_pad`: let the layer do the padding.

    Conv(Pad(x, p, 0), pads=q)                            -> Conv(x, pads=q + p)
    AveragePool(Pad(x, p, 0), pads=q, count_include_pad)  -> AveragePool(x, pads=q + p)

An average must count the zeros that Pad has put in: with `count_include_pad=1`, and only where no
padding of the layer's own is left out of the count and no window sticks out (`ceil_mode=0`).
"""

from __future__ import annotations

import functools
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from edgecompile.ir.model import Model
from edgecompile.passes.base import Context, NoteBook, Outcome, Pass
from edgecompile.passes.graph.edit import (
    constant_at,
    float_attribute,
    graphs,
    input_at,
    int_attribute,
    ints_attribute,
    is_onnx,
    prune,
    rewritten,
    string_attribute,
)

LAYERS = ("Conv", "AveragePool")


class FuseConvPad(Pass):
    """Move zero padding into the Conv or AveragePool that follows."""

    id: ClassVar[str] = "fuse_conv_pad"

    def run(self, model: Model, context: Context) -> Outcome:
        """Every user of the padded value must take its padding, or else the Pad stays."""
        book = NoteBook()
        return rewritten(model, functools.partial(_fuse, book=book), book.notes)


def _fuse(graph: ir.Model, book: NoteBook) -> None:
    for part in graphs(graph):
        for pad in list(part):
            if not is_onnx(pad, "Pad"):
                continue
            layers = [use.node for use in pad.outputs[0].uses()]
            problem = _why_not(pad, layers)
            if problem is None:
                _move(pad, layers)
            else:
                book.fail(problem, pad.name, op_type="Pad")


def _why_not(pad: ir.Node, layers: list[ir.Node]) -> str | None:
    spatial = _spatial_pads(pad)
    if isinstance(spatial, str):
        return spatial
    if pad.outputs[0].is_graph_output() or not layers:
        return "its result is an output of the model"
    problems = (_layer_problem(pad, layer, spatial) for layer in layers)
    return next((problem for problem in problems if problem), None)


def _spatial_pads(pad: ir.Node) -> list[int] | str:
    """Pads of the spatial axes as Conv writes them, begins then ends; or why there are none."""
    if string_attribute(pad, "mode", "constant") != "constant":
        return f"its mode is '{string_attribute(pad, 'mode', '')}', and layers pad with zeros"
    rank = None if pad.outputs[0].shape is None else len(pad.outputs[0].shape)
    old_form = "pads" in pad.attributes
    pads = np.array(ints_attribute(pad, "pads", ())) if old_form else constant_at(pad, 1)
    if pads is None:
        return "its pads are computed"
    value = input_at(pad, 2)
    fill = constant_at(pad, 2)
    if float_attribute(pad, "value", 0.0) or (value is not None and (fill is None or fill.any())):
        return "it does not pad with the constant zero"
    axes = constant_at(pad, 3)
    if input_at(pad, 3) is not None and (axes is None or rank is None):
        return "its axes are not known"
    full = np.asarray(pads, np.int64).reshape(2, -1)
    if axes is not None and rank is not None:
        full = np.zeros((2, rank), np.int64)
        full[:, axes] = pads.reshape(2, -1)
    if full.shape[1] < 3 or full[:, :2].any():
        return "it pads the batch or channel axis"
    if (full < 0).any():
        return "it crops (a pad is negative)"
    return [int(n) for n in full[:, 2:].reshape(-1)]


def _layer_problem(pad: ir.Node, layer: ir.Node, pads: list[int]) -> str | None:
    if not is_onnx(layer, *LAYERS) or layer.inputs[0] is not pad.outputs[0]:
        return f"{layer.op_type} '{layer.name}' takes no padding"
    if layer.graph is not pad.graph:
        return f"{layer.op_type} '{layer.name}' is in a subgraph"
    if string_attribute(layer, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return f"{layer.op_type} '{layer.name}' pads by auto_pad"
    if layer.op_type == "AveragePool":
        own = ints_attribute(layer, "pads", ())
        if any(own) and not int_attribute(layer, "count_include_pad", 0):
            return f"AveragePool '{layer.name}' does not count its own padding"
        if int_attribute(layer, "ceil_mode", 0):
            return f"AveragePool '{layer.name}' rounds its size up"
        kernel = ints_attribute(layer, "kernel_shape", ())
        total = [a + b for a, b in zip(pads, own or [0] * len(pads), strict=True)]
        if any(n >= k for n, k in zip(total, kernel * 2, strict=True)):
            return f"AveragePool '{layer.name}' would pad as much as its kernel covers"
    return None


def _move(pad: ir.Node, layers: list[ir.Node]) -> None:
    pads = _spatial_pads(pad)
    assert not isinstance(pads, str)
    for layer in layers:
        own = ints_attribute(layer, "pads", [0] * len(pads))
        total = [a + b for a, b in zip(pads, own, strict=True)]
        layer.attributes["pads"] = ir.AttrInt64s("pads", total)
        layer.attributes.pop("auto_pad", None)
        if layer.op_type == "AveragePool":
            layer.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
        layer.replace_input_with(0, pad.inputs[0])
    prune(pad)
