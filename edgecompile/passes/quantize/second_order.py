"""GPTQ: round weights one input at a time and let the rest make up for each error.

Minimises tr((W - Q) H (W - Q)^T) over integers Q, with H the second moments of the inputs: Frantar
et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
(after "Optimal Brain Compression", the same authors, which treats convolutions as the matrix
products that they are). Done from the last input to the first it is Babai's nearest plane
algorithm on a factor of H, R^T R = H (Chen et al. 2025, "The Geometry of LLM Quantization: GPTQ as
Babai's Nearest Plane Algorithm"), which needs no inverse: input i is rounded to
w_i + sum over j > i of R_ij (w_j - q_j) / R_ii. H is not centred, so that a rounding that would
shift the mean of an output is punished and made up for like any other error. Inputs of most power
go first, while most of the others can still make up for them ("act-order" in the authors' code).

Then single integers move while that lowers the same objective: Behdin et al. 2023, "QuantEase:
Optimization-based Quantization for Language Models", cyclic coordinate descent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
BLOCK = 32
LEAST = 1e-5
"""Share of the mean of the diagonal that makes up for single precision."""
PAIR_SUM = 128
"""Largest sum of two same-signed weights whose products with 255 fit in 16 bits: 128 * 255."""


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """The numbers that weights [G, M, K] can be: whole steps, from `low` to `high`, of `scale`.

    All of a shape that broadcasts to the weights'. Steps count from the zero point.
    """

    scale: Matrix
    low: Matrix
    high: Matrix

    def nearest(self, weights: Matrix) -> Matrix:
        """The steps nearest to `weights`."""
        steps: Matrix = np.clip(np.rint(weights / self.scale), self.low, self.high)
        return steps

    def snap(self, column: Matrix, i: int) -> None:
        """Turn `column` [G, M] into the nearest steps of column i of weights [G, K, M]."""
        column /= self.scale[:, i]
        np.rint(column, out=column)
        np.maximum(column, self.low[:, i], out=column)
        np.minimum(column, self.high[:, i], out=column)

    def whole(self, shape: tuple[int, ...]) -> Lattice:
        """The same with an entry for each weight."""
        wide = [np.broadcast_to(part, shape) for part in (self.scale, self.low, self.high)]
        return Lattice(scale=wide[0], low=wide[1], high=wide[2])


def round_second_order(
    weights: Matrix,
    moments: Matrix,
    lattice: Lattice,
    *,
    partners: Sequence[int] | None = None,
) -> Matrix | None:
    """Steps of `lattice` for `weights` [G, M, K], given `moments` [G, K, K] that have an inverse.

    `partners` keeps same-signed pairs of columns at a sum of 128 at most (see `unfold.py`). None
    when the moments have no triangular factor.
    """
    order = np.argsort(np.einsum("gkk->gk", moments), axis=1, kind="stable")
    columns = order[:, None, :]
    factor = _factor(np.take_along_axis(_reordered_rows(moments, order), columns, axis=2))
    if factor is None:
        return None
    grid, ordered = _by_column(lattice, weights.shape, order), _turned(weights, order)
    steps, left, felt = (np.zeros_like(ordered) for _ in range(3))
    pairs = None if partners is None else _reordered_partners(partners, order)
    for stop in range(weights.shape[-1], 0, -BLOCK):
        start = max(0, stop - BLOCK)
        for i in range(stop - 1, start - 1, -1):
            column = felt[:, i] / factor[:, i, i, None]
            column += ordered[:, i]
            grid.snap(column, i)
            if pairs is not None:
                _without_overflow(column, pairs[:, i], i, steps)
            steps[:, i] = column
            left[:, i] = ordered[:, i] - column * grid.scale[:, i]
            if i > start:
                felt[:, start:i] += factor[:, start:i, i, None] * left[:, i, None]
        felt[:, :start] += factor[:, :start, start:stop] @ left[:, start:stop]
    found = np.empty_like(weights)
    np.put_along_axis(found, np.broadcast_to(columns, found.shape), steps.swapaxes(1, 2), axis=2)
    return found


def descend(
    steps: Matrix,
    weights: Matrix,
    moments: Matrix,
    lattice: Lattice,
    *,
    sweeps: int,
    partners: Sequence[int] | None = None,
) -> Matrix:
    """`steps` after at most `sweeps` rounds of moving one column at a time to its best."""
    grid, turned = _by_column(lattice, weights.shape), _turned(weights)
    steps = _turned(steps)
    off = steps * grid.scale - turned
    slope = moments @ off
    diagonal = np.einsum("gkk->gk", moments)
    safe = np.where(diagonal > 0, diagonal, 1.0)
    alive = (diagonal > 0).astype(np.float32)[..., None]
    for sweep in range(sweeps):
        moved = False
        for start in range(0, weights.shape[-1], BLOCK):
            block = slice(start, min(start + BLOCK, weights.shape[-1]))
            unmoved = off[:, block].copy()
            near = slope[:, block].copy()
            for i in range(block.start, block.stop):
                column = turned[:, i] + off[:, i]
                column -= near[:, i - start] / safe[:, i, None]
                grid.snap(column, i)
                if partners is not None:
                    _without_overflow_of_one(column, partners[i], i, steps)
                change = column - steps[:, i]
                # an input that is always zero has no best
                change *= alive[:, i]
                if change.any():
                    steps[:, i] += change
                    change *= grid.scale[:, i]
                    off[:, i] += change
                    # what lies before in the block is not asked for again in this sweep
                    near[:, i - start + 1 :] += (
                        moments[:, i + 1 : block.stop, i, None] * change[:, None]
                    )
                    moved = True
            # nor, in the last one, what lies before the block
            rest = slice(block.stop if sweep == sweeps - 1 else 0, None)
            slope[:, rest] += moments[:, rest, block] @ (off[:, block] - unmoved)
        if not moved:
            break
    return np.ascontiguousarray(steps.swapaxes(1, 2))


def without_overflow(steps: Matrix, partners: Sequence[int]) -> Matrix:
    """`steps` [G, M, K] with every pair cut to a sum of 128, column by column."""
    cut = _turned(steps)
    for i, partner in enumerate(partners):
        _without_overflow_of_one(cut[:, i], partner, i, cut)
    return np.ascontiguousarray(cut.swapaxes(1, 2))


def output_error(difference: Matrix, moments: Matrix) -> Matrix:
    """Expected squared error of each output, [G, M], for weights off by `difference` [G, M, K]."""
    found: Matrix = np.einsum("gmk,gmk->gm", difference @ moments, difference)
    return found


def _turned(whole: Matrix, order: npt.NDArray[np.intp] | None = None) -> Matrix:
    """`whole`, [G, M, K], as [G, K, M], its columns in `order`: they are worked on one by one."""
    if order is not None:
        whole = np.take_along_axis(whole, order[:, None, :], axis=2)
    turned: Matrix = whole.swapaxes(1, 2).copy()
    return turned


def _by_column(
    lattice: Lattice, shape: tuple[int, ...], order: npt.NDArray[np.intp] | None = None
) -> Lattice:
    """`lattice` for weights [G, K, M], columns in `order`; what all share takes no space."""
    groups, outputs, length = shape

    def turn(part: Matrix) -> Matrix:
        wide = np.broadcast_to(part, (groups, outputs, part.shape[-1] if part.ndim else 1))
        if wide.shape[-1] == 1:
            return np.broadcast_to(wide.swapaxes(1, 2), (groups, length, outputs))
        return _turned(wide, order)

    return Lattice(scale=turn(lattice.scale), low=turn(lattice.low), high=turn(lattice.high))


def _reordered_rows(moments: Matrix, order: npt.NDArray[np.intp]) -> Matrix:
    rows: Matrix = np.take_along_axis(moments, order[:, :, None], axis=1)
    return rows


def _reordered_partners(
    partners: Sequence[int], order: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Where the partner of each column is after columns were put into `order`, [G, K]."""
    place = np.argsort(order, axis=1)
    wanted = np.asarray(partners)[order]
    moved = np.take_along_axis(place, np.maximum(wanted, 0), axis=1)
    return np.where(wanted < 0, -1, moved)


