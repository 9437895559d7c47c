"""Layouts of the C structures in which QNN's system library describes a context binary.

From the public headers of the QNN API 2.x, `QnnTypes.h` and `System/QnnSystemContext.h`. Each
structure that can grow carries a version in front, and a reader refuses versions it does not know.
"""

from __future__ import annotations

import ctypes as c

DATA_TYPES = {
    0x0008: "int8", 0x0016: "int16", 0x0032: "int32", 0x0064: "int64",
    0x0108: "uint8", 0x0116: "uint16", 0x0132: "uint32", 0x0164: "uint64",
    0x0216: "float16", 0x0232: "float32", 0x0264: "float64",
    0x0304: "sfixed4", 0x0308: "sfixed8", 0x0316: "sfixed16", 0x0332: "sfixed32",
    0x0404: "ufixed4", 0x0408: "ufixed8", 0x0416: "ufixed16", 0x0432: "ufixed32",
    0x0508: "bool",
}  # fmt: skip
"""`Qnn_DataType_t`: code -> name; `sfixed` and `ufixed` are quantized integers."""

DEFINED, SCALE_OFFSET = 1, 0
"""`Qnn_Definition_t` and `Qnn_QuantizationEncoding_t` of one scale and offset per tensor."""


class Version(c.Structure):
    """`Qnn_Version_t`."""

    _fields_ = (("major", c.c_uint32), ("minor", c.c_uint32), ("patch", c.c_uint32))


class _Encoding(c.Union):
    """The largest member of the union has 32 bytes; one scale and offset lie at its head."""

    _fields_ = (("scale_offset", c.c_uint32 * 2), ("storage", c.c_uint64 * 4))


class QuantizeParams(c.Structure):
    """`Qnn_QuantizeParams_t`."""

    _fields_ = (("definition", c.c_uint32), ("encoding", c.c_uint32), ("value", _Encoding))


class Buffer(c.Structure):
    """`Qnn_ClientBuffer_t`."""

    _fields_ = (("data", c.c_void_p), ("size", c.c_uint32))


_TENSOR_HEAD = (
    ("id", c.c_uint32),
    ("name", c.c_char_p),
    ("type", c.c_uint32),
    ("data_format", c.c_uint32),
    ("data_type", c.c_uint32),
    ("quantization", QuantizeParams),
    ("rank", c.c_uint32),
    ("dimensions", c.POINTER(c.c_uint32)),
    ("memory_type", c.c_uint32),
    ("memory", Buffer),
)


class TensorV2(c.Structure):
    """`Qnn_TensorV2_t`; `Qnn_TensorV1_t` is its head."""

    _fields_ = (
        *_TENSOR_HEAD,
        ("is_dynamic", c.POINTER(c.c_uint8)),
        ("sparse", c.c_uint32 * 3),
        ("is_produced", c.c_uint8),
    )


class Tensor(c.Structure):
    """`Qnn_Tensor_t`."""

    _fields_ = (("version", c.c_uint32), ("body", TensorV2))


class Graph(c.Structure):
    """`QnnSystemContext_GraphInfo_t`, up to version 3."""

    _fields_ = (
        ("version", c.c_uint32),
        ("name", c.c_char_p),
        ("num_inputs", c.c_uint32),
        ("inputs", c.POINTER(Tensor)),
        ("num_outputs", c.c_uint32),
        ("outputs", c.POINTER(Tensor)),
        ("num_updateable", c.c_uint32),
        ("updateable", c.POINTER(Tensor)),
        ("blob_info_size", c.c_uint32),
        ("blob_info", c.c_void_p),
        ("start_op", c.c_uint32),
        ("end_op", c.c_uint32),
    )


class BinaryHead(c.Structure):
    """What versions 1 to 3 of `QnnSystemContext_BinaryInfo_t` begin with."""

    _fields_ = (
        ("version", c.c_uint64),  # 32 bits, and as many to align the union behind it
        ("backend", c.c_uint32),
        ("build_id", c.c_char_p),
        ("core_api", Version),
        ("backend_api", Version),
        ("soc_version", c.c_char_p),
    )


class BinaryV3(c.Structure):
    """Version 3 of `QnnSystemContext_BinaryInfo_t`."""

    _fields_ = (
        *BinaryHead._fields_,
        ("blob_version", Version),
        ("blob_size", c.c_uint64),
        ("num_tensors", c.c_uint32),
        ("tensors", c.POINTER(Tensor)),
        ("num_graphs", c.c_uint32),
        ("graphs", c.POINTER(Graph)),
        ("platform", c.c_void_p),
        ("metadata_size", c.c_uint32),
        ("metadata", c.c_void_p),
        ("soc_model", c.c_uint32),
    )


class Interface(c.Structure):
    """`QnnSystemInterface_t`: the first functions of its table."""

    _fields_ = (
        ("backend", c.c_uint32),
        ("provider", c.c_char_p),
        ("api", Version),
        ("context_create", c.c_void_p),
        ("context_get_binary_info", c.c_void_p),
        ("context_get_metadata", c.c_void_p),
        ("context_free", c.c_void_p),
    )
