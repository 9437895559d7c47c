"""Weights in files beside the model: where they may lie."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import onnx

from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue import model as rules
from edgecompile.ir.tensors import size_bytes

Stamp = tuple[int, int, int, int]
"""What tells a file from its replacement: device, inode, size in bytes, time of change in ns."""

_MAX_DIGITS = 19


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A file that a model may read: inside its directory, regular, with no other hard link."""

    location: str
    """As the model gives it: relative to `directory`, in POSIX form."""
    directory: Path
    path: Path
    """Where it really lies, symbolic links followed."""
    stamp: Stamp

    @property
    def size_bytes(self) -> int:
        """Size at the time of the check."""
        return self.stamp[2]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A range of bytes in a weight file that was found to exist."""

    file: WeightFile
    offset: int


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of the file that has this name now; None when there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _stamp(status)


def _stamp(status: os.stat_result) -> Stamp:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Resolver:
    """Finds the external data of one model, and refuses what lies outside its directory."""

    def __init__(self, model_path: Path) -> None:
        """Locations are relative to the directory in which `model_path` itself is found."""
        self._model = str(model_path)
        self._directory = Path(os.path.realpath(model_path.parent))
        self._files: dict[str, WeightFile | Diagnostic] = {}

    def place(self, proto: onnx.TensorProto) -> Place | Diagnostic:
        """Where the data of a well-formed external tensor lie, or what is wrong with that.

        Gives EC-108 (missing), EC-109 (escapes) or EC-110 (outside the file).
        """
        fields = {entry.key: entry.value for entry in proto.external_data}
        location = fields.get("location", "")
        if location not in self._files:
            self._files[location] = self._file(location, proto.name)
        file = self._files[location]
        if isinstance(file, Diagnostic):
            return file
        offset = _count(fields.get("offset", "0"))
        expected = size_bytes(proto)
        length = _count(fields.get("length", str(expected)))
        if offset is None or length is None:
            bad = "offset" if offset is None else "length"
            return self._range(proto, location, f"{bad} {fields[bad][:40]!r} is not a byte count")
        if length != expected:
            reason = f"length is {length} bytes, but the tensor takes {expected}"
            return self._range(proto, location, reason)
        if offset + expected > file.size_bytes:
            end = f"bytes {offset} to {offset + expected}"
            reason = f"{end} lie beyond the end of the file ({file.size_bytes} bytes)"
            return self._range(proto, location, reason)
        return Place(file=file, offset=offset)

    def _range(self, proto: onnx.TensorProto, location: str, reason: str) -> Diagnostic:
        where = Where(file=self._model, tensor=proto.name)
        return rules.EXTERNAL_RANGE.at(where, location=location, reason=reason)

    def _file(self, location: str, tensor: str) -> WeightFile | Diagnostic:
        where = Where(file=self._model, tensor=tensor)
        windows = PureWindowsPath(location)
        reason = ""
        if not location:
            reason = "it is empty"
        elif location.startswith("/") or windows.drive or windows.root:
            reason = "it is an absolute path"
        elif ".." in windows.parts:
            reason = "it climbs with '..'"
        if reason:
            return rules.EXTERNAL_ESCAPE.at(where, location=location, reason=reason)
        try:
            path = Path(os.path.realpath(self._directory / location))
            if not path.is_relative_to(self._directory):
                reason = "a symbolic link leads out of the directory of the model"
                return rules.EXTERNAL_ESCAPE.at(where, location=location, reason=reason)
            status = path.stat()
        except (OSError, ValueError):  # ValueError: a null byte in the name
            return rules.EXTERNAL_MISSING.at(where, location=location)
        if not stat.S_ISREG(status.st_mode):
            return rules.EXTERNAL_MISSING.at(where, location=location)
        if status.st_nlink > 1:
            reason = f"the file has {status.st_nlink} hard links, so it may be one from elsewhere"
            return rules.EXTERNAL_ESCAPE.at(where, location=location, reason=reason)
        return WeightFile(
            location=location, directory=self._directory, path=path, stamp=_stamp(status)
        )


def _count(text: str) -> int | None:
    """A byte count as ONNX writes it, in plain decimal digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None
