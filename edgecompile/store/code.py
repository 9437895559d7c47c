"""The digest of edgecompile's own code and facts: results of others are never reused."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path

import edgecompile
from edgecompile.store.memo import Memo

ROOT = Path(edgecompile.__file__).parent


@functools.cache
def code_sha256(rooms: tuple[str, ...], memo: Memo) -> str:
    """Digest of every file of the given rooms, such as `ir` and `targets`: code, facts, scripts.

    Asked once per process: code that is running does not change.
    """
    files = (path for room in rooms for path in (ROOT / room).rglob("*") if _shipped(path))
    return memo.content(sorted(files))


def _shipped(path: Path) -> bool:
    return path.is_file() and path.suffix != ".pyc"


def class_sha256(cls: type, memo: Memo) -> str:
    """Digest of the file that defines `cls`, for passes and emitters of other packages."""
    try:
        source = inspect.getsourcefile(cls)
    except TypeError:
        source = None
    if source is None or not Path(source).is_file():
        return f"{cls.__module__}.{cls.__qualname__}"
    return memo.content([Path(source)])
