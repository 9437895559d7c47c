"""`Limits`: how large a model may be before it is refused unread."""

from __future__ import annotations

from dataclasses import dataclass

PROTOBUF_BYTES = 2**31 - 1
"""Largest serialized message that protobuf reads or writes."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper bounds on what `load` accepts; beyond them it raises EC-107.

    They hold before the file is parsed, so a hostile file costs neither memory nor time.
    `messages` counts all protobuf messages (nodes, attributes, dimensions, ...): a message of two
    bytes in the file takes a hundred bytes and more in memory.
    """

    file_bytes: int = PROTOBUF_BYTES
    nodes: int = 500_000
    initializers: int = 500_000
    functions: int = 10_000
    subgraph_depth: int = 16
    messages: int = 8_000_000
    tensor_bytes: int = 64 * 2**30
    external_bytes: int = 1024 * 2**30


DEFAULT = Limits()
