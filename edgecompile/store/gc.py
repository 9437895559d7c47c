"""Making room: drop what was not used for long, then the least recently used."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgecompile.store.entry import META
from edgecompile.store.store import Store

ABANDONED_S = 24 * 3600.0
"""A temporary folder older than this belongs to a process that was killed."""
PARTIAL_S = 7 * ABANDONED_S
"""Progress of an interrupted step that nobody has continued in this time goes."""

CLOCK_SLACK_S = 2.0
"""File systems stamp with a coarser clock than the one that names a user's lock."""


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What `gc` did."""

    removed: int
    removed_bytes: int
    kept: int
    kept_bytes: int
    in_use: int
    """Entries that would have gone but that a running build may still need."""


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    directory: Path
    used_s: float
    bytes: int


def gc(store: Store, *, max_bytes: int | None = None, older_than_s: float | None = None) -> Swept:
    """Remove entries not used for `older_than_s` seconds, then the oldest until `max_bytes` fit.

    With neither, only what is damaged or abandoned goes. Raises `OSError` when the cache cannot
    be read.
    """
    with store.locked():
        return _sweep(store.root, max_bytes, older_than_s)


def _sweep(root: Path, max_bytes: int | None, older_than_s: float | None) -> Swept:
    now_s = time.time()
    spared_since_s = _oldest_user_s(root, now_s)
    found = sorted(_candidates(root), key=lambda c: (c.used_s, str(c.directory)))
    total = sum(c.bytes for c in found)
    removed = removed_bytes = in_use = 0
    for candidate in found:
        old = older_than_s is not None and now_s - candidate.used_s > older_than_s
        over = max_bytes is not None and total - removed_bytes > max_bytes
        if not (old or over):
            continue
        if candidate.used_s >= spared_since_s:
            in_use += 1
        elif _remove(root, candidate.directory):
            removed += 1
            removed_bytes += candidate.bytes
    _sweep_leftovers(root, now_s, older_than_s)
    return Swept(
        removed=removed,
        removed_bytes=removed_bytes,
        kept=len(found) - removed,
        kept_bytes=total - removed_bytes,
        in_use=in_use,
    )


def _candidates(root: Path) -> Iterator[_Candidate]:
    for directory in (root / "objects").glob("??/*"):
        with suppress(OSError):
            meta = directory / META
            used_s = meta.stat().st_mtime if meta.exists() else 0.0
            sizes = (p.stat().st_size for p in directory.rglob("*") if p.is_file())
            yield _Candidate(directory=directory, used_s=used_s, bytes=sum(sizes))


def _oldest_user_s(root: Path, now_s: float) -> float:
    """When the longest-running build that still lives began; the far future when none does."""
    from filelock import FileLock, Timeout

    oldest = now_s + 10 * 365 * 24 * 3600.0
    for place in (root / "users").glob("*.lock"):
        try:
            began_s = int(place.name.split("-")[0]) / 1e9 - CLOCK_SLACK_S
            with FileLock(place, timeout=0):
                pass
        except Timeout:
            oldest = min(oldest, began_s)
        except (OSError, ValueError):
            continue
        else:
            place.unlink(missing_ok=True)
    return oldest


def _remove(root: Path, directory: Path) -> bool:
    """Move the entry away in one step, so that no reader sees half of it, then delete it."""
    grave = root / "tmp" / f"gc-{directory.parent.name}{directory.name}"
    try:
        grave.parent.mkdir(parents=True, exist_ok=True)
        directory.rename(grave)
    except OSError:
        return False
    shutil.rmtree(grave, ignore_errors=True)
    return True


def _sweep_leftovers(root: Path, now_s: float, older_than_s: float | None) -> None:
    for leftover in (root / "tmp").glob("*"):
        with suppress(OSError):
            if now_s - leftover.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(leftover)
    for progress in (root / "partial").glob("*"):
        with suppress(OSError):
            if now_s - progress.stat().st_mtime > (older_than_s or PARTIAL_S):
                progress.unlink()
    for fact in (root / "memo").glob("*.json"):
        with suppress(OSError):
            if now_s - fact.stat().st_mtime > (older_than_s or 90 * ABANDONED_S):
                fact.unlink()
