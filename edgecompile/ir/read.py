"""From a path to a parsed `ModelProto`, or to one clear reason why not."""

from __future__ import annotations

import stat
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from edgecompile.diagnostics import EdgecompileError, Where
from edgecompile.diagnostics.catalogue import model as rules
from edgecompile.ir.limits import Limits
from edgecompile.ir.wire import BadBytesError, NotTextError, TooManyError, TruncatedError, scan

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_SIGNATURES = (
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"PK\x03\x04", "a zip archive, as PyTorch and Keras write checkpoints"),
    (0, b"\x80\x02", "a pickle"),
    (0, b"\x80\x03", "a pickle"),
    (0, b"\x80\x04", "a pickle"),
    (0, b"\x80\x05", "a pickle"),
    (0, b"\x89HDF", "an HDF5 file, as Keras writes checkpoints"),
    (0, b"\x1f\x8b", "a gzip file"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (4, b"ORTM", "a model in ONNX Runtime's own format"),
    (0, b"<?xml", "XML, as OpenVINO writes models"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for"),
)


def read_proto(path: Path, limits: Limits) -> onnx.ModelProto:
    """Read and parse the file at `path`; its external data is not touched.

    Raises EC-101 to EC-107, and EC-123 for names that are not text.
    """
    where = Where(file=str(path))
    data = _read_bytes(path, limits, where)
    proto = onnx.ModelProto()
    try:
        scan(data, limits)
        proto.ParseFromString(data)
    except TooManyError as error:
        raise rules.LIMIT_EXCEEDED.error(
            where, what=error.what, actual=error.actual, limit=error.limit
        ) from None
    except NotTextError as error:
        raise rules.DAMAGED.error(where, reason=error) from None
    except TruncatedError as error:
        raise rules.MODEL_TRUNCATED.error(where, path=path, reason=error) from None
    except BadBytesError as error:
        raise _not_onnx(path, data, str(error)) from None
    except DecodeError:
        raise _not_onnx(path, data, "its protobuf is damaged") from None
    return proto


def _read_bytes(path: Path, limits: Limits, where: Where) -> bytes:
    try:
        status = path.stat()
        for is_kind, kind in _KINDS:
            if is_kind(status.st_mode):
                raise rules.MODEL_NOT_A_FILE.error(where, path=path, kind=kind)
        if status.st_size == 0:
            raise rules.MODEL_EMPTY.error(where, path=path)
        if status.st_size > limits.file_bytes:
            raise rules.LIMIT_EXCEEDED.error(
                where, what="size in bytes", actual=status.st_size, limit=limits.file_bytes
            )
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise rules.MODEL_MISSING.error(where, path=path) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise rules.MODEL_UNREADABLE.error(where, path=path, reason=reason) from None


def _not_onnx(path: Path, data: bytes, reason: str) -> EdgecompileError:
    """EC-105, naming the format that the first bytes are known to belong to."""
    for offset, signature, name in _SIGNATURES:
        if data[offset : offset + len(signature)] == signature:
            reason = f"it is {name}"
            break
    else:
        if _is_text(data[:512]):
            reason = "it is text"
    return rules.NOT_ONNX.error(Where(file=str(path)), path=path, reason=reason)


def _is_text(head: bytes) -> bool:
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    return printable == len(head)
