"""The digest of edgecompile's own code: results of other code are never reused."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path

import edgecompile
from edgecompile.store.files import sha256_of_file
from edgecompile.store.memo import Memo

ROOT = Path(edgecompile.__file__).parent


@functools.cache
def code_sha256(rooms: tuple[str, ...], memo: Memo) -> str:
    """Digest of every Python file of the given rooms, such as `ir` and `passes`.

    Asked once per process: code that is running does not change.
    """
    files = sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))
    return str(memo.recall("code", files, None, lambda: _digest(files)))


def class_sha256(cls: type, memo: Memo) -> str:
    """Digest of the file that defines `cls`, for passes and emitters of other packages."""
    try:
        source = inspect.getsourcefile(cls)
    except TypeError:
        source = None
    if source is None or not Path(source).is_file():
        return f"{cls.__module__}.{cls.__qualname__}"
    return memo.sha256(Path(source))


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(ROOT).as_posix()} {sha256_of_file(path)}\n".encode())
    return digest.hexdigest()
