"""Where emitters put their files, and how a set of files is described."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecompile.store.files import sha256_of_file

FOLDER = "artifacts"


def place(files: Sequence[Path], directory: Path) -> list[Path]:
    """Move finished `files` into the folder `artifacts` of the build directory `directory`."""
    folder = directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    placed = [folder / file.name for file in files]
    for file, target in zip(files, placed, strict=True):
        shutil.move(file, target)
    return placed


def described(paths: Sequence[Path], directory: Path) -> dict[str, Any]:
    """`path`, `files`, `sha256` and `bytes` of an `Artifact`; the first path is the main one.

    The digest of a single file is that file's; of several, that of the lines `sha256  path`.
    """
    names = [path.relative_to(directory).as_posix() for path in paths]
    digests = [sha256_of_file(path) for path in paths]
    if len(digests) == 1:
        digest = digests[0]
    else:
        lines = sorted(f"{d}  {n}\n" for n, d in zip(names, digests, strict=True))
        digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return {
        "path": names[0],
        "files": tuple(names),
        "sha256": digest,
        "bytes": sum(path.stat().st_size for path in paths),
    }
