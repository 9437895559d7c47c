"""Calibration data on disk and in memory for tests, and the codes of what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecompile.calibration.dataset import Dataset, open_dataset
from edgecompile.diagnostics import Diagnostic, EdgecompileError
from edgecompile.ir.facts import TensorSpec, input_specs
from edgecompile.ir.model import Model
from tests.support.models import feeds


def spec(name: str, shape: Sequence[int | str | None], dtype: Any = np.float32) -> TensorSpec:
    """One model input."""
    return TensorSpec(name=name, dtype=np.dtype(dtype), shape=tuple(shape))


IMAGE = spec("image", ["N", 3, 8, 6])


def problems(action: Callable[[], object]) -> tuple[Diagnostic, ...]:
    """What `action` refuses with; it must refuse."""
    with pytest.raises(EdgecompileError) as caught:
        action()
    return caught.value.diagnostics


def codes(action: Callable[[], object]) -> list[str]:
    """The codes of `problems`."""
    return [problem.code for problem in problems(action)]


def npz_for(model: Model, path: Path, samples: int = 6, scale: float = 1.0, **dims: int) -> Dataset:
    """Seeded samples of batch 1 for `model`, saved as an `.npz` and opened."""
    made = [feeds(model, batch=1, seed=i, **dims) for i in range(samples)]
    join = {k: np.concatenate if made[0][k].ndim else np.stack for k in made[0]}
    stacked = {k: join[k]([m[k] for m in made]) for k in join}
    np.savez(path, **{k: v * scale if v.dtype.kind == "f" else v for k, v in stacked.items()})
    return open_dataset(str(path), input_specs(model))


def one_file_per_sample(samples: Sequence[dict[str, np.ndarray]], directory: Path) -> str:
    """A directory of `.npz`, one per sample."""
    directory.mkdir()
    for i, sample in enumerate(samples):
        np.savez(directory / f"{i:04}.npz", **sample)
    return str(directory)
