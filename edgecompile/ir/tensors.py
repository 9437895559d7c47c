"""From `TensorProto` to tensors that own their data and cannot be written to.

onnx_ir's own tensor keeps the protobuf message and copies its bytes at every access; here they are
copied once. Field rules: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (TensorProto).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.serde import TensorProtoTensor, deserialize_metadata_props

TYPED_FIELDS: Final = (
    "float_data",
    "int32_data",
    "int64_data",
    "double_data",
    "uint64_data",
    "string_data",
)
_FIELD_OF: Final = {
    ir.DataType.FLOAT: "float_data",
    ir.DataType.COMPLEX64: "float_data",
    ir.DataType.DOUBLE: "double_data",
    ir.DataType.COMPLEX128: "double_data",
    ir.DataType.INT64: "int64_data",
    ir.DataType.UINT32: "uint64_data",
    ir.DataType.UINT64: "uint64_data",
    ir.DataType.STRING: "string_data",
}
"""The typed field of each element type; all others use `int32_data`."""
_KNOWN: Final = frozenset(ir.DataType) - {ir.DataType.UNDEFINED}
_MAX_BYTES = 2**63 - 1


def is_external(proto: onnx.TensorProto) -> bool:
    """Whether the data lie in another file."""
    return bool(proto.data_location == onnx.TensorProto.EXTERNAL)


def size_bytes(proto: onnx.TensorProto) -> int:
    """Bytes that the data of a well-formed tensor take in raw form; 0 for strings."""
    dtype = ir.DataType(proto.data_type)
    if dtype == ir.DataType.STRING:
        return 0
    bits: int = math.prod(proto.dims) * dtype.bitwidth
    return (bits + 7) // 8


def raw_data(proto: onnx.TensorProto) -> bytes | None:
    """A copy of the data in raw form, if the message has that. Get it once: it may be large."""
    return proto.raw_data if proto.HasField("raw_data") else None


def malformation(proto: onnx.TensorProto, raw: bytes | None) -> str | None:
    """Why type, dimensions and data do not fit together, or None when they do.

    `raw` is what `raw_data` gave for the message.
    """
    if proto.data_type not in _KNOWN:
        return f"element type {proto.data_type} is unknown"
    dtype = ir.DataType(proto.data_type)
    if proto.HasField("segment"):
        return "it is stored in segments, which nothing reads"
    if any(dim < 0 for dim in proto.dims):
        return f"shape {list(proto.dims)} has a negative dimension"
    bits = 64 if dtype == ir.DataType.STRING else dtype.bitwidth
    if math.prod(dim or 1 for dim in proto.dims) * bits // 8 > _MAX_BYTES:
        return f"shape {list(proto.dims)} overflows"
    if is_external(proto):
        if dtype == ir.DataType.STRING:
            return "strings cannot lie in external data"
        inside = [name for name in TYPED_FIELDS if getattr(proto, name)]
        inside += [] if raw is None else ["raw_data"]
        return f"it is external, but has {inside[0]} too" if inside else None
    return _data_malformation(proto, raw, dtype)


def _data_malformation(
    proto: onnx.TensorProto, raw: bytes | None, dtype: ir.DataType
) -> str | None:
    size = math.prod(proto.dims)
    shape = f"{dtype.name} of shape {list(proto.dims)}"
    filled = [name for name in TYPED_FIELDS if getattr(proto, name)]
    if raw is not None:
        if filled:
            return f"it has both raw_data and {filled[0]}"
        if dtype == ir.DataType.STRING:
            return "strings cannot lie in raw_data"
        actual = len(raw)
        return (
            None
            if actual == (expected := size_bytes(proto))
            else f"{shape} takes {expected} bytes, but it has {actual}"
        )
    field = _FIELD_OF.get(dtype, "int32_data")
    if any(name != field for name in filled):
        return f"{dtype.name} belongs into {field}, not into {', '.join(filled)}"
    expected = _typed_count(dtype, size)
    actual = len(getattr(proto, field))
    return (
        None if actual == expected else f"{shape} takes {expected} values, but {field} has {actual}"
    )


def _typed_count(dtype: ir.DataType, size: int) -> int:
    """Entries of the typed field for `size` elements: complex numbers take two, nibbles share."""
    if dtype in {ir.DataType.COMPLEX64, ir.DataType.COMPLEX128}:
        return 2 * size
    if dtype != ir.DataType.STRING and dtype.bitwidth in {2, 4}:
        return (size * dtype.bitwidth + 7) // 8
    return size


def from_proto(proto: onnx.TensorProto, raw: bytes | None) -> ir.TensorProtocol:
    """The tensor of a well-formed message whose data lie inside it; `raw` as `raw_data` gave."""
    dtype = ir.DataType(proto.data_type)
    shape = ir.Shape(proto.dims)
    name = proto.name
    doc_string = proto.doc_string or None
    metadata = deserialize_metadata_props(proto.metadata_props)
    if dtype == ir.DataType.STRING:
        return ir.StringTensor(
            list(proto.string_data),
            shape=shape,
            name=name,
            doc_string=doc_string,
            metadata_props=metadata,
        )
    if raw is None:
        raw = TensorProtoTensor(proto).tobytes()
    if dtype.bitwidth < 8:
        return ir.PackedTensor(
            _without_padding(raw, math.prod(proto.dims) * dtype.bitwidth % 8),
            dtype,
            shape=shape,
            name=name,
            doc_string=doc_string,
            metadata_props=metadata,
        )
    array = np.frombuffer(raw, dtype.numpy().newbyteorder("<")).reshape(tuple(proto.dims))
    if dtype == ir.DataType.BOOL:
        array = _frozen(np.frombuffer(raw, np.uint8).reshape(array.shape) != 0)
    return ir.Tensor(
        array, dtype, shape=shape, name=name, doc_string=doc_string, metadata_props=metadata
    )


def _without_padding(raw: bytes, bits_in_last_byte: int) -> np.ndarray:
    """The packed bytes with the unused bits of the last one cleared: they mean nothing."""
    array = np.frombuffer(raw, np.uint8)
    if bits_in_last_byte and array[-1] >> bits_in_last_byte:
        array = array.copy()
        array[-1] &= (1 << bits_in_last_byte) - 1
    return _frozen(array)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
