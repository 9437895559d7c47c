"""The step cache: `objects/ab/cdef.../` holds the files and the description of one result.

Entries are made in `tmp/` and renamed into place, so a reader sees a whole entry or none. Two
processes that make the same entry make the same bytes: the one that comes second drops its own.
Nothing that goes wrong here stops a build: it goes on without the cache and says so.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue.store import CACHE_ENTRY_DAMAGED, CACHE_UNUSABLE
from edgecompile.store.entry import META, DamagedError, Entry, describe, read_entry
from edgecompile.store.keys import Material
from edgecompile.store.memo import Memo

Warn = Callable[[Diagnostic], None]


def _silent(diagnostic: Diagnostic) -> None:
    del diagnostic


class Store:
    """A cache below `root`. `warn` hears of damage and of a folder that cannot be used."""

    def __init__(self, root: Path, warn: Warn = _silent) -> None:
        """Use the cache in `root`; nothing is written before the first result."""
        self.root = root.absolute()
        self._warn = warn
        self._usable = True

    @property
    def memo(self) -> Memo:
        """Facts about files, kept beside the entries."""
        return Memo(self.root / "memo" if self._usable else None)

    def directory(self, key: str) -> Path:
        """Where the entry of `key` lies or would lie."""
        return self.root / "objects" / key[:2] / key[2:]

    def partial(self, key: str) -> Path:
        """A file for the progress of what makes the entry of `key`; `gc` removes old ones."""
        return self.root / "partial" / key

    def get(self, key: str) -> Entry | None:
        """The entry of `key`, or None. A damaged one is dropped with a warning."""
        try:
            entry = read_entry(self.directory(key), key)
        except FileNotFoundError:
            return None
        except DamagedError as error:
            self.drop(key, "", str(error))
            return None
        entry.touch()
        return entry

    def put(
        self,
        key: str,
        material: Material,
        files: Mapping[str, bytes | Path],
        result: Mapping[str, Any] | None = None,
    ) -> Entry | None:
        """Keep a result. None when the cache cannot be written, after one warning.

        `files` are bytes, or files to copy; names may have folders, such as `artifact/model.xml`.
        """
        if not self._usable:
            return None
        temporary = self.root / "tmp" / f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            temporary.mkdir(parents=True)
            written = _write_files(temporary, files)
            (temporary / META).write_bytes(describe(material, result or {}, written))
            self._move(temporary, self.directory(key))
            return read_entry(self.directory(key), key)
        except (OSError, DamagedError) as error:
            self._give_up(error)
            return None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def touch(self, keys: Iterable[str]) -> None:
        """Mark entries as used now, those of them that are there."""
        for key in keys:
            with suppress(OSError):
                os.utime(self.directory(key) / META)

    def drop(self, key: str, step: str, reason: str) -> None:
        """Forget a damaged entry and warn. `step` is what the user knows it by."""
        grave = self.root / "tmp" / f"{os.getpid()}-{secrets.token_hex(8)}"
        with suppress(OSError):
            grave.parent.mkdir(parents=True, exist_ok=True)
            self.directory(key).rename(grave)
        shutil.rmtree(grave, ignore_errors=True)
        self._warn(CACHE_ENTRY_DAMAGED.at(step=step or key[:12], reason=reason))

    def list(self) -> Iterator[Entry]:
        """Every readable entry, in order of key."""
        for directory in sorted((self.root / "objects").glob("??/*")):
            with suppress(FileNotFoundError, DamagedError):
                yield read_entry(directory, directory.parent.name + directory.name)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While this holds, `gc` spares every entry that was read or written since it began."""
        from filelock import FileLock, Timeout

        name = f"{time.time_ns()}-{os.getpid()}-{secrets.token_hex(4)}.lock"
        mine = FileLock(self.root / "users" / name, timeout=0)
        try:
            (self.root / "users").mkdir(parents=True, exist_ok=True)
            with self.locked():
                mine.acquire()
        except (OSError, Timeout) as error:
            self._give_up(error)
        try:
            yield
        finally:
            mine.release()
            with suppress(OSError):
                Path(mine.lock_file).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the whole cache. Raises `OSError`, and `filelock.Timeout` (60 s)."""
        from filelock import FileLock

        with FileLock(self.root / "lock", timeout=60):
            yield

    def _move(self, temporary: Path, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.rename(place)
        except OSError:
            if not (place / META).is_file():
                raise

    def _give_up(self, error: Exception) -> None:
        if self._usable:
            self._usable = False
            reason = getattr(error, "strerror", None) or str(error)
            self._warn(CACHE_UNUSABLE.at(path=self.root, reason=reason))


def _write_files(directory: Path, files: Mapping[str, bytes | Path]) -> dict[str, Path]:
    written: dict[str, Path] = {}
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_bytes(content)
        written[name] = path
    return written
