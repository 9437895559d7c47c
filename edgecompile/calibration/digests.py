"""Content digests of files and samples, streamed; optionally remembered between processes.

A digest is always of content. A cache that the caller brings (`DigestCache`) only saves reading a
file again whose size, inode and modification time are what they were.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

_SETTLED_NS = 2_000_000_000
"""A file changed less than 2 s ago may change again within one tick of a coarse clock."""


class DigestCache(Protocol):
    """A small string store; `edgecompile.store` offers a lasting one."""

    def get(self, key: str) -> str | None:
        """The value stored under `key`, or `None`."""

    def put(self, key: str, value: str) -> None:
        """Store `value` under `key`."""


class Digests:
    """Digests of files, through a cache where one was given."""

    def __init__(self, cache: DigestCache | None = None) -> None:
        """Without `cache` every call reads the file."""
        self._cache = cache

    def file(self, path: Path) -> str:
        """SHA-256 of the bytes of `path`, in hex."""
        return self.of(path, "file", lambda: _hash_file(path))

    def of(self, path: Path, kind: str, compute: Callable[[], str]) -> str:
        """`compute()`, remembered under the identity of `path` and `kind` (what is computed)."""
        if self._cache is None:
            return compute()
        stat = path.stat()
        key = f"{kind}:{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}"
        found = self._cache.get(key)
        if found is None:
            found = compute()
            if time.time_ns() - stat.st_mtime_ns > _SETTLED_NS:
                self._cache.put(key, found)
        return found


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def feeds_digest(feeds: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the arrays of one sample: names, types, shapes and bytes."""
    import numpy as np

    digest = hashlib.sha256()
    for name in sorted(feeds):
        array = np.ascontiguousarray(feeds[name])
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def combine(*parts: str) -> str:
    """One digest of a sequence of strings; the order counts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()
