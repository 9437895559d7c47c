"""Writing models: atomic, deterministic, and never with weights that lie elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import onnx
import onnx_ir as ir
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.model import MODEL_TOO_LARGE, SAVE_FAILED
from edgecompile.ir import traverse
from edgecompile.ir.digest import tensor_chunks
from edgecompile.ir.limits import PROTOBUF_BYTES
from edgecompile.ir.model import Model
from edgecompile.ir.proto import tensor_header, write_inline, write_model
from edgecompile.ir.replace import Replacement

EXTERNAL_SUFFIX = ".data"
INLINE_BYTES = PROTOBUF_BYTES - 64 * 2**20
"""Most weights that one file takes; the rest of protobuf's limit is left to the graph."""
_SMALL_BYTES = 1024
_ALIGNMENT_BYTES = 64
"""Offsets in the weight file are multiples of a cache line, so runtimes can use it in place."""


def to_bytes(model: Model) -> bytes:
    """The deterministic `ModelProto` of a model, weights inside.

    Raises EC-120 when it is larger than a protobuf message may be (2 GB).
    """
    _refuse_above(INLINE_BYTES, _weight_bytes(model), model)
    return _serialize(write_model(model.graph, write_inline), model)


def save(model: Model, path: Path, *, inline_bytes: int = INLINE_BYTES) -> None:
    """Write a model to `path`, replacing what is there only when all is written.

    If the weights take more than `inline_bytes`, they go to `<path>.data` beside it. They are read
    from wherever they lie, also from the very files that are replaced, and `model` stays valid.
    Raises EC-121 when the files cannot be written (the old ones are then as they were), EC-122 when
    weights have changed since they were loaded, EC-120 for a graph that alone exceeds 2 GB.
    """
    try:
        with Replacement() as replacement:
            if _weight_bytes(model) <= inline_bytes:
                with replacement.open(path) as file:
                    file.write(to_bytes(model))
            else:
                data_path = path.with_name(path.name + EXTERNAL_SUFFIX)
                with replacement.open(data_path) as file:
                    proto = write_model(model.graph, _WeightFile(file, data_path.name).write)
                with replacement.open(path) as file:
                    file.write(_serialize(proto, model))
            _keep_readable(model, replacement.targets)
            replacement.commit()
    except OSError as error:
        reason = error.strerror or str(error)
        raise SAVE_FAILED.error(Where(file=str(path)), path=path, reason=reason) from error


def _refuse_above(limit_bytes: int, actual_bytes: int, model: Model) -> None:
    if actual_bytes > limit_bytes:
        where = Where(file=str(model.origin))
        raise MODEL_TOO_LARGE.error(where, actual_bytes=actual_bytes, limit_bytes=limit_bytes)


def _serialize(proto: onnx.ModelProto, model: Model) -> bytes:
    # asked beforehand, protobuf tells its size by writing all of it: that would double the work
    try:
        data: bytes = proto.SerializeToString(deterministic=True)
    except EncodeError:
        _refuse_above(PROTOBUF_BYTES, proto.ByteSize(), model)
        raise
    _refuse_above(PROTOBUF_BYTES, len(data), model)
    return data


def _weight_bytes(model: Model) -> int:
    return sum(tensor.nbytes for tensor in traverse.tensors(model.graph))


def _keep_readable(model: Model, targets: frozenset[Path]) -> None:
    """Map weights that lie in a file about to be replaced: a mapping outlives the name."""
    for tensor in traverse.tensors(model.graph):
        if isinstance(tensor, ir.ExternalTensor) and Path(os.path.realpath(tensor.path)) in targets:
            tensor.numpy()


class _WeightFile:
    """Writes the data of tensors one after the other; the same tensor only once."""

    def __init__(self, file: BinaryIO, location: str) -> None:
        self.file = file
        self.location = location
        self.end = 0
        self.written: dict[int, int] = {}

    def write(self, proto: onnx.TensorProto, tensor: ir.TensorProtocol, name: str) -> None:
        if tensor.dtype == ir.DataType.STRING or tensor.nbytes < _SMALL_BYTES:
            write_inline(proto, tensor, name)
            return
        offset = self.written.get(id(tensor))
        if offset is None:
            offset = self.written[id(tensor)] = self._append(tensor)
        tensor_header(proto, tensor, name)
        proto.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (
            ("location", self.location),
            ("offset", str(offset)),
            ("length", str(tensor.nbytes)),
        ):
            proto.external_data.add(key=key, value=value)

    def _append(self, tensor: ir.TensorProtocol) -> int:
        offset = -(-self.end // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        self.file.write(bytes(offset - self.end))
        for chunk in tensor_chunks(tensor):
            self.file.write(chunk)
        self.end = offset + tensor.nbytes
        return offset
