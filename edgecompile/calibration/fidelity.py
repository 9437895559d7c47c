"""Figures of fidelity of one output, accumulated one sample at a time: no output is kept.

SQNR is 10 log10(sum of squares of the reference / sum of squares of the error), both over all
samples, and infinite when there is no error; cosine is the mean over samples of the cosine between
the flattened outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecompile.artifacts.types import OutputFidelity

Array = npt.NDArray[np.generic]


@dataclass
class OutputSums:
    """Running sums of one output."""

    samples: int = 0
    cosine: float = 0.0
    signal: float = 0.0
    noise: float = 0.0
    max_abs: float = 0.0
    rows: int = 0
    same_rows: int = 0
    classes: bool | None = None
    """Whether the output looks like class scores; decided at the first sample."""
    not_finite: int = 0
    """Samples with NaN or infinity where the reference has a number."""
    reference_nan: int = 0
    """Samples where the reference itself is not a number: nothing can be said about them."""

    def add(self, reference: Array, actual: Array) -> None:
        """Take in one sample. Raises `ValueError` when the shapes differ."""
        if reference.shape != actual.shape:
            raise ValueError(f"shape {list(actual.shape)} instead of {list(reference.shape)}")
        self.samples += 1
        want, got = reference.astype(np.float64), actual.astype(np.float64)
        known = np.isfinite(want)
        self.reference_nan += bool(np.isnan(want).any())
        if not np.isfinite(got[known]).all():
            self.not_finite += 1
        if self.classes is None:
            self.classes = _like_classes(want)
        if self.classes:
            self._add_rows(want, got)
        # Places where the reference itself is infinite (masked scores) carry no error.
        known &= np.isfinite(got)
        want, got = want[known], got[known]
        error = got - want
        self.signal += float(want @ want)
        self.noise += float(error @ error)
        self.max_abs = max(self.max_abs, float(np.abs(error).max(initial=0.0)))
        self.cosine += _cosine(want, got)

    def _add_rows(self, want: npt.NDArray[np.float64], got: npt.NDArray[np.float64]) -> None:
        rows = want.reshape(-1, want.shape[-1])
        chosen = np.nan_to_num(got.reshape(rows.shape), nan=-np.inf).argmax(axis=1)
        self.rows += len(rows)
        self.same_rows += int((rows[np.arange(len(rows)), chosen] == rows.max(axis=1)).sum())

    def fidelity(self) -> OutputFidelity:
        """The figures so far. Raises `ValueError` when no sample was added."""
        if self.samples == 0:
            raise ValueError("no sample was compared")
        bad = self.not_finite > 0
        return OutputFidelity(
            cosine=0.0 if bad else _rounded(self.cosine / self.samples),
            sqnr_db=-math.inf if bad else _rounded(decibels(self.signal, self.noise)),
            max_abs=_rounded(self.max_abs),
            top1_agreement=_rounded(self.same_rows / self.rows) if self.rows else None,
        )


def _like_classes(values: npt.NDArray[np.float64]) -> bool:
    """`[N, C]`, or any shape whose last axis holds probabilities that add up to one."""
    if values.ndim < 2 or values.shape[-1] < 2 or values.size == 0:
        return False
    if values.ndim == 2:
        return True
    sums = values.sum(axis=-1)
    return bool((values >= 0).all() and (np.abs(sums - 1.0) < 1e-3).all())


def _cosine(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    norms = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    if norms == 0.0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return float(a @ b) / norms


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise), infinite without noise."""
    if noise == 0.0:
        return math.inf
    return -math.inf if signal == 0.0 else 10.0 * math.log10(signal / noise)


def _rounded(value: float) -> float:
    """Six significant digits: enough to judge, and free of the last bits of summation."""
    return float(f"{value:.6g}")
