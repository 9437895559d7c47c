"""Content digests of files and samples. Who wants them remembered keys them by the files' state."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def file_digest(path: Path) -> str:
    """SHA-256 of the bytes of `path`, in hex, read as a stream."""
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
