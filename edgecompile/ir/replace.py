"""Replacing files together: all of them, or none."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


class Replacement:
    """New contents for some files, written beside them and put in place by `commit`.

    Use as a context manager: whatever was not put in place is removed at the end.
    """

    def __init__(self) -> None:
        """Nothing is written yet."""
        self._staged: list[tuple[Path, Path]] = []

    def __enter__(self) -> Replacement:
        """Begin."""
        return self

    def __exit__(self, *error: object) -> None:
        """Remove what was written but not put in place."""
        for temporary, _ in self._staged:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def open(self, path: Path) -> Iterator[BinaryIO]:
        """A file that is to become `path`, in the same directory. Raises `OSError`."""
        temporary = _beside(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temporary, flags, 0o666)
        self._staged.append((temporary, path))
        with os.fdopen(descriptor, "wb") as file:
            yield file

    @property
    def targets(self) -> frozenset[Path]:
        """The files that `commit` will replace, symbolic links followed."""
        return frozenset(Path(os.path.realpath(path)) for _, path in self._staged)

    def commit(self) -> None:
        """Put all files in place. Raises `OSError`, with the old files as they were.

        One file is replaced at once. Of several, the old ones are first moved aside: a crash in
        between leaves a file missing, but never an old file beside a new one.
        """
        old: list[tuple[Path, Path]] = []
        new: list[Path] = []
        try:
            if len(self._staged) > 1:
                for _, path in reversed(self._staged):
                    if path.exists():
                        aside = _beside(path)
                        path.replace(aside)
                        old.append((aside, path))
            for temporary, path in self._staged:
                temporary.replace(path)
                new.append(path)
        except OSError:
            for path in new[: len(self._staged) - 1]:
                path.unlink(missing_ok=True)
            for aside, path in old:
                aside.replace(path)
            raise
        for aside, _ in old:
            aside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