def _without_overflow(column: Matrix, partner: npt.NDArray[np.intp], i: int, steps: Matrix) -> None:
    """Cut `column` [G, M] so that no pair of same-signed steps [G, K, M] sums to more than 128.

    `partner`, [G], is the column that it meets in each group. One that is not rounded yet is 0 and
    asks for nothing.
    """
    if len(partner) == 1:
        _without_overflow_of_one(column, int(partner[0]), i, steps)
        return
    other = steps[np.arange(len(steps)), np.maximum(partner, 0)]
    top = PAIR_SUM - np.maximum(other, 0)
    bottom = -PAIR_SUM - np.minimum(other, 0)
    alone, any_ = (partner < 0)[:, None], (partner == i)[:, None]
    top = np.where(any_, PAIR_SUM // 2, np.where(alone, np.inf, top))
    bottom = np.where(any_, -PAIR_SUM // 2, np.where(alone, -np.inf, bottom))
    np.clip(column, bottom, top, out=column)


def _without_overflow_of_one(column: Matrix, partner: int, i: int, steps: Matrix) -> None:
    """The same where all groups have one partner; negative: none, i: any other."""
    if partner < 0:
        return
    if partner == i:
        np.clip(column, -PAIR_SUM // 2, PAIR_SUM // 2, out=column)
        return
    other = steps[:, partner]
    np.minimum(column, PAIR_SUM - np.maximum(other, 0), out=column)
    np.maximum(column, -PAIR_SUM - np.minimum(other, 0), out=column)


def _factor(moments: Matrix) -> Matrix | None:
    """Upper triangular R with R^T R = H; inputs that are always zero are left alone."""
    eye = np.eye(moments.shape[-1], dtype=moments.dtype)
    diagonal = np.einsum("gkk->gk", moments)
    level = diagonal.mean(axis=1, keepdims=True)
    dead = np.where(diagonal == 0, np.maximum(level, 1.0), 0.0)
    damped = moments + eye * (dead + np.maximum(LEAST * level, 1e-12))[..., None]
    try:
        lower: Matrix = np.linalg.cholesky(damped)
    except np.linalg.LinAlgError:
        return None
    return lower.swapaxes(1, 2)
