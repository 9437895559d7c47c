"""`Limits`: how large a model may be before it is refused unread."""

from __future__ import annotations

from dataclasses import dataclass

PROTOBUF_BYTES = 2**31 - 1
"""Largest serialized message that protobuf reads or writes."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper bounds on what `load` accepts; beyond them it raises EC-107.

    All but the last two hold before the file is parsed, so a hostile file costs neither memory nor
    time. `fields` counts the fields of all protobuf messages (nodes, attributes, dimensions, ...):
    an empty message of two bytes in the file takes some hundred bytes in memory.
    """

    file_bytes: int = PROTOBUF_BYTES
    fields: int = 5_000_000
    nodes: int = 500_000
    initializers: int = 500_000
    functions: int = 10_000
    subgraph_depth: int = 16
    tensor_bytes: int = 64 * 2**30
    """Size of one tensor, by its type and dimensions."""
    weight_bytes: int = 1024 * 2**30
    """Size of all tensors together, external data included."""


DEFAULT = Limits()
