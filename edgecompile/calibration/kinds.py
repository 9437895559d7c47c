"""Kinds of data files, and finding them in a directory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.calibration.checks import shape_text
from edgecompile.calibration.preprocess import IMAGE_SUFFIXES
from edgecompile.diagnostics import EdgecompileError, Where
from edgecompile.diagnostics.catalogue.data import INPUT_NAME

if TYPE_CHECKING:
    from edgecompile.ir.facts import TensorSpec


class Kind(StrEnum):
    """What a file holds."""

    IMAGE = "images"
    NPY = ".npy files"
    NPZ = ".npz files"


def kind_of(path: Path) -> Kind | None:
    """By the suffix; `None` for files that are no data."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return Kind.IMAGE
    return {".npy": Kind.NPY, ".npz": Kind.NPZ}.get(suffix)


def by_kind(files: Iterable[Path]) -> dict[Kind, list[Path]]:
    """The data files among `files`, by kind, order kept."""
    found: dict[Kind, list[Path]] = {}
    for file in files:
        kind = kind_of(file)
        if kind is not None:
            found.setdefault(kind, []).append(file)
    return found


def sorted_files(root: Path, pattern: str) -> list[Path]:
    """Files below `root` that match, hidden ones left out, sorted by their POSIX path."""
    relative = {f: f.relative_to(root) for f in root.glob(pattern) if f.is_file()}
    shown = [f for f, path in relative.items() if not any(p.startswith(".") for p in path.parts)]
    return sorted(shown, key=lambda f: relative[f].as_posix())


def lone_files(inputs: Sequence[TensorSpec], where: Where) -> EdgecompileError:
    """EC-310: files of one array each cannot feed a model with several inputs."""
    names = ", ".join(f"'{spec.name}' {shape_text(spec.shape)}" for spec in inputs)
    problem = f"each file feeds one input, and the model has {len(inputs)}: {names}"
    hints = (
        "save one .npz per sample, with one key per model input",
        "name the files of each input under 'inputs' in a dataset.yaml",
    )
    return INPUT_NAME.error(where, problem=problem, hints=hints)
