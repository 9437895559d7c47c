"""DLC, Qualcomm's container of models: written by QNN's IR back end, and read here.

A DLC is a ZIP archive of stored members without checksums: `model` and `model.params` (FlatBuffers
behind eight bytes of header) with the graph and where its weights lie, `model.params.bin` with the
weights, and for compiled graphs one `htp.cache.CHIP.N` for every chip, which is a context binary.
The fields below were read off files that onnxruntime-qnn 2.7.0 wrote.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgecompile.vendor.qnn import layouts as q
from edgecompile.vendor.qnn.provider import open_session, session_options
from edgecompile.vendor.qnn.trace import TRACE, read_trace
from edgecompile.vendor.worker import Session

MODEL, PARAMETERS, WEIGHTS = "model", "model.params", "model.params.bin"
CACHE = "htp.cache."
_MAGIC = b"\xd5\x0a\x04\x00\x01\x00\x00\x00"
_LOCAL_HEADER_BYTES = 30
_APP_WRITE, _APP_READ, _STATIC = 0, 1, 4


def make_dlc(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Let QNN's IR back end write `payload["model"]`, a file in the folder `payload["folder"]`.

    Answers the `files`: one for each part of the model that it takes, with a description, and
    `left_out`: the nodes that are in none.
    """
    folder = Path(payload["folder"])
    os.chdir(folder)  # as for context binaries: the path goes into the name of the graph
    traces = folder / "trace"
    traces.mkdir()
    options = {
        **payload["options"],
        "dump_qnn_ir_dlc": "1",
        "dump_qnn_ir_dlc_dir": str(folder),
        "enable_framework_op_trace": "1",
        "framework_op_trace_dir": str(traces),
    }
    open_session(payload["model"], session_options(session, options))
    files = sorted(folder.glob("*.dlc"))
    return {
        "files": {path.name: describe_dlc(path.read_bytes()) for path in files},
        "left_out": read_trace(traces / TRACE),
    }


def members(data: bytes) -> dict[str, bytes]:
    """Name -> content of the members of a DLC; `zipfile` itself refuses their missing checksums.

    Raises `ValueError` for what is not a complete DLC.
    """
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
        for entry in entries:
            name_size, extra_size = struct.unpack_from("<HH", data, entry.header_offset + 26)
            start = entry.header_offset + _LOCAL_HEADER_BYTES + name_size + extra_size
            found[entry.filename] = data[start : start + entry.file_size]
            if len(found[entry.filename]) != entry.file_size or entry.compress_type:
                raise ValueError(f"the member '{entry.filename}' is not complete")
    except (zipfile.BadZipFile, struct.error) as error:
        raise ValueError(f"it is not a DLC: {error}") from error
    return found


def describe_dlc(data: bytes) -> dict[str, Any]:
    """Graphs, stored weights and compiled caches of the DLC `data`. Raises `ValueError`."""
    from edgecompile.vendor.qnn.system import describe_binary

    parts = members(data)
    caches = {
        name.removeprefix(CACHE): describe_binary(content)
        for name, content in sorted(parts.items())
        if name.startswith(CACHE)
    }
    return {
        "kind": "dlc",
        "members": sorted(parts),
        "graphs": [_graph(graph) for graph in _graphs(parts, MODEL)],
        "weight_bytes": len(parts.get(WEIGHTS, b"")),
        "caches": caches,
        "content_sha256": contents_sha256(data),
    }


def contents_sha256(data: bytes) -> str:
    """Digest of what a DLC computes: the graph and its weights, without times and tool history."""
    parts, digest = members(data), hashlib.sha256()
    for name in sorted(parts):
        if not name.startswith("dlc.metadata"):
            digest.update(name.encode() + b"\0" + hashlib.sha256(parts[name]).digest())
    return digest.hexdigest()


def _graphs(parts: dict[str, bytes], member: str) -> list[Any]:
    if member not in parts:
        return []
    data = parts[member]
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError(f"the member '{member}' has another form")
    body = data[len(_MAGIC) :]
    try:
        return list(_tables(_root(body), 0))
    except (struct.error, IndexError) as error:
        raise ValueError(f"the member '{member}' is damaged") from error


def _graph(graph: Any) -> dict[str, Any]:
    """Graph: 0 name, 1 operators, 2 tensors."""
    tensors = [_tensor(tensor) for tensor in _tables(graph, 2)]
    return {
        "name": _text(graph, 0),
        "operators": [
            {"name": _text(operator, 0), "op": _text(operator, 1)} for operator in _tables(graph, 1)
        ],
        "inputs": [t for t in tensors if t["kind"] == _APP_WRITE],
        "outputs": [t for t in tensors if t["kind"] == _APP_READ],
        "static": [t for t in tensors if t["kind"] == _STATIC],
    }


def _tensor(tensor: Any) -> dict[str, Any]:
    """Tensor: 1 name, 2 kind (`Qnn_TensorType_t`), 3 dimensions, 6 type."""
    code = _number(tensor, 6)
    return {
        "name": _text(tensor, 1),
        "kind": _number(tensor, 2),
        "shape": [_at(tensor, 3, i) for i in range(_length(tensor, 3))],
        "dtype": q.DATA_TYPES.get(code, f"{code:#06x}"),
    }


def _root(body: bytes) -> Any:
    from flatbuffers.table import Table

    (start,) = struct.unpack_from("<I", body)
    return Table(bytearray(body), start)


def _offset(table: Any, field: int) -> int:
    return int(table.Offset(4 + 2 * field))


def _tables(table: Any, field: int) -> Iterator[Any]:
    from flatbuffers.table import Table

    offset = _offset(table, field)
    for index in range(_length(table, field)):
        yield Table(table.Bytes, table.Indirect(table.Vector(offset) + 4 * index))


def _length(table: Any, field: int) -> int:
    offset = _offset(table, field)
    return int(table.VectorLen(offset)) if offset else 0


def _text(table: Any, field: int) -> str:
    offset = _offset(table, field)
    return bytes(table.String(table.Pos + offset)).decode() if offset else ""


def _number(table: Any, field: int) -> int:
    offset = _offset(table, field)
    return int(struct.unpack_from("<I", table.Bytes, table.Pos + offset)[0]) if offset else 0


def _at(table: Any, field: int, index: int) -> int:
    start = table.Vector(_offset(table, field))
    return int(struct.unpack_from("<I", table.Bytes, start + 4 * index)[0])
