"""GPTQ: round weights one input at a time and let the rest make up for each error.

Minimises tr((W - Q) H (W - Q)^T) over integers Q, with H the second moments of the inputs, by the
column-wise update of Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization for
Generative Pre-trained Transformers" (after "Optimal Brain Compression", the same authors, which
treats convolutions as the matrix products that they are). H is not centred, so that a rounding
that would shift the mean of an output is punished and made up for like any other error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgecompile.calibration.moments import Moments
from edgecompile.passes.quantize.affine import IntegerType

Matrix = npt.NDArray[np.float64]
BLOCK = 128
PAIR_SUM = 128
"""Largest sum of two same-signed weights whose products with 255 fit in 16 bits: 128 * 255."""


def round_second_order(
    weights: Matrix,
    moments: Moments,
    scale: Matrix,
    dtype: IntegerType,
    *,
    damping: float,
    partners: Sequence[int] | None = None,
) -> Matrix | None:
    """Integers for `weights` [G, M, K] under `scale` [G, M], given `moments` [G, K, K].

    `partners` keeps same-signed pairs of columns at a sum of 128 at most (see `unfold.py`).
    `damping` is added to the diagonal as a share of its mean. None when H cannot be inverted.
    """
    upper = _inverse_factor(moments, damping)
    if upper is None:
        return None
    rest, length = weights.copy(), weights.shape[-1]
    integers = np.zeros_like(rest)
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        errors = np.zeros((*rest.shape[:-1], stop - start))
        for i in range(start, stop):
            column = np.clip(np.rint(rest[..., i] / scale), dtype.qmin, dtype.qmax)
            if partners is not None:
                column = _without_overflow(column, i, partners[i], integers)
            integers[..., i] = column
            error = (rest[..., i] - column * scale) / upper[:, None, i, i]
            errors[..., i - start] = error
            rest[..., i + 1 : stop] -= error[..., None] * upper[:, None, i, i + 1 : stop]
        rest[..., stop:] -= errors @ upper[:, start:stop, stop:]
    return integers


def _without_overflow(column: Matrix, i: int, partner: int, integers: Matrix) -> Matrix:
    """`column` cut so that no pair of same-signed integers sums to more than 128."""
    if partner < 0:
        return column
    if partner == i:
        return np.clip(column, -PAIR_SUM // 2, PAIR_SUM // 2)
    other = integers[..., partner]
    return np.clip(column, -PAIR_SUM - np.minimum(other, 0), PAIR_SUM - np.maximum(other, 0))


def output_error(difference: Matrix, moments: Moments) -> Matrix:
    """Expected squared error of each output, [G, M], for weights off by `difference` [G, M, K]."""
    found: Matrix = np.einsum("gmk,gmk->gm", difference @ moments, difference)
    return found


def _inverse_factor(moments: Moments, damping: float) -> Matrix | None:
    """Upper triangular U with U^T U = H^-1; inputs that are always zero are left alone."""
    size = moments.shape[-1]
    diagonal = np.einsum("gkk->gk", moments)
    level = diagonal.mean(axis=1, keepdims=True)
    damped = moments + np.eye(size) * np.maximum(damping * level, 1e-12)[..., None]
    dead = np.where(diagonal == 0, np.maximum(level, 1.0), 0.0)
    damped = damped + np.eye(size) * dead[..., None]
    try:
        return np.linalg.cholesky(np.linalg.inv(damped)).swapaxes(1, 2)
    except np.linalg.LinAlgError:
        return None
