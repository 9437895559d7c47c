"""Second moments of what operators multiply their weights with, gathered sample by sample.

H = E[x x^T], not centred, of the rows x that an operator's weights are multiplied with. It says
which rounding errors of the weights the outputs feel: for weights off by d, the expected squared
error of the output is d H d^T.

Few samples give moments that also hold chance. How much the samples disagree tells its share, which
Schaefer and Strimmer 2005, "A Shrinkage Approach to Large-Scale Covariance Matrix Estimation", take
out of the correlations (after Ledoit and Wolf 2004, who shrink covariances to their mean). As
there, only what varies around the mean is shrunk: the mean itself, large behind a Relu, is known
well, and roundings that shift it are felt. See `outer_products.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from edgecompile.calibration.outer_products import MOST_WAITING, Matrix, OuterProducts
from edgecompile.calibration.taps import tapped_session

if TYPE_CHECKING:
    from edgecompile.calibration.dataset import Dataset
    from edgecompile.ir.model import Model

LEAST_ROWS = 1024
"""Rows of each operator that are wanted at least, over all samples."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """`matrix`, [G, K, K]: one per group of the operator, K inputs per output.

    `centre`, [G, K], is the mean of the inputs.
    `chance`, [G], between 0 and 1: the share of its correlations around the mean that is chance.
    `cross`, [G, K, K], of what the inputs should be (rows) with what they are (columns).
    """

    matrix: Matrix
    centre: Matrix
    chance: npt.NDArray[np.float32]
    cross: Matrix | None = None

    def shrunk(self, damping: float | None = None) -> Matrix:
        """The matrix with its correlations around the mean taken down by `chance`.

        With `damping`, as it is, and that share of the mean of its diagonal added to the diagonal.
        """
        diagonal = np.einsum("gkk->gk", self.matrix)
        eye = np.eye(diagonal.shape[1], dtype=np.float32)
        if damping is not None:
            level = np.float32(damping) * diagonal.mean(axis=1)
            found: Matrix = self.matrix + eye * level[:, None, None]
            return found
        share = self.chance[:, None, None]
        kept = self.centre[:, :, None] * self.centre[:, None, :]
        spread = np.maximum(diagonal - np.einsum("gkk->gk", kept), 0.0)
        return np.asarray((1 - share) * self.matrix + share * (kept + eye * spread[:, None]),
                          np.float32)  # fmt: skip


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
    return groups * length * (length + min(length, MOST_WAITING)) * 4


def second_moments(
    model: Model,
    wanted: Mapping[str, Rows],
    data: Dataset,
    *,
    rows_per_input: int = 4,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Moments]:
    """Moments by the keys of `wanted`, over all samples, in one pass and memory of their size.

    Rows are drawn so that each operator sees about `rows_per_input` times K of them in all, at
    least `LEAST_ROWS`: enough for a matrix of full rank without unfolding every position.
    The model runs only as far as that takes.
    Operators that see the same rows get the same moments. Raises EC-340 and EC-341.
    """
    tensors = sorted({rows.tensor for rows in wanted.values()})
    session = tapped_session(model, tensors, threads=threads, only=True)
    sums = {rows: OuterProducts(*rows.shape, samples=len(data)) for rows in wanted.values()}
    for index, sample in enumerate(data):
        arrays = session.run(sample.feeds, tensors, sample=sample.name)
        for rows, products in sums.items():
            limit = _limit(rows, rows_per_input, len(data))
            products.add(rows.pick(arrays[rows.tensor], limit, np.random.default_rng(index)))
        del arrays  # before the next ones are made: both at once would double their memory
        if progress is not None:
            progress(index + 1, len(data))
    found = {rows: _moments(sums.pop(rows)) for rows in list(sums)}
    return {key: found[rows] for key, rows in wanted.items()}


def moments_of_both(
    exact: Model,
    rough: Model,
    wanted: Mapping[str, tuple[Rows, Rows]],
    data: Dataset,
    *,
    rows_per_input: int = 4,
    threads: int = 1,
) -> dict[str, Moments]:
    """Moments of the inputs in `rough`, with `cross`: those in `exact` times those in `rough`.

    `wanted` has the rows of each operator in both models, which must be of one shape. Both models
    run only as far as their inputs go. Raises EC-340 and EC-341.
    """
    names = [sorted({pair[i].tensor for pair in wanted.values()}) for i in (0, 1)]
    sessions = [
        tapped_session(model, tensors, threads=threads, only=True, exact=True)
        for model, tensors in zip((exact, rough), names, strict=True)
    ]
    sums = {key: OuterProducts(*own.shape, samples=len(data)) for key, (own, _) in wanted.items()}
    cross = {key: OuterProducts(*own.shape, samples=len(data)) for key, (own, _) in wanted.items()}
    for index, sample in enumerate(data):
        found = [
            session.run(sample.feeds, tensors, sample=sample.name)
            for session, tensors in zip(sessions, names, strict=True)
        ]
        for key, pair in wanted.items():
            limit = _limit(pair[0], rows_per_input, len(data))
            should, is_ = (
                view.pick(arrays[view.tensor], limit, np.random.default_rng(index))
                for view, arrays in zip(pair, found, strict=True)
            )
            sums[key].add(is_)
            cross[key].add(should, is_)

    own = {key: _moments(sums.pop(key)) for key in list(sums)}
    return {key: replace(found, cross=cross.pop(key).mean()) for key, found in own.items()}


def _limit(rows: Rows, rows_per_input: int, samples: int) -> int:
    """Rows to draw from each of `samples`."""
    return -(-max(LEAST_ROWS, rows_per_input * rows.shape[1]) // samples)


def _moments(products: OuterProducts) -> Moments:
    return Moments(matrix=products.mean(), centre=products.centre(), chance=products.chance())
