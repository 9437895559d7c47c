"""`ArrayFile`: one `.npy` array, alone or inside an `.npz`, read a few rows at a time.

The format is NumPy's NEP 1. Arrays are not memory-mapped: pages of a mapped file count as memory
of the process, and one pass over a large file would then look (and be billed) like a leak.
"""

from __future__ import annotations

import math
import struct
import tempfile
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.data import DATA_DAMAGED, DATA_OBJECTS

if TYPE_CHECKING:
    import numpy as np

_DAMAGE = (ValueError, EOFError, OSError, SyntaxError, struct.error, zlib.error)
_DAMAGE_ZIP = (*_DAMAGE, zipfile.BadZipFile, NotImplementedError, RuntimeError, tokenize.TokenError)


class ArrayFile:
    """An array on disk: `shape` and `dtype` from its header, rows on demand.

    `stream` must be seekable and stand at the start of `size_bytes` of `.npy` data.
    """

    def __init__(self, stream: IO[bytes], path: Path, key: str, size_bytes: int) -> None:
        """Read the header. Raises EC-305 for pickled objects, EC-306 for a damaged file."""
        from numpy.lib import format as npy

        self.path, self.key, self._stream = path, key, stream
        begin = stream.tell()
        try:
            version = npy.read_magic(stream)
            header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            self.shape, self._fortran, self.dtype = header(stream)
            self._start = stream.tell()
        except _DAMAGE_ZIP as error:
            raise damaged(path, "a NumPy array", error) from error
        if self.dtype.hasobject:
            raise DATA_OBJECTS.error(Where(file=str(path)), key=key)
        promised = self._start - begin + math.prod(self.shape) * self.dtype.itemsize
        if promised > size_bytes:
            short = EOFError(f"array '{key}' should take {promised} bytes, not {size_bytes}")
            raise damaged(path, "a NumPy array", short)
        self._whole: np.ndarray | None = None

    def __len__(self) -> int:
        """Entries along the first axis; 1 for a scalar."""
        return self.shape[0] if self.shape else 1

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Entries `start` to `stop` of the first axis, `[stop - start, ...]`, as a new array."""
        import numpy as np

        if self._fortran and len(self.shape) > 1:
            return np.array(self._spooled()[start:stop], order="C")
        tail = self.shape[1:]
        row_bytes = math.prod(tail) * self.dtype.itemsize
        data = np.empty((stop - start) * row_bytes, np.uint8)
        try:
            self._stream.seek(self._start + start * row_bytes)
            _fill(self._stream, data.data)
        except _DAMAGE_ZIP as error:
            raise damaged(self.path, f"array '{self.key}'", error) from error
        return data.view(self.dtype).reshape(stop - start, *tail)

    def whole(self) -> np.ndarray:
        """The full array."""
        return self.rows(0, len(self)).reshape(self.shape)

    def _spooled(self) -> np.ndarray:
        # The entries of one sample lie all over a Fortran-ordered file: only a map can pick them.
        import numpy as np

        if self._whole is None:
            spool = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the map
            left = math.prod(self.shape) * self.dtype.itemsize
            try:
                self._stream.seek(self._start)
                while left:
                    chunk = bytearray(min(left, 1 << 20))
                    _fill(self._stream, memoryview(chunk))
                    spool.write(chunk)
                    left -= len(chunk)
                spool.flush()
                self._whole = np.memmap(spool, self.dtype, "r", shape=self.shape, order="F")
            except _DAMAGE_ZIP as error:
                raise damaged(self.path, f"array '{self.key}'", error) from error
        return self._whole


def _fill(stream: IO[bytes], target: memoryview) -> None:
    done = 0
    while done < len(target):
        count = stream.readinto(target[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError("the file ends before the array does")
        done += count


def damaged(path: Path, kind: str, error: Exception) -> Exception:
    """EC-306 for `path`, with the first line of what the reader said."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return DATA_DAMAGED.error(Where(file=str(path)), path=str(path), kind=kind, reason=reason)


def open_npy(path: Path) -> ArrayFile:
    """The array of a `.npy` file. Raises EC-305 or EC-306."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise damaged(path, "a NumPy array", error) from error
    return ArrayFile(stream, path, path.name, path.stat().st_size)


def open_npz(path: Path) -> dict[str, ArrayFile]:
    """The arrays of an `.npz` by key, in the order of the file. Raises EC-305 or EC-306."""
    try:
        archive = zipfile.ZipFile(path)
        arrays: dict[str, ArrayFile] = {}
        for info in archive.infolist():
            key = info.filename.removesuffix(".npy")
            arrays[key] = ArrayFile(_member(archive, info, path), path, key, info.file_size)
    except _DAMAGE_ZIP as error:
        raise damaged(path, "an .npz archive", error) from error
    return arrays


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> IO[bytes]:
    # zipfile reads through everything before a seek target: a stored member is better read
    # straight from the file, at the place that its local header gives.
    if info.compress_type != zipfile.ZIP_STORED:
        return archive.open(info)
    stream = path.open("rb")
    stream.seek(info.header_offset + 26)
    name_length, extra_length = struct.unpack("<HH", stream.read(4))
    stream.seek(name_length + extra_length, 1)
    return stream
