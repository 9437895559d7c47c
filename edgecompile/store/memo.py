"""Facts about files that are dear to compute, kept for as long as the files stay as they are.

Like git's index: a fact is trusted while path, size, modification and change time and inode of
every file are those seen before the fact was computed. A file that was written just before may be
written again within the same tick of the file system's clock, so such facts are used but not kept.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompile.store.files import sha256_of_file, write_atomically
from edgecompile.store.keys import key_of

COARSE_TICK_NS = 2_000_000_000
FINE_TICK_NS = 50_000_000
"""Longest tick of clocks that count in seconds (FAT, some network drives), and of those that do
not (Linux stamps with the time of the last timer interrupt, at most 10 ms ago)."""


@dataclass(frozen=True)
class Memo:
    """Facts by kind, files and parameters, kept in `root`. With `root` None nothing is kept."""

    root: Path | None

    def recall(
        self, kind: str, files: Sequence[Path], params: Any, compute: Callable[[], Any]
    ) -> Any:
        """`compute()`, or what it gave the last time these files were in this state.

        `compute` must give JSON and depend on nothing but the files and `params`.
        Raises `OSError` when a file cannot be read, and whatever `compute` raises.
        """
        if self.root is None:
            return compute()
        names = [str(path.absolute()) for path in files]
        place = self.root / f"{key_of({'kind': kind, 'files': names, 'params': params})}.json"
        signature, newest_ns = state_of(files)
        known = _read(place)
        if known is not None and known.get("signature") == signature:
            return known["value"]
        settled = time.time_ns() - newest_ns > tick_ns(newest_ns)
        value = compute()
        if settled and state_of(files)[0] == signature:
            document = {"kind": kind, "signature": signature, "value": value}
            with contextlib.suppress(OSError):
                place.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(place, json.dumps(document, sort_keys=True).encode())
        return value

    def sha256(self, path: Path) -> str:
        """SHA-256 of one file's bytes. Raises `OSError`."""
        return str(self.recall("sha256", [path], None, lambda: sha256_of_file(path)))


def state_of(files: Sequence[Path]) -> tuple[str, int]:
    """A digest of paths and state of `files`, and the newest of their times in nanoseconds.

    Raises `OSError` when one of them is not there.
    """
    states: dict[str, list[int]] = {}
    newest_ns = 0
    for path in files:
        stat = path.stat()
        times = [stat.st_mtime_ns, stat.st_ctime_ns]
        newest_ns = max(newest_ns, *times)
        states[str(path.absolute())] = [stat.st_size, *times, stat.st_ino]
    return key_of(states), newest_ns


def tick_ns(stamp_ns: int) -> int:
    """How long after `stamp_ns` a file may have been written again under the same stamp."""
    return COARSE_TICK_NS if stamp_ns % 1_000_000 == 0 else FINE_TICK_NS


def _read(place: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(place.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and "value" in document else None
