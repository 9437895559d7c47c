"""`OuterProducts`: the mean of x x^T over rows x, and how much of it is chance.

Schaefer and Strimmer 2005, "A Shrinkage Approach to Large-Scale Covariance Matrix Estimation and
Implications for Functional Genomics", section 2.4: the share of correlations to take out is the sum
of their variances over the sum of their squares. The variance of a mean over units (some samples,
whose rows belong together) comes from how far each unit's own mean is from it. That needs no matrix
per unit: the squares of X^T X sum up to those of X X^T, which is small for few rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
Sums = npt.NDArray[np.float64]
UNKNOWN = 0.1
"""Share of chance where a single sample cannot tell."""

STRIP = 256
UNITS = 8
MOST_WAITING = 256
"""Rows that wait for each other at most: an update goes through all K^2 numbers."""
FLOOR = 0.01
"""Share of the mean power that an input is taken to have at least: one that was silent in the
first unit must not count for more than all others together later."""


class OuterProducts:
    """Sums over rows of G groups and K inputs, taken in sample by sample."""

    def __init__(self, groups: int, length: int, *, samples: int) -> None:
        """Nothing yet, for rows of [groups, N, length] from each of `samples`."""
        self._total = np.zeros((groups, length, length), np.float32)
        self._first = np.zeros((groups, length))
        self._unit = max(1, samples // UNITS)
        self._waiting: list[Matrix] = []
        self._others: list[Matrix] = []
        self._rows = self._pending = 0
        self._mean: Matrix | None = None
        self._weights: Matrix | None = None
        self._squares = np.zeros(groups)
        self._counts_squared = 0

    def add(self, rows: Matrix, others: Matrix | None = None) -> None:
        """The rows of one sample, [G, N, K], times themselves or `others`."""
        self._waiting.append(rows)
        if others is not None:
            self._others.append(others)
        self._rows += rows.shape[1]
        self._pending += rows.shape[1]
        if len(self._waiting) >= self._unit or self._pending >= MOST_WAITING:
            self._flush()

    def mean(self) -> Matrix:
        """E[x x^T], [G, K, K]; nothing may be added afterwards."""
        if self._mean is None:
            self._flush()
            self._total /= max(1, self._rows)
            self._mean = self._total
        return self._mean

    def centre(self) -> Matrix:
        """Mean of the rows, [G, K]."""
        return np.asarray(self._first / max(1, self._rows), np.float32)

    def chance(self) -> Matrix:
        """Share of the correlations around the mean that is chance, [G], between 0 and 1."""
        matrix, centre, weights = self.mean(), self.centre(), self._weights
        share = self._counts_squared / max(1, self._rows) ** 2
        if weights is None or share > 1 - 1e-9:
            return np.full(len(matrix), UNKNOWN, np.float32)
        raw, strength = (np.zeros(len(matrix)) for _ in range(2))
        length = matrix.shape[1]
        together = max(1, STRIP * STRIP // max(1, length * length))
        # some groups and rows at a time: whole copies would take as much memory as the moments
        for first in range(0, len(matrix), together):
            some = slice(first, first + together)
            for start in range(0, length, STRIP):
                strip = matrix[some, start : start + STRIP]
                around = centre[some, start : start + STRIP, None] * centre[some, None]
                raw[some] += _off_diagonal(strip, weights[some], start)
                strength[some] += _off_diagonal(strip - around, weights[some], start)
        noise = (self._squares / self._rows**2 - share * raw) / (1 - share)
        found = np.divide(noise, strength, out=np.zeros_like(noise), where=strength > 0)
        return np.clip(found, 0.0, 1.0).astype(np.float32)

    def _flush(self) -> None:
        """Take in the unit that waits."""
        if self._pending:
            rows = np.concatenate(self._waiting, axis=1)
            others = np.concatenate(self._others, axis=1) if self._others else rows
            products = np.matmul(rows.swapaxes(1, 2), others)
            self._total += products
            self._first += rows.sum(axis=1, dtype=np.float64)
            if others is rows:
                self._disagreement(rows, products)
        self._pending = 0
        self._waiting, self._others = [], []

    def _disagreement(self, rows: Matrix, products: Matrix) -> None:
        """Add the squares of the unit's sum of x x^T, scaled to about correlations."""
        count = rows.shape[1]
        power = np.einsum("gkk->gk", products)
        if self._weights is None:
            level = power.mean(axis=1, keepdims=True)
            safe = np.maximum(power, FLOOR * level) / count
            self._weights = np.asarray(1 / np.sqrt(np.where(safe > 0, safe, 1.0)), np.float32)
        if count < rows.shape[2]:
            rows = rows * self._weights[:, None]
            scaled = rows @ rows.swapaxes(1, 2)
        else:
            scaled = products * self._weights[:, None]
            scaled *= self._weights[:, :, None]
        own = np.square(power * np.square(self._weights), dtype=np.float64)
        self._squares += _squares(scaled) - own.sum(axis=1)
        self._counts_squared += count**2


def _off_diagonal(strip: Matrix, weights: Matrix, start: int) -> Sums:
    """Weighted sums of squares, [G], of some rows, from row `start` on, without the diagonal."""
    scaled = strip * weights[:, None, :]
    scaled *= weights[:, start : start + strip.shape[1], None]
    index = np.arange(strip.shape[1])
    scaled[:, index, start + index] = 0.0
    return _squares(scaled)


def _squares(arrays: Matrix) -> Sums:
    """Sums of squares of [G, N, M], [G]: in single precision of each row, in double over rows."""
    rows = np.einsum("gij,gij->gi", arrays, arrays)
    return np.asarray(rows.sum(axis=1, dtype=np.float64))
