"""Where isolated environments lie, and which of them are complete.

`<root>/<name>/<digest>/` is a virtual environment. It counts as installed when the file
`toolchain.json` is in it, which is written last; a virtual environment holds its own path, so it is
made in place and not moved there. Nothing here starts a process.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from edgecompile.diagnostics import Diagnostic, EdgecompileError
from edgecompile.diagnostics.catalogue.toolchain import ISOLATED_MISSING
from edgecompile.vendor.toolchains.spec import Toolchain, load_toolchain

ENVIRONMENT = "EDGECOMPILE_TOOLCHAINS_DIR"
MARKER = "toolchain.json"
_SCHEMA = "edgecompile/toolchain-installed@1"
_NAME_LENGTH = 16
"""Hexadecimal digits of the digest in the path: Windows allows few; the marker holds them all."""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A complete environment."""

    name: str
    directory: Path
    digest: str
    python: str
    """`3.11`."""
    versions: Mapping[str, str]
    """Every distribution in it."""

    @property
    def interpreter(self) -> Path:
        """The environment's Python."""
        return interpreter_in(self.directory)


def interpreter_in(directory: Path) -> Path:
    """The Python of the virtual environment in `directory`."""
    return directory / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def root() -> Path:
    """`$EDGECOMPILE_TOOLCHAINS_DIR`, else a folder among the user's application data."""
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named).resolve()
    import platformdirs

    return platformdirs.user_data_path("edgecompile", appauthor=False) / "toolchains"


def directory_of(toolchain: Toolchain, python: str) -> Path:
    """Where the environment of `toolchain` for this version of Python lies, or would."""
    return root() / toolchain.name / toolchain.digest(python)[:_NAME_LENGTH]


def find(toolchain: Toolchain) -> Installed | None:
    """The complete environment with exactly these pins; that of the best Python first."""
    candidates = (read(toolchain, python) for python in toolchain.python)
    return next((found for found in candidates if found is not None), None)


def read(toolchain: Toolchain, python: str) -> Installed | None:
    """The complete environment for this version of Python, or None."""
    directory = directory_of(toolchain, python)
    try:
        document = json.loads((directory / MARKER).read_text(encoding="utf-8"))
        if document["schema"] != _SCHEMA or document["digest"] != toolchain.digest(python):
            return None
        versions = {str(k): str(v) for k, v in document["versions"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not interpreter_in(directory).exists():
        return None  # the Python that it was made from is gone, or somebody removed a part
    return Installed(
        name=toolchain.name,
        directory=directory,
        digest=toolchain.digest(python),
        python=python,
        versions=versions,
    )


def fingerprint() -> list[tuple[str, int]]:
    """Something that changes whenever an environment is installed or removed; reads no file."""
    folder = root()
    marks = folder.glob(f"*/*/{MARKER}") if folder.is_dir() else ()
    return sorted((str(path), path.stat().st_mtime_ns) for path in marks)


def mark(toolchain: Toolchain, python: str, versions: Mapping[str, str]) -> None:
    """Declare the environment complete."""
    directory = directory_of(toolchain, python)
    document = {
        "schema": _SCHEMA,
        "name": toolchain.name,
        "digest": toolchain.digest(python),
        "python": python,
        "versions": dict(sorted(versions.items())),
    }
    draft = directory / f"{MARKER}.draft"
    draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    draft.replace(directory / MARKER)


def others(toolchain: Toolchain) -> Iterator[Path]:
    """Folders of this toolchain that are of no use: other pins, or never finished."""
    used = find(toolchain)
    folder = root() / toolchain.name
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.is_dir() and (used is None or entry != used.directory):
            yield entry


def lock(name: str) -> FileLock:
    """Held by whoever installs or removes this toolchain."""
    folder = root()
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{name}.lock")


def clear(directory: Path) -> None:
    """Remove an environment; from the first moment on it no longer looks installed."""
    (directory / MARKER).unlink(missing_ok=True)
    if directory.exists():
        shutil.rmtree(directory)


def remove(name: str) -> list[Path]:
    """Remove every environment of the toolchain, of whatever pins. Raises EC-521."""
    folder = root() / load_toolchain(name).name
    if not folder.is_dir():
        return []
    with lock(name):
        found = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        for entry in found:
            clear(entry)
        folder.rmdir()
    return found


def absent(name: str) -> Diagnostic | None:
    """EC-520 when the toolchain is not installed, else None: for preflight. Raises EC-521."""
    toolchain = load_toolchain(name)
    return None if find(toolchain) is not None else _missing(toolchain)


def demand(name: str) -> Installed:
    """The installed toolchain. Raises EC-520 when it is not there, EC-521 when unknown."""
    toolchain = load_toolchain(name)
    found = find(toolchain)
    if found is None:
        raise EdgecompileError((_missing(toolchain),), ISOLATED_MISSING.exit_code)
    return found


def _missing(toolchain: Toolchain) -> Diagnostic:
    stale = any(True for _ in others(toolchain))
    state = " (an environment of other versions, or an unfinished one, is)" if stale else ""
    hints = tuple(hint.replace("NAME", toolchain.name) for hint in ISOLATED_MISSING.fix)
    return ISOLATED_MISSING.at(hints=hints, name=toolchain.name, state=state)
