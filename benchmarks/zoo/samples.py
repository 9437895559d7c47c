"""How prepared samples are written: calibration as files that `edgecompile build` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]


def write_calibration(folder: Path, samples: Iterable[Feeds]) -> None:
    """`calibration/000.npz`, `001.npz`, ...: one sample each, model input -> array with batch 1."""
    target = folder / "calibration"
    target.mkdir(parents=True, exist_ok=True)
    for number, feeds in enumerate(samples):
        np.savez(target / f"{number:03d}.npz", **{k: np.asarray(v) for k, v in feeds.items()})


def read_calibration(folder: Path) -> list[dict[str, Array]]:
    """The samples that `write_calibration` wrote, in order."""
    samples = []
    for path in sorted((folder / "calibration").glob("*.npz")):
        with np.load(path) as stored:
            samples.append({name: stored[name] for name in stored.files})
    return samples


def write_evaluation(folder: Path, **arrays: Array) -> None:
    """`evaluation.npz`: inputs and labels in the compact form that the model's metric reads."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "evaluation.npz", **{k: np.asarray(v) for k, v in arrays.items()})


def read_evaluation(folder: Path) -> dict[str, Array]:
    """All arrays of `evaluation.npz`."""
    with np.load(folder / "evaluation.npz") as stored:
        return {name: stored[name] for name in stored.files}


def pack_ragged(rows: Iterable[Array], name: str) -> dict[str, Array]:
    """Arrays that differ in length along their last axis, as one array and the lengths."""
    items = list(rows)
    return {
        f"{name}_items": np.concatenate(items, axis=-1),
        f"{name}_lengths": np.array([item.shape[-1] for item in items]),
    }


def unpack_ragged(arrays: Mapping[str, Array], name: str) -> list[Array]:
    """The inverse of `pack_ragged`."""
    ends = np.cumsum(arrays[f"{name}_lengths"])[:-1]
    return np.split(arrays[f"{name}_items"], ends, axis=-1)
