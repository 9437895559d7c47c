"""The canonical digest: SHA-256 of what a model says, wherever its weights lie.

The digest covers the canonical `ModelProto` (see `proto`) in which the data of every tensor is
replaced by its own SHA-256. So equal digests mean equal `to_bytes`, weights of any size are hashed
in pieces without being held in memory, and the directory of a model does not matter.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterator

import onnx
import onnx_ir as ir

from edgecompile.ir.model import Digest
from edgecompile.ir.proto import string_items, tensor_header, write_model

_DOMAIN = b"edgecompile/model@1\n"
_CHUNK_BYTES = 1 << 20

_known: weakref.WeakKeyDictionary[ir.TensorProtocol, bytes] = weakref.WeakKeyDictionary()


def model_digest(graph: ir.Model) -> Digest:
    """SHA-256 of the canonical form of a whole model, its weights included."""
    proto = write_model(graph, _write_hashed)
    body = proto.SerializeToString(deterministic=True)
    return Digest(hashlib.sha256(_DOMAIN + body).hexdigest())


def tensor_sha256(tensor: ir.TensorProtocol) -> bytes:
    """SHA-256 (32 bytes) of a tensor's data in ONNX's raw form; strings with their lengths."""
    digest = hashlib.sha256()
    for chunk in tensor_chunks(tensor):
        digest.update(chunk)
    return digest.digest()


def tensor_chunks(tensor: ir.TensorProtocol) -> Iterator[bytes | memoryview]:
    """A tensor's data in ONNX's raw form, in pieces."""
    if tensor.dtype == ir.DataType.STRING:
        for item in string_items(tensor):
            yield len(item).to_bytes(8, "little")
            yield item
    else:
        yield tensor.tobytes()


def _write_hashed(proto: onnx.TensorProto, tensor: ir.TensorProtocol, name: str) -> None:
    tensor_header(proto, tensor, name)
    proto.raw_data = tensor_sha256(tensor)
