"""Samples on their way to the guarded worker that runs an artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.verify.compare import Array


def write_feeds(workdir: Path, samples: Sequence[Mapping[str, Array]]) -> dict[str, Any]:
    """Put `samples` where a worker reads them; its payload. Raises `OSError`."""
    path, inputs = workdir / "feeds.npz", list(samples[0])
    arrays = {
        f"{k}/{i}": feeds[name] for k, feeds in enumerate(samples) for i, name in enumerate(inputs)
    }
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return {"feeds": str(path), "inputs": inputs, "samples": len(samples)}
