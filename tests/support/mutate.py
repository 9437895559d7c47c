"""Damages models for fuzz tests: their bytes, or the values of their fields."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import onnx

NUMBERS = [-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 8, 16, 22, 99, 2**31, 2**40, 2**62, 2**63 - 1]
TEXTS = ["", "x", "y", "w", "/", "a::b/c", "\0", "é", "x" * 300, "#0", "../x", "N", "ai.onnx"]
BLOBS = [b"", b"\xff", bytes(16), b"a" * 300]


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, overwrite, remove, insert or repeat bytes in one to eight places."""
    content = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        if not content:
            break
        at, source = rng.randrange(len(content)), rng.randrange(len(content))
        size = rng.choice([1, 2, 5, 20])
        match rng.randrange(6):
            case 0:
                content[at] ^= 1 << rng.randrange(8)
            case 1:
                content[at] = rng.choice([0, 1, 2, 8, 10, 127, 128, 255])
            case 2:
                del content[at : at + size]
            case 3:
                content[at:at] = rng.randbytes(size)
            case 4:
                content[at:at] = content[source : source + size]
            case _:
                content[at : at + size] = content[source : source + size]
    return bytes(content)


def damaged_fields(data: bytes, rng: random.Random) -> bytes:
    """Clear, repeat or overwrite one to four fields anywhere; the result is sound protobuf."""
    proto = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        message = rng.choice(list(_messages(proto)))
        field = rng.choice(list(message.DESCRIPTOR.fields))
        if rng.random() < 0.15:
            message.ClearField(field.name)
        elif field.is_repeated:
            _damage_list(getattr(message, field.name), field, rng)
        elif field.message_type is not None:
            getattr(message, field.name).SetInParent()
        elif (content := _content(field, rng)) is not None:
            setattr(message, field.name, content)
    result: bytes = proto.SerializeToString()
    return result


def _messages(message: Any) -> Iterator[Any]:
    yield message
    for field, content in message.ListFields():
        if field.message_type is not None:
            for inner in content if field.is_repeated else [content]:
                yield from _messages(inner)


def _damage_list(items: Any, field: Any, rng: random.Random) -> None:
    if len(items) and rng.random() < 0.3:
        del items[rng.randrange(len(items))]
    elif field.message_type is not None:
        source = rng.choice(list(items)) if len(items) and rng.random() < 0.5 else None
        added = items.add()
        if source is not None:
            added.CopyFrom(source)
    elif (content := _content(field, rng)) is not None:
        items.append(content)


def _content(field: Any, rng: random.Random) -> Any:
    if field.enum_type is not None:
        return rng.choice([value.number for value in field.enum_type.values])
    if field.type == field.TYPE_STRING:
        return rng.choice(TEXTS)
    if field.type == field.TYPE_BYTES:
        return rng.choice(BLOBS)
    if field.type in {field.TYPE_FLOAT, field.TYPE_DOUBLE}:
        return rng.choice([0.0, float("nan"), float("inf")])
    number = rng.choice(NUMBERS)
    fits = -(2**31) <= number < 2**31 or field.type in {field.TYPE_INT64, field.TYPE_SINT64}
    return number if fits and (number >= 0 or field.type != field.TYPE_UINT64) else None
