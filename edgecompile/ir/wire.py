"""A walk over the bytes of a protobuf file that parses nothing.

It counts what `Limits` bounds before memory is spent on it, and it can tell a file that was cut off
from one that never was ONNX, which protobuf's own parser cannot.
Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import onnx

from edgecompile.ir.limits import Limits

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_IR_VERSION_TAG = 0x08
"""The first byte of every model: field 1, a varint. Writers put fields in order of number."""


class BadBytesError(ValueError):
    """The bytes are not a model; the text completes "not an ONNX model: ..."."""


class TruncatedError(ValueError):
    """The bytes are the start of a model; the text completes "ends too early: ..."."""


class NotTextError(ValueError):
    """A text field is not UTF-8: protobuf would hand it out as bytes."""


class TooManyError(ValueError):
    """Something counted went above its limit."""

    def __init__(self, what: str, actual: int, limit: int) -> None:
        """`what` was counted up to `actual`, where the walk stopped."""
        super().__init__(what)
        self.what, self.actual, self.limit = what, actual, limit


class _Span(NamedTuple):
    """A message still to be looked at: its bytes, its type, and how many graphs are around it."""

    start: int
    end: int
    type: str
    depth: int


@functools.cache
def _children(name: str) -> Mapping[int, tuple[str, str]]:
    """Field number -> name and type of the fields that hold messages or text (type "")."""
    found = {}
    for field in _descriptor(name).fields:
        if field.type == field.TYPE_STRING:
            found[field.number] = (field.name, "")
        elif field.message_type is not None:
            found[field.number] = (field.name, field.message_type.full_name)
    return found


def _descriptor(full_name: str) -> Any:
    """The descriptor of a message type such as `onnx.TypeProto.Tensor`."""
    return functools.reduce(getattr, full_name.split(".")[1:], onnx).DESCRIPTOR


def scan(data: bytes, limits: Limits) -> Counter[str]:
    """Count the nodes, initializers and functions in a serialized `ModelProto`.

    Raises `BadBytesError`, `TruncatedError`, `NotTextError` or, above a limit, `TooManyError`.
    """
    walk = _Walk(data, limits)
    try:
        walk.run()
    except IndexError as error:
        raise walk.ends_early("the last field has no end") from error
    if walk.counts["graph"] == 0:
        raise BadBytesError("it holds no graph")
    return walk.counts


class _Walk:
    """The state of one scan: what is still to be looked at, and what was counted."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.fields_left = limits.fields
        self.counts: Counter[str] = Counter()
        self.todo = [_Span(0, len(data), "onnx.ModelProto", 0)]
        self.bounds = {
            "node": ("number of nodes", limits.nodes),
            "initializer": ("number of initializers", limits.initializers),
            "functions": ("number of functions", limits.functions),
        }

    def run(self) -> None:
        """Look at every message, with a stack of its own instead of recursion."""
        while self.todo:
            span = self.todo.pop()
            if span.depth > self.limits.subgraph_depth + 1:
                raise TooManyError(
                    "depth of nested subgraphs", span.depth - 1, self.limits.subgraph_depth
                )
            if self._fields(span) != span.end:
                raise self.ends_early(f"a {span.type} has no end")

    def ends_early(self, reason: str) -> ValueError:
        """The error for bytes that stop in the middle of a field."""
        starts_well = len(self.data) > 2 and self.data[0] == _IR_VERSION_TAG and self.data[1] < 64
        return TruncatedError(reason) if starts_well else BadBytesError(reason)

    def _fields(self, span: _Span) -> int:
        """Step over the fields of one message and note those that hold messages."""
        data, position, end, left = self.data, span.start, span.end, self.fields_left
        children = _children(span.type)
        while position < end:
            left -= 1
            if left < 0:
                limit = self.limits.fields
                raise TooManyError("number of protobuf fields", limit + 1, limit)
            tag = data[position]
            position += 1
            if tag > 127:
                tag, position = self._varint(position - 1)
            kind = tag & 7
            if kind == _BYTES:
                size = data[position]
                position += 1
                if size > 127:
                    size, position = self._varint(position - 1)
                if position + size > end:
                    missing = position + size - end
                    raise self.ends_early(f"a field of {size} bytes lacks {missing} of them")
                if (tag >> 3) in children:
                    self._child(children[tag >> 3], position, position + size, span.depth)
                position += size
            elif kind == _VARINT:
                while data[position] > 127:
                    position += 1
                position += 1
            elif kind in (_FIXED32, _FIXED64):
                position += 4 if kind == _FIXED32 else 8
            else:
                raise BadBytesError("its bytes are not protobuf")
        self.fields_left = left
        return position

    def _child(self, field: tuple[str, str], start: int, end: int, depth: int) -> None:
        name, kind = field
        if not kind:
            self._text(name, self.data[start:end])
            return
        self.counts[name] += 1
        if name in self.bounds:
            what, limit = self.bounds[name]
            if self.counts[name] > limit:
                raise TooManyError(what, self.counts[name], limit)
        self.todo.append(_Span(start, end, kind, depth + (kind == "onnx.GraphProto")))

    @staticmethod
    def _text(name: str, content: bytes) -> None:
        if not content.isascii():
            try:
                content.decode()
            except UnicodeDecodeError as error:
                raise NotTextError(f"{name} {content[:40]!r} is not UTF-8") from error

    def _varint(self, position: int) -> tuple[int, int]:
        """The varint at `position`, and where it ends."""
        value = shift = 0
        while True:
            byte = self.data[position]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, position
            shift += 7
            if shift > 63:
                raise BadBytesError("its bytes are not protobuf")
