"""Tensors whose channels can be scaled, with the linear layers that read them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.ir.model import Model
from edgecompile.ir.names import Names
from edgecompile.passes.base import NoteBook
from edgecompile.passes.graph.edit import add_constant, earliest
from edgecompile.passes.quantize.channel_scale import (
    Division,
    Layer,
    Scales,
    division,
    layer_of,
    scale_inputs,
)
from edgecompile.passes.quantize.unfold import Unfolded, unfold


@dataclass(frozen=True, kw_only=True)
class Group:
    """A tensor and the layers of one kind that read it: they share one scale per channel."""

    tensor: ir.Value
    layers: tuple[Layer, ...]
    views: tuple[Unfolded, ...]
    division: Division | None
    """How what makes the tensor divides by the scales; None to multiply by their inverse."""

    @property
    def name(self) -> str:
        """Name of the tensor."""
        return self.tensor.name or ""

    def scale(self, scales: Scales, model: Model) -> None:
        """Multiply the layers' weights by `scales`, [C], and divide the tensor, in place."""
        names = Names(model.graph.graph)
        for layer in self.layers:
            scale_inputs(layer, scales, names)
        if self.division is not None:
            self.division.apply(scales, names)
        else:
            _multiply(self, scales, model, names)


def scaled_groups(
    model: Model, operators: Collection[str], book: NoteBook, *, insert: Collection[str]
) -> Iterator[Group]:
    """Every tensor that layers of `operators` read, if what makes it can be divided.

    Of layers in `insert`, any tensor. What is left out is told in `book`.
    """
    values: dict[str, ir.Value] = {}
    for node in model.graph.graph:
        source = node.inputs[0] if node.op_type in operators and node.inputs else None
        if source is not None and source.name:
            values.setdefault(source.name, source)
    for value in values.values():
        users = {use.node for use in value.uses() if use.node.op_type in operators}
        found = [layer_of(node) for node in sorted(users, key=lambda n: n.name or "")]
        for axis in (-1, 1):
            layers = [x for x in found if x is not None and x.channel_axis == axis]
            group = _group(value, layers, book, insert=insert)
            if group is not None:
                yield group


def _group(
    value: ir.Value, layers: Sequence[Layer], book: NoteBook, *, insert: Collection[str]
) -> Group | None:
    if not layers or len({layer.channels for layer in layers}) != 1 or value.shape is None:
        return None
    first = layers[0]
    views = [unfold(layer.node, 1, layer.weights) for layer in layers]
    nodes = [layer.node for layer in layers]
    way = division(value, nodes, first.channel_axis, first.channels)
    if isinstance(way, str) and first.node.op_type not in insert:
        book.fail(f"not scaled: {way}", first.node.name, op_type=first.node.op_type)
        return None
    return Group(
        tensor=value,
        layers=tuple(layers),
        views=tuple(view for view in views if view is not None),
        division=None if isinstance(way, str) else way,
    )


def _multiply(group: Group, scales: Scales, model: Model, names: Names) -> None:
    """Put a Mul by 1 / `scales` between the tensor and its layers."""
    value, graph = group.tensor, model.graph.graph
    axis, rank = group.layers[0].channel_axis, len(value.shape or ())
    shape = [len(scales) if i == axis % rank else 1 for i in range(rank)]
    factors = (1 / scales).astype(np.float32).reshape(shape if axis == 1 else -1)
    factor = add_constant(graph, factors, f"{value.name}_smooth_scale", names)
    node = ir.node("Mul", [value, factor], name=names.unique(f"{value.name}_smooth"))
    node.outputs[0].name = names.unique(f"{value.name}_smoothed")
    node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
    first = earliest(graph, (layer.node for layer in group.layers))
    graph.insert_before(first, node)
    for layer in group.layers:
        layer.node.replace_input_with(0, node.outputs[0])
