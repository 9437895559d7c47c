"""Which files a request depends on, and what is in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgecompile.driver.request import BuildRequest
from edgecompile.store.code import code_sha256
from edgecompile.store.memo import Memo


def content_of(request: BuildRequest, memo: Memo) -> dict[str, str] | None:
    """Digest of all files by what they are to `request`: model, recipe, samples.

    A model that was never opened counts without its external data. None when a file is missing.
    """
    try:
        found = {"model": memo.content(_known_model_files(request.model, memo))}
        if request.recipe is not None and Path(request.recipe).is_file():
            found["recipe"] = memo.content([Path(request.recipe)])
        for name, source in (("calibration", request.calibration), ("eval", request.eval)):
            if source is not None:
                found[name] = memo.content(data_files(source))
    except OSError:
        return None
    return found


class _UnknownError(Exception):
    """Only the model itself could tell."""


def _known_model_files(path: Path, memo: Memo) -> list[Path]:
    def unknown() -> list[str]:
        raise _UnknownError

    try:
        return model_files(path, memo, unknown)
    except _UnknownError:
        return [path]


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


def name_of(source: str) -> str:
    """A path without its folder: where on a disk things lie is nobody else's business."""
    return source if source.startswith("random:") else Path(source).absolute().name


def without_folders(document: dict[str, Any], request: BuildRequest) -> dict[str, Any]:
    """JSON in which the files of `request` are named without their folders."""
    paths = [str(p) for p in (request.model, request.calibration, request.eval) if p is not None]
    text = json.dumps(document)
    for path in sorted(paths, key=len, reverse=True):
        text = text.replace(json.dumps(path)[1:-1], json.dumps(name_of(path))[1:-1])
    told: dict[str, Any] = json.loads(text)
    return told
