"""`--locked`: build only what an earlier manifest says, to the byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from edgecompile.artifacts.manifest import ArtifactRecord, Manifest
from edgecompile.diagnostics import Diagnostic, EdgecompileError, Where
from edgecompile.diagnostics.catalogue.store import LOCK_DIFFERS, LOCK_MISSING
from edgecompile.driver.workspace import MANIFEST


def read_lock(output: Path) -> Manifest:
    """The manifest in `output`. Raises EC-720 when there is none, EC-660 for a bad one."""
    try:
        return Manifest.load(output / MANIFEST)
    except OSError:
        raise LOCK_MISSING.error(path=output) from None


def check_inputs(lock: Manifest, inputs: Mapping[str, Any]) -> None:
    """Raise one EC-721 for every input that is not that of the lock.

    `inputs` are fields of the manifest: versions, model, target, recipe and data.
    """
    _refuse(
        found
        for field, value in inputs.items()
        for found in _differences(field, _plain(getattr(lock, field)), _plain(value))
    )


def check_artifacts(lock: Manifest, built: Manifest) -> None:
    """Raise EC-721 for every artifact that came out otherwise, where its format allows to tell."""
    before = {artifact.path: artifact for artifact in lock.artifacts}
    _refuse(
        _difference(f"artifact '{artifact.path}'", old and _digest(old), _digest(artifact))
        for artifact in built.artifacts
        for old in (before.get(artifact.path),)
        if _digest(artifact) and (old is None or _digest(old) != _digest(artifact))
    )


def _digest(artifact: ArtifactRecord) -> str | None:
    """Of its bytes, or else of its content; None where neither can be compared."""
    return artifact.sha256 if artifact.reproducible else artifact.content_sha256


def _refuse(problems: Iterator[Diagnostic]) -> None:
    found = tuple(problems)
    if found:
        raise EdgecompileError(found, LOCK_DIFFERS.exit_code)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else value


def _differences(name: str, old: Any, new: Any) -> Iterator[Diagnostic]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _differences(f"{name}.{key}", old.get(key), new.get(key))
    elif old != new and name != "recipe.steps":  # recipe.sha256 says it, in one line
        yield _difference(name, old, new)


def _difference(what: str, old: Any, new: Any) -> Diagnostic:
    return LOCK_DIFFERS.at(Where(), what=what, actual=_shown(new), locked=_shown(old))


def _shown(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return f"{text[:12]}..." if len(text) == 64 else f"'{text}'"
