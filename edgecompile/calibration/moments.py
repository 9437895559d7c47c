"""Second moments of what operators multiply their weights with, gathered sample by sample.

H = E[x x^T], not centred, of the rows x that an operator's weights are multiplied with. It says
which rounding errors of the weights the outputs feel: for weights off by d, the expected squared
error of the output is d H d^T.

Few samples give moments that also hold chance. Two halves of the samples, gathered apart, tell how
much: the share of the correlations that does not repeat is what Schaefer and Strimmer 2005, "A
Shrinkage Approach to Large-Scale Covariance Matrix Estimation", take out of them (after Ledoit and
Wolf 2004, who shrink covariances to their mean). As there, only what varies around the mean is
shrunk: the mean itself, large behind a Relu, is known well, and roundings that shift it are felt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from edgecompile.calibration.taps import tapped_session

if TYPE_CHECKING:
    from edgecompile.calibration.dataset import Dataset
    from edgecompile.ir.model import Model

Matrix = npt.NDArray[np.float32]
UNKNOWN = 0.1
"""Share of chance where a single sample cannot tell."""

STRIP = 256
LEAST_ROWS = 32
WAITING_ROWS = 128


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
    return 2 * groups * length * (length + WAITING_ROWS) * 4


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
    least `LEAST_ROWS` a sample: enough for a matrix of full rank without unfolding every position.
    The model runs only as far as that takes.
    Operators that see the same rows get the same moments. Raises EC-340 and EC-341.
    """
    tensors = sorted({rows.tensor for rows in wanted.values()})
    session = tapped_session(model, tensors, threads=threads, only=True)
    sums = {rows: (_Sum(*rows.shape), _Sum(*rows.shape)) for rows in wanted.values()}
    for index, sample in enumerate(data):
        arrays = session.run(sample.feeds, tensors, sample=sample.name)
        for rows, halves in sums.items():
            limit = max(LEAST_ROWS, -(-rows_per_input * rows.shape[1] // len(data)))
            picked = rows.pick(arrays[rows.tensor], limit, np.random.default_rng(index))
            halves[index % 2].add(picked)
        if progress is not None:
            progress(index + 1, len(data))
    found = {rows: _together(*sums.pop(rows)) for rows in list(sums)}
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
    sums = {key: (_Sum(*own.shape), _Sum(*own.shape)) for key, (own, _) in wanted.items()}
    cross = {key: _Sum(*own.shape) for key, (own, _) in wanted.items()}
    for index, sample in enumerate(data):
        found = [
            session.run(sample.feeds, tensors, sample=sample.name)
            for session, tensors in zip(sessions, names, strict=True)
        ]
        for key, pair in wanted.items():
            limit = max(LEAST_ROWS, -(-rows_per_input * pair[0].shape[1] // len(data)))
            should, is_ = (
                view.pick(arrays[view.tensor], limit, np.random.default_rng(index))
                for view, arrays in zip(pair, found, strict=True)
            )
            sums[key][index % 2].add(is_)
            cross[key].add(should, is_)
    return {
        key: replace(_together(*sums.pop(key)), cross=cross.pop(key).mean()) for key in list(sums)
    }


def _together(even: _Sum, odd: _Sum) -> Moments:
    """The moments of both halves of the samples, and what the halves disagree about."""
    if not odd.count:
        matrix = even.mean()
        chance = np.full(len(matrix), UNKNOWN, np.float32)
        return Moments(matrix=matrix, centre=even.centre(), chance=chance)
    total, one, other = even.count + odd.count, even.mean(), odd.mean()
    share = np.float32(even.count / total)
    centre = np.asarray(share * even.centre() + (1 - share) * odd.centre(), np.float32)
    power = share * np.einsum("gkk->gk", one) + (1 - share) * np.einsum("gkk->gk", other)
    inverse = np.asarray(1 / np.sqrt(np.where(power > 0, power, 1.0)), np.float32)
    chance = np.zeros(len(one), np.float32)
    length = one.shape[1]
    together = max(1, STRIP * STRIP // max(1, length * length))
    # some groups and rows at a time, or the differences would take as much memory as the moments
    for first in range(0, len(one), together):
        some = slice(first, first + together)
        apart, strength = (np.zeros(len(one[some])) for _ in range(2))
        for start in range(0, length, STRIP):
            here = some, slice(start, start + STRIP)
            apart += _off_diagonal(one[here] - other[here], inverse[some], start)
            one[here] = share * one[here] + (1 - share) * other[here]
            around = one[here] - centre[here][:, :, None] * centre[some][:, None, :]
            strength += _off_diagonal(around, inverse[some], start)
        noise = float(share * (1 - share)) * apart
        found = np.divide(noise, strength, out=np.zeros_like(noise), where=strength > 0)
        chance[some] = np.minimum(1.0, found)
    return Moments(matrix=one, centre=centre, chance=chance)


def _off_diagonal(strip: Matrix, inverse: Matrix, start: int) -> npt.NDArray[np.float64]:
    """Sums of squares, [G], of some rows, from row `start` on, scaled to correlations."""
    scaled = strip * inverse[:, None, :]
    scaled *= inverse[:, start : start + strip.shape[1], None]
    index = np.arange(strip.shape[1])
    scaled[:, index, start + index] = 0.0
    return np.asarray(np.einsum("gij,gij->gi", scaled, scaled).sum(axis=1, dtype=np.float64))


class _Sum:
    """Sum of x x^T. Rows wait until there are some: each update goes through all K^2 numbers."""

    def __init__(self, groups: int, length: int) -> None:
        self._total = np.zeros((groups, length, length), np.float32)
        self._first = np.zeros((groups, length))
        self._waiting: list[Matrix] = []
        self._others: list[Matrix] = []
        self._count = self._pending = 0

    @property
    def count(self) -> int:
        """Rows that were added."""
        return self._count + self._pending

    def add(self, rows: Matrix, others: Matrix | None = None) -> None:
        """Rows [G, N, K], times themselves or `others`."""
        self._waiting.append(rows)
        self._first += rows.sum(axis=1, dtype=np.float64)
        if others is not None:
            self._others.append(others)
        self._pending += rows.shape[1]
        if self._pending >= WAITING_ROWS:
            self._flush()

    def mean(self) -> Matrix:
        self._flush()
        self._total /= max(1, self._count)
        return self._total

    def centre(self) -> Matrix:
        """Mean of the rows, [G, K]."""
        return np.asarray(self._first / max(1, self.count), np.float32)

    def _flush(self) -> None:
        if self._waiting:
            rows = np.concatenate(self._waiting, axis=1)
            others = np.concatenate(self._others, axis=1) if self._others else rows
            self._total += np.matmul(rows.swapaxes(1, 2), others)
        self._count, self._pending = self._count + self._pending, 0
        self._waiting, self._others = [], []
