"""What a context binary says about itself, read by QNN's own system library and from its text.

The wrapper beside a binary repeats the options that were asked for; only the binary tells which
chip it was built for.
"""

from __future__ import annotations

import ctypes as c
import re
import struct
from pathlib import Path
from typing import Any

from edgecompile.vendor.qnn import layouts as q

_CHIP = re.compile(rb"soc_type=(\w+);arch=(\d+)")
_VTCM = re.compile(rb"vtcm_size=(\d+)")
_KNOWN_VERSION = 3
_LIBRARY = {"win32": "QnnSystem.dll"}


def describe_binary(data: bytes) -> dict[str, Any]:
    """Chip, memory and graphs of the context binary `data`; of a DLC, see `qnn.dlc`.

    Raises `ValueError` when QNN's library does not read it: it is damaged or cut off.
    """
    if data[:2] == b"PK":
        from edgecompile.vendor.qnn.dlc import describe_dlc

        return describe_dlc(data)
    return {"kind": "context", **chip_of(data), **_by_library(data)}


def chip_of(data: bytes) -> dict[str, Any]:
    """`soc_type`, `arch` and `vtcm_mb` as the compiler has written them into `data`."""
    chip, vtcm = _CHIP.search(data), _VTCM.search(data)
    return {
        "soc_type": chip.group(1).decode() if chip else None,
        "arch": int(chip.group(2)) if chip else None,
        "vtcm_mb": int(vtcm.group(1)) >> 20 if vtcm else None,
    }


def _by_library(data: bytes) -> dict[str, Any]:
    api = _interface()
    create = c.CFUNCTYPE(c.c_uint64, c.POINTER(c.c_void_p))(api.context_create)
    free = c.CFUNCTYPE(c.c_uint64, c.c_void_p)(api.context_free)
    read = c.CFUNCTYPE(
        c.c_uint64, c.c_void_p, c.c_void_p, c.c_uint64, c.POINTER(c.c_void_p), c.POINTER(c.c_uint64)
    )(api.context_get_binary_info)
    handle, info, size = c.c_void_p(), c.c_void_p(), c.c_uint64()
    if create(c.byref(handle)):
        raise RuntimeError("QNN's system library gives no context")
    buffer = c.create_string_buffer(data, len(data))  # must outlive what is read from it
    try:
        status = read(handle, buffer, len(data), c.byref(info), c.byref(size))
        if status or not info:
            raise ValueError(f"QNN's system library cannot read the context binary ({status})")
        return _described(info)
    finally:
        free(handle)


def _described(info: c.c_void_p) -> dict[str, Any]:
    head = c.cast(info, c.POINTER(q.BinaryHead)).contents
    if head.version != _KNOWN_VERSION:
        raise ValueError(f"version {head.version} of the description is not known")
    binary = c.cast(info, c.POINTER(q.BinaryV3)).contents
    return {
        "build_id": (head.build_id or b"").decode(),
        "soc_model": binary.soc_model,
        "graphs": [_graph(binary.graphs[i]) for i in range(binary.num_graphs)],
    }


def _graph(graph: Any) -> dict[str, Any]:
    return {
        "name": (graph.name or b"").decode(),
        "inputs": [_tensor(graph.inputs[i]) for i in range(graph.num_inputs)],
        "outputs": [_tensor(graph.outputs[i]) for i in range(graph.num_outputs)],
    }


def _tensor(tensor: Any) -> dict[str, Any]:
    body = tensor.body
    quantization = body.quantization
    scale = offset = None
    if (quantization.definition, quantization.encoding) == (q.DEFINED, q.SCALE_OFFSET):
        scale, offset = struct.unpack("fi", bytes(quantization.value.scale_offset))
    return {
        "name": (body.name or b"").decode(),
        "dtype": q.DATA_TYPES.get(body.data_type, f"{body.data_type:#06x}"),
        "shape": [body.dimensions[i] for i in range(body.rank)],
        "scale": scale,
        "offset": offset,
    }


def _interface() -> Any:
    import sys

    import onnxruntime_qnn

    folder = Path(onnxruntime_qnn.LIB_DIR_FULL_PATH)
    library = c.CDLL(str(folder / _LIBRARY.get(sys.platform, "libQnnSystem.so")))
    providers, count = c.POINTER(c.POINTER(q.Interface))(), c.c_uint32()
    failed = library.QnnSystemInterface_getProviders(c.byref(providers), c.byref(count))
    if failed or not count.value:
        raise RuntimeError("QNN's system library offers no interface")
    return providers[0].contents
