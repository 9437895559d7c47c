"""What leaves its input as it is: one small predicate per operator.

A predicate gives the value that the node only passes on, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.ir.facts import constant_array
from edgecompile.passes.graph.edit import (
    bypass,
    constant_at,
    graphs,
    input_at,
    int_attribute,
    ints_attribute,
    is_onnx,
    string_attribute,
)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A node, and the version of the default domain that says what it means."""

    node: ir.Node
    opset: int


Predicate = Callable[[Site], ir.Value | None]


def drop_noops(graph: ir.Model) -> bool:
    """Take out every node that only passes its input on; whether any was taken out."""
    opset = graph.opset_imports.get("", 0)
    changed = False
    for part in graphs(graph):
        for node in list(part):
            predicate = PREDICATES.get(node.op_type) if is_onnx(node, node.op_type) else None
            source = None if predicate is None else predicate(Site(node=node, opset=opset))
            # a value of an outer graph cannot stand for an output of this one: bypass() sees to it
            if source is not None and bypass(node, source):
                changed = True
    return changed


def _identity(site: Site) -> ir.Value | None:
    return input_at(site.node, 0)


def _dropout(site: Site) -> ir.Value | None:
    if site.opset >= 12 and input_at(site.node, 2) is not None:
        training = constant_at(site.node, 2)
        return input_at(site.node, 0) if training is not None and not training.any() else None
    if site.opset < 7 and int_attribute(site.node, "is_test", 0) == 0:
        return None
    return input_at(site.node, 0)


def _cast(site: Site) -> ir.Value | None:
    source = input_at(site.node, 0)
    same = (
        source is not None
        and source.dtype is not None
        and source.dtype.value == int_attribute(site.node, "to", 0)
    )
    return source if same else None


def _transpose(site: Site) -> ir.Value | None:
    perm = ints_attribute(site.node, "perm", ())
    return input_at(site.node, 0) if perm and perm == tuple(range(len(perm))) else None


def _same_shape(site: Site) -> ir.Value | None:
    """Reshape, Expand, Flatten, Tile...: a no-op where the known shapes are equal."""
    source = input_at(site.node, 0)
    return source if source is not None and equal_shapes(source, site.node.outputs[0]) else None


def equal_shapes(left: ir.Value, right: ir.Value) -> bool:
    """Whether both shapes are known and equal, symbols included."""
    if left.shape is None or right.shape is None or len(left.shape) != len(right.shape):
        return False
    return all(
        a == b and (isinstance(a, int) or a.value is not None)
        for a, b in zip(left.shape, right.shape, strict=True)
    )


def _single(site: Site) -> ir.Value | None:
    return input_at(site.node, 0) if len(site.node.inputs) == 1 else None


def _pad(site: Site) -> ir.Value | None:
    pads = (
        np.array(ints_attribute(site.node, "pads", ()))
        if site.opset < 11
        else constant_at(site.node, 1)
    )
    return input_at(site.node, 0) if pads is not None and pads.size and not pads.any() else None


def _slice(site: Site) -> ir.Value | None:
    """A slice that keeps everything: equal static shapes, and steps of 1."""
    source = _same_shape(site)
    if source is None or (source.shape is not None and not source.shape.is_static()):
        return None
    steps = input_at(site.node, 4)
    if steps is None:
        return source
    given = constant_array(steps)
    return source if given is not None and bool((given == 1).all()) else None


def _neutral(number: int, *, commutes: bool) -> Predicate:
    """`x + 0`, `x * 1`, `x - 0`, `x / 1`, where broadcasting does not change the shape."""

    def predicate(site: Site) -> ir.Value | None:
        for index, other in ((1, 0), (0, 1)) if commutes else ((1, 0),):
            constant, source = constant_at(site.node, index), input_at(site.node, other)
            if constant is None or source is None or constant_array(source) is not None:
                continue
            neutral = constant.dtype.kind in "fiu" and bool((constant == number).all())
            if neutral and (constant.ndim == 0 or equal_shapes(source, site.node.outputs[0])):
                return source
        return None

    return predicate


def _split(site: Site) -> ir.Value | None:
    return input_at(site.node, 0) if len(site.node.outputs) == 1 else None


def _depth(site: Site) -> ir.Value | None:
    return input_at(site.node, 0) if int_attribute(site.node, "blocksize", 0) == 1 else None


def _resize(site: Site) -> ir.Value | None:
    """Only where every scale is the constant 1, whatever the interpolation."""
    scales = constant_at(site.node, 1 if site.opset < 11 else 2)
    plain = string_attribute(site.node, "coordinate_transformation_mode", "half_pixel") != (
        "tf_crop_and_resize"
    )
    ones = scales is not None and scales.size > 0 and bool((scales == 1).all())
    return input_at(site.node, 0) if plain and ones else None


PREDICATES: dict[str, Predicate] = {
    "Identity": _identity,
    "Dropout": _dropout,
    "Cast": _cast,
    "Transpose": _transpose,
    "Reshape": _same_shape,
    "Expand": _same_shape,
    "Flatten": _same_shape,
    "Squeeze": _same_shape,
    "Slice": _slice,
    "Concat": _single,
    "Sum": _single,
    "Mean": _single,
    "Max": _single,
    "Min": _single,
    "Split": _split,
    "Pad": _pad,
    "Resize": _resize,
    "DepthToSpace": _depth,
    "SpaceToDepth": _depth,
    "Add": _neutral(0, commutes=True),
    "Sub": _neutral(0, commutes=False),
    "Mul": _neutral(1, commutes=True),
    "Div": _neutral(1, commutes=False),
}
