"""Which files a request depends on, and the state that they are in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgecompile.driver.request import BuildRequest
from edgecompile.store.code import code_sha256
from edgecompile.store.memo import Memo, state_of


@dataclass(frozen=True, kw_only=True)
class KnownFiles:
    """The state of all files that a request names: model, external data, recipe, samples."""

    state: str
    """Digest of their paths, sizes, times and inodes."""
    newest_ns: int
    """The latest of their times."""


class _UnknownError(Exception):
    """The fact is not known without opening the model."""


def known_files(request: BuildRequest, memo: Memo) -> KnownFiles | None:
    """The state of the files of `request`; None when one is missing or not known to belong."""

    def unknown() -> list[str]:
        raise _UnknownError

    try:
        files = model_files(request.model, memo, unknown)
        if request.recipe is not None and Path(request.recipe).is_file():
            files.append(Path(request.recipe))
        for source in (request.calibration, request.eval):
            files += data_files(source) if source is not None else []
        state, newest_ns = state_of(files)
    except (OSError, _UnknownError):
        return None
    return KnownFiles(state=state, newest_ns=newest_ns)


def model_files(path: Path, memo: Memo, external: Callable[[], list[str]]) -> list[Path]:
    """The model's file and those of its external data, which `external` names when it must.

    Raises `OSError` and what `external` raises.
    """
    names = memo.recall("external", [path], code_sha256(("ir",), memo), external)
    return [path, *(path.resolve().parent / name for name in names)]


def data_files(source: str) -> list[Path]:
    """Every file that can change what `source` gives: none for `random:N`."""
    path = Path(source)
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    if path.suffix.lower() in {".yaml", ".yml"} and path.is_file():
        return sorted(p for p in path.parent.rglob("*") if p.is_file())
    return [path] if path.is_file() else []
