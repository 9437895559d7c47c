"""Facts about files that are dear to compute, remembered by the content of the files.

The content itself is remembered like in git's index: it is taken to be the same while path, size,
modification and change time and inode of a file are those seen before it was read. A file that was
written just before may be written again within the same tick of the file system's clock, so its
content is read each time.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompile.store.files import sha256_of_file, write_atomically
from edgecompile.store.keys import Material, canonical, key_of

COARSE_TICK_NS = 2_000_000_000
FINE_TICK_NS = 50_000_000
"""Longest tick of clocks that count in seconds (FAT, some network drives), and of those that do
not (Linux stamps with the time of the last timer interrupt, at most 10 ms ago)."""


LARGE_BYTES = 1 << 30
"""Files that are larger together are told by their state alone: reading them takes too long."""


@dataclass(frozen=True)
class Memo:
    """Facts by kind, files and parameters, kept in `root`. With `root` None nothing is kept."""

    root: Path | None

    def recall(
        self, kind: str, files: Sequence[Path], params: Any, compute: Callable[[], Any]
    ) -> Any:
        """`compute()`, or what it gave the last time for files of this content.

        `compute` must give JSON and depend on nothing but `params` and the files: their content,
        and their names below their common folder. Raises `OSError` when a file cannot be read,
        and whatever `compute` raises.
        """
        if self.root is None:
            return compute()
        content = self.content(files)
        place = self._place({"kind": kind, "content": content, "params": params})
        known = _read(place)
        if known is not None:
            return known["value"]
        value = compute()
        if self.content(files) == content:
            _write(place, {"kind": kind, "value": value})
        return value

    def content(self, files: Sequence[Path]) -> str:
        """A digest of what is in `files`: of one file its SHA-256. Raises `OSError`."""
        place = self._place({"files": [str(path.absolute()) for path in files]})
        state = state_of(files)
        known = _read(place) if self.root else None
        if known is not None and known.get("state") == state.digest:
            return str(known["value"])
        if state.bytes > LARGE_BYTES:
            return state.digest
        settled = time.time_ns() - state.newest_ns > tick_ns(state.newest_ns)
        value = _content(files)
        if self.root and settled and state_of(files) == state:
            _write(place, {"kind": "content", "state": state.digest, "value": value})
        return value

    def _place(self, key: Material) -> Path:
        return (self.root or Path()) / f"{key_of(key)}.json"


@dataclass(frozen=True, kw_only=True)
class State:
    """Paths, sizes, times and inodes of files."""

    digest: str
    newest_ns: int
    bytes: int


def state_of(files: Sequence[Path]) -> State:
    """The state of `files`. Raises `OSError` when one of them is not there."""
    states: dict[str, list[int]] = {}
    newest_ns = size = 0
    for path in files:
        stat = path.stat()
        times = [stat.st_mtime_ns, stat.st_ctime_ns]
        newest_ns, size = max(newest_ns, *times), size + stat.st_size
        states[str(path.absolute())] = [stat.st_size, *times, stat.st_ino]
    return State(digest=key_of(states), newest_ns=newest_ns, bytes=size)


def _content(files: Sequence[Path]) -> str:
    if len(files) == 1:
        return sha256_of_file(files[0])
    paths = [str(path.absolute()) for path in files]
    root = os.path.commonpath(paths) if paths else ""
    names = [Path(path).relative_to(root).as_posix() for path in paths]
    return key_of({name: sha256_of_file(path) for name, path in zip(names, files, strict=True)})


def _write(place: Path, document: Material) -> None:
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, canonical(document))


def tick_ns(stamp_ns: int) -> int:
    """How long after `stamp_ns` a file may have been written again under the same stamp."""
    return COARSE_TICK_NS if stamp_ns % 1_000_000 == 0 else FINE_TICK_NS


def _read(place: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(place.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and "value" in document else None
