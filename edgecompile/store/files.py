"""Small file helpers: digests in bounded memory, and writes that are whole or not there."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

CHUNK_BYTES = 1 << 20


def sha256_of_file(path: Path) -> str:
    """SHA-256 of the file's bytes, read in chunks. Raises `OSError`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees all of it or the file as it was.

    Raises `OSError`; then nothing is left behind.
    """
    temporary = beside(path)
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def beside(path: Path) -> Path:
    """An unused hidden name in the folder of `path`, for what is renamed to `path` later."""
    return path.with_name(f".{path.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
