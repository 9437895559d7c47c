"""Where a build is made: a temporary folder beside the output, renamed into place at the end.

Whatever goes wrong before that leaves the output as it was and nothing beside it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from edgecompile.artifacts.kit import FOLDER as KIT_FOLDER
from edgecompile.diagnostics.catalogue.store import (
    OUTPUT_FOREIGN,
    OUTPUT_IS_FILE,
    OUTPUT_UNWRITABLE,
)
from edgecompile.store.files import beside

MANIFEST = "manifest.json"
OWN_FILES = frozenset({MANIFEST, "report.json", "report.html", "model.onnx", "model.onnx.data"})
LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
SCHEMA_PREFIXES = ("edgecompile/manifest@", "edgecompile/link@")
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
_ATTEMPTS = 10


class Workspace:
    """A context; `build` becomes the output on `publish`, `scratch` is thrown away."""

    def __init__(self, output: Path) -> None:
        """Raises EC-712 when `output` is a file, EC-710 when it holds what is not of a build."""
        self.output = output.absolute()
        refuse_foreign(self.output)
        self._root = beside(self.output)
        self.build = self._root / "build"
        self.scratch = self._root / "scratch"
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        """Make the folders. Raises EC-711 when that cannot be done, before any work."""
        try:
            self._make_parents()
            _sweep_abandoned(self.output)
            self._root.mkdir()
            self.build.mkdir()
            self.scratch.mkdir()
        except OSError as error:
            self._clean()
            raise unwritable(self.output, error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what is temporary. Raises EC-711 when the build ended because a disk is full."""
        self._clean()
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise unwritable(self.output, error) from error

    def publish(self, place: Path | None = None) -> Path:
        """Rename `build` to the output, or to `place`, in exchange for what is there.

        Returns where it lies now. Raises EC-711; then the old content is back.
        """
        target = place or self.output
        refuse_foreign(target)
        previous = self._root / "previous"
        try:
            self._exchange(target, previous)
        except OSError as error:
            raise unwritable(target, error) from error
        finally:
            if previous.exists() and not target.exists():
                previous.rename(target)
        self._made.clear()
        return target

    def _exchange(self, target: Path, previous: Path) -> None:
        # Another build may put its own output there between the two renames: then take turns.
        for attempt in range(_ATTEMPTS):
            with suppress(FileNotFoundError):
                target.rename(previous)
            try:
                self.build.rename(target)
            except OSError:
                if attempt + 1 == _ATTEMPTS or not target.is_dir():
                    raise
                shutil.rmtree(previous, ignore_errors=True)
            else:
                return

    def _make_parents(self) -> None:
        missing = [p for p in self.output.parents if not p.exists()]
        for parent in reversed(missing):
            parent.mkdir(exist_ok=True)
            self._made.append(parent)

    def _clean(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
        for parent in reversed(self._made):
            with suppress(OSError):
                parent.rmdir()


def refuse_foreign(output: Path) -> None:
    """Raise EC-712 for a file and EC-710 for a folder with anything that no build wrote."""
    if not output.exists():
        return
    if not output.is_dir():
        raise OUTPUT_IS_FILE.error(path=output)
    foreign = foreign_files(output)
    if foreign:
        listed = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise OUTPUT_FOREIGN.error(path=output, files=listed)


def failed_directory(output: Path) -> Path:
    """Where a build that failed is kept for a look, beside the output."""
    return output.with_name(f"{output.name}.failed")


def discard(directory: Path) -> None:
    """Remove a build directory; one that holds anything else stays."""
    if directory.is_dir() and not foreign_files(directory):
        shutil.rmtree(directory, ignore_errors=True)


def foreign_files(output: Path) -> list[str]:
    """Names of what `output` holds and no build of ours wrote there, sorted."""
    own, kit = _manifest_files(output / MANIFEST)
    found = [p for p in output.rglob("*") if p.is_symlink() or not p.is_dir()]
    names = (p.relative_to(output).as_posix() for p in found if p.name not in LITTER)
    # what a kit leaves when it runs here (engine, log, report) lies in its own folder
    return sorted(n for n in names if n not in own and not (kit and n.startswith(f"{KIT_FOLDER}/")))


def _manifest_files(manifest: Path) -> tuple[set[str], bool]:
    """The files of a build, and whether it has a device kit."""
    try:
        document = json.loads(manifest.read_bytes())
        if not str(document["schema"]).startswith(SCHEMA_PREFIXES):
            return set(), False
        artifacts = document["artifacts"]
        files = {name for artifact in artifacts for name in (artifact["path"], *artifact["files"])}
        kit = (document.get("kit") or {}).get("files", ())
    except (OSError, ValueError, KeyError, TypeError):
        return set(), False
    return files | OWN_FILES | set(kit), bool(kit)


def unwritable(path: Path, error: OSError) -> Exception:
    """EC-711 for `path`, with the system's reason."""
    return OUTPUT_UNWRITABLE.error(path=path, reason=error.strerror or str(error))


def _sweep_abandoned(output: Path) -> None:
    """Remove what a build that was killed left beside `output`."""
    for leftover in output.parent.glob(f".{output.name}.*-*.tmp"):
        pid = leftover.name.removeprefix(f".{output.name}.").partition("-")[0]
        if pid.isdigit() and int(pid) != os.getpid():
            import psutil

            if not psutil.pid_exists(int(pid)):
                shutil.rmtree(leftover, ignore_errors=True)
