"""Scales and zero points that a few outliers do not decide, without data: HQQ.

Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models": minimise
||W - dequantize(quantize(W))||_p with p < 1 by half-quadratic splitting. The error is split into a
sparse part E, found by the generalised soft threshold of Chartrand and Yin 2016 ("Nonconvex sparse
regularization and splitting algorithms"), and a rest that the parameters take in least squares. The
authors fit the zero point in float and leave the scale; zero points are integers here, as ONNX has
them, so the scale is fitted too, and of all rounds each row keeps the one of least p-norm.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
NORM = np.float32(0.7)
START, GROWTH, ROUNDS = 30.0, 1.2, 20
"""Beta, in units of each row's largest weight: at first errors count as sparse, in the end few."""
FLOOR = np.float32(1e-6)


def half_quadratic(
    rows: Rows, scale: Rows, zero: Rows, *, low: float, high: float, symmetric: bool
) -> tuple[Rows, Rows]:
    """Better `scale` and `zero`, [R], for `rows` [R, N] with integers from `low` to `high`."""
    size = np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.float32(1e-30))
    best, beta = (scale, zero), START
    error = _norm(_restored(rows, scale, zero, low, high) - rows, size)
    for _ in range(ROUNDS):
        steps = _steps(rows, scale, zero, low, high)
        left = rows - (steps - zero[:, None]) * scale[:, None]
        wanted = rows - size * _shrink(left / size, np.float32(beta))
        if not symmetric:
            middle = (steps - wanted / scale[:, None]).mean(axis=1)
            zero = np.clip(np.rint(middle), low, high).astype(np.float32)
        centred = steps - zero[:, None]
        power = np.einsum("ij,ij->i", centred, centred)
        fitted = np.einsum("ij,ij->i", centred, wanted) / np.where(power > 0, power, 1)
        scale = np.where((power > 0) & (fitted > 0), fitted, scale).astype(np.float32)
        lost = _norm(_restored(rows, scale, zero, low, high) - rows, size)
        better = lost < error
        error = np.where(better, lost, error)
        best = (np.where(better, scale, best[0]), np.where(better, zero, best[1]))
        beta *= GROWTH
    return best


def _steps(rows: Rows, scale: Rows, zero: Rows, low: float, high: float) -> Rows:
    steps: Rows = np.clip(np.rint(rows / scale[:, None]) + zero[:, None], low, high)
    return steps


def _restored(rows: Rows, scale: Rows, zero: Rows, low: float, high: float) -> Rows:
    steps = _steps(rows, scale, zero, low, high)
    restored: Rows = (steps - zero[:, None]) * scale[:, None]
    return restored


def _shrink(values: Rows, beta: np.float32) -> Rows:
    """The proximal point of |x|^p / beta."""
    size = np.abs(values)
    cut = np.maximum(size - np.maximum(size, FLOOR) ** (NORM - 1) / beta, 0)
    shrunk: Rows = (np.sign(values) * cut).astype(np.float32)
    return shrunk


def _norm(off: Rows, size: Rows) -> Rows:
    total: Rows = (np.abs(off / size) ** NORM).sum(axis=1)
    return total
