"""Golden data: inputs, and what the float model and the quantized model make of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecompile.artifacts.types import OutputFidelity
from edgecompile.calibration.dataset import Dataset
from edgecompile.calibration.session import run_session
from edgecompile.calibration.split import spread
from edgecompile.ir.model import Model
from edgecompile.verify.compare import Array, Comparison

LIMIT_BYTES = 32 * 2**20
"""Size up to which samples are added; there is always one."""
_SLACK = 0.01


@dataclass(frozen=True, kw_only=True)
class Golden:
    """What was written, and the figures of the quantized model on it."""

    samples: int
    inputs: dict[str, str]
    """Name of an input -> its type in NumPy's terms."""
    quantized: dict[str, OutputFidelity]

    @property
    def limits(self) -> dict[str, float]:
        """Smallest cosine with the float model that an output may have on the device.

        Kernels of a device round and accumulate in their own ways, so it may be twice as far from
        the float model as the exact arithmetic of the quantized model is, and a hundredth more.
        """
        return {
            name: round(max(0.0, 1.0 - 2.0 * (1.0 - figures.cosine) - _SLACK), 6)
            for name, figures in self.quantized.items()
        }


def write_golden(
    path: Path,
    *,
    original: Model,
    quantized: Model | None,
    data: Dataset,
    samples: int,
    threads: int = 1,
) -> Golden:
    """Write up to `samples` of `data`, spread evenly, as an .npz of equal bytes for equal inputs.

    Arrays are `input/N/NAME`, `float/N/NAME` and `quantized/N/NAME`. Without a `quantized` model
    the float model stands in for it. Raises EC-340 and EC-341 when ONNX Runtime cannot run one.
    """
    reference = run_session(original, threads=threads)
    exact = None if quantized is None else run_session(quantized, threads=threads, exact=True)
    arrays: dict[str, Array] = {}
    compared, inputs, count = Comparison(), dict[str, str](), 0
    for index in spread(len(data), samples):
        sample = data[index]
        want = reference.run(sample.feeds, sample=sample.name)
        got = want if exact is None else exact.run(sample.feeds, sample=sample.name)
        compared.add(want, got)
        kinds = {"input": sample.feeds, "float": want, "quantized": got}
        for kind, named in kinds.items():
            arrays |= {f"{kind}/{count}/{name}": _plain(value) for name, value in named.items()}
        inputs = {name: _plain(value).dtype.name for name, value in sample.feeds.items()}
        count += 1
        size = sum(array.nbytes for array in arrays.values())
        if size + size // count > LIMIT_BYTES:
            break
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, allow_pickle=False, **arrays)
    return Golden(samples=count, inputs=inputs, quantized=compared.fidelity())


def _plain(value: Array) -> Array:
    """Types that every NumPy can read: bfloat16 becomes float32, text gets a fixed width."""
    if value.dtype.name in {"bfloat16"} or value.dtype.name.startswith("float8"):
        return value.astype(np.float32)
    return value.astype(np.str_) if value.dtype.kind == "O" else value
