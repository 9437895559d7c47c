"""Second moments of what operators multiply their weights with, gathered sample by sample.

H = E[x x^T], not centred, of the rows x that an operator's weights are multiplied with. It says
which rounding errors of the weights the outputs feel: for weights off by d, the expected squared
error of the output is d H d^T.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from edgecompile.calibration.taps import tapped_session

if TYPE_CHECKING:
    from edgecompile.calibration.dataset import Dataset
    from edgecompile.ir.model import Model

Moments = npt.NDArray[np.float32]
"""[G, K, K]: one matrix per group of the operator, K inputs per output."""


class Rows(Protocol):
    """How an operator sees its input: as rows that its weights are multiplied with."""

    @property
    def tensor(self) -> str:
        """Name of the input."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Groups G and row length K."""
        ...

    def pick(
        self, array: npt.NDArray[np.float32], limit: int, rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """At most `limit` of the input's rows, drawn by `rng`: [G, N, K]."""
        ...


def moments_bytes(rows: Rows) -> int:
    """Memory that the moments of one operator take while they are gathered."""
    groups, length = rows.shape
    return groups * length * length * 4


def second_moments(
    model: Model,
    wanted: Mapping[str, Rows],
    data: Dataset,
    *,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Moments]:
    """Moments by the keys of `wanted`, over all samples, in one pass and memory of their size.

    Rows are drawn so that each operator sees about `2 K` of them in all, at least 64 a sample:
    enough for a matrix of full rank without unfolding every position. Raises EC-340 and EC-341.
    """
    tensors = sorted({rows.tensor for rows in wanted.values()})
    session = tapped_session(model, tensors, threads=threads)
    sums = {key: _Sum(*rows.shape) for key, rows in wanted.items()}
    for index, sample in enumerate(data):
        arrays = session.run(sample.feeds, tensors, sample=sample.name)
        for key, rows in wanted.items():
            limit = max(64, -(-2 * rows.shape[1] // len(data)))
            picked = rows.pick(arrays[rows.tensor], limit, np.random.default_rng(index))
            sums[key].add(picked)
        if progress is not None:
            progress(index + 1, len(data))
    return {key: found.mean() for key, found in sums.items()}


class _Sum:
    """Sum of x x^T. Rows wait until there are as many as columns: each update costs K^2 memory."""

    def __init__(self, groups: int, length: int) -> None:
        self._total = np.zeros((groups, length, length), np.float32)
        self._waiting: list[npt.NDArray[np.float32]] = []
        self._count = self._pending = 0

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        self._waiting.append(rows)
        self._pending += rows.shape[1]
        if self._pending >= self._total.shape[1]:
            self._flush()

    def mean(self) -> Moments:
        self._flush()
        self._total /= max(1, self._count)
        return self._total

    def _flush(self) -> None:
        if self._waiting:
            rows = np.concatenate(self._waiting, axis=1)
            self._total += np.matmul(rows.swapaxes(1, 2), rows)
        self._count, self._pending = self._count + self._pending, 0
        self._waiting = []
