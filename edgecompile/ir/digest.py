"""The canonical digest: SHA-256 of what a model says, wherever its weights lie.

The digest covers the canonical `ModelProto` (see `proto`) in which the data of every tensor is
replaced by its own SHA-256. So equal digests mean equal `to_bytes`, weights of any size are hashed
in pieces without being held in memory, and the directory of a model does not matter.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator

import numpy as np
import onnx
import onnx_ir as ir

from edgecompile.ir.model import Digest
from edgecompile.ir.proto import string_items, tensor_header, write_model
from edgecompile.ir.weights import ExternalWeight

_PREFIX = b"edgecompile/model@1\n"
_KNOWN = "edgecompile.sha256"
"""Key in `Tensor.meta` under which the digest of a tensor that cannot change is kept."""


def model_digest(graph: ir.Model) -> Digest:
    """SHA-256 of the canonical form of a whole model, its weights included."""
    body = write_model(graph, _write_hashed).SerializeToString(deterministic=True)
    return Digest(hashlib.sha256(_PREFIX + body).hexdigest())


def tensor_sha256(tensor: ir.TensorProtocol) -> bytes:
    """SHA-256 (32 bytes) of a tensor's data in ONNX's raw form; strings with their lengths."""
    known: bytes | None = tensor.meta.get(_KNOWN)
    if known is not None:
        return known
    digest = hashlib.sha256()
    for chunk in tensor_chunks(tensor):
        digest.update(chunk)
    if _cannot_change(tensor):
        tensor.meta[_KNOWN] = digest.digest()
    return digest.digest()


def tensor_chunks(tensor: ir.TensorProtocol) -> Iterator[bytes | memoryview]:
    """A tensor's data in ONNX's raw form (little endian), in pieces; not copied where possible."""
    if isinstance(tensor, ExternalWeight):
        yield from tensor.chunks()
    elif tensor.dtype == ir.DataType.STRING:
        for item in string_items(tensor):
            yield len(item).to_bytes(8, "little")
            yield item
    elif (array := _plain_array(tensor)) is not None:
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    else:
        yield tensor.tobytes()


def _plain_array(tensor: ir.TensorProtocol) -> np.ndarray | None:
    """The array whose memory is already the raw form; None for packed types and the rest."""
    if not isinstance(tensor, ir.Tensor) or not isinstance(tensor.raw, np.ndarray):
        return None
    return tensor.raw if tensor.dtype.bitwidth >= 8 and sys.byteorder == "little" else None


def _cannot_change(tensor: ir.TensorProtocol) -> bool:
    """Whether nothing can write to the data: then the digest holds for good.

    External weights raise when their file is replaced, so theirs holds too.
    """
    if isinstance(tensor, ExternalWeight):
        return True
    if not isinstance(tensor, ir.Tensor | ir.PackedTensor):
        return False
    memory = tensor.raw
    while isinstance(memory, np.ndarray) and not memory.flags.writeable:
        if memory.base is None:
            return True
        memory = memory.base
    return isinstance(memory, bytes)


def _write_hashed(proto: onnx.TensorProto, tensor: ir.TensorProtocol, name: str) -> None:
    tensor_header(proto, tensor, name)
    proto.raw_data = tensor_sha256(tensor)
