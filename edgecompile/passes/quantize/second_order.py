"""GPTQ: round weights one input at a time and let the rest make up for each error.

Minimises tr((W - Q) H (W - Q)^T) over integers Q, with H the second moments of the inputs: Frantar
et al. 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"
(after "Optimal Brain Compression", the same authors, which treats convolutions as the matrix
products that they are). Done from the last input to the first it is Babai's nearest plane
algorithm on a factor of H, R^T R = H (Chen et al. 2025, "The Geometry of LLM Quantization: GPTQ as
Babai's Nearest Plane Algorithm"), which needs no inverse: input i is rounded to
w_i + sum over j > i of R_ij (w_j - q_j) / R_ii. H is not centred, so that a rounding that would
shift the mean of an output is punished and made up for like any other error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgecompile.calibration.moments import Moments
from edgecompile.passes.quantize.affine import IntegerType

Matrix = npt.NDArray[np.float32]
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
    `damping` is added to the diagonal as a share of its mean. None when H has no such factor.
    """
    factor = _factor(moments, damping)
    if factor is None:
        return None
    integers, left = np.zeros_like(weights), np.zeros_like(weights)
    felt = np.zeros_like(weights)
    for stop in range(weights.shape[-1], 0, -BLOCK):
        start = max(0, stop - BLOCK)
        for i in range(stop - 1, start - 1, -1):
            wanted = weights[..., i] + felt[..., i] / factor[:, None, i, i]
            column = np.clip(np.rint(wanted / scale), dtype.qmin, dtype.qmax)
            if partners is not None:
                column = _without_overflow(column, i, partners[i], integers)
            integers[..., i] = column
            left[..., i] = weights[..., i] - column * scale
            felt[..., start:i] += left[..., i, None] * factor[:, None, start:i, i]
        block = factor[:, :start, start:stop].swapaxes(1, 2)
        felt[..., :start] += left[..., start:stop] @ block
    return integers


def _without_overflow(column: Matrix, i: int, partner: int, integers: Matrix) -> Matrix:
    """`column` cut so that no pair of same-signed integers sums to more than 128.

    A partner that is not rounded yet is 0 and asks for nothing.
    """
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


def _factor(moments: Moments, damping: float) -> Matrix | None:
    """Upper triangular R with R^T R = H, damped; inputs that are always zero are left alone."""
    eye = np.eye(moments.shape[-1], dtype=moments.dtype)
    diagonal = np.einsum("gkk->gk", moments)
    level = diagonal.mean(axis=1, keepdims=True)
    dead = np.where(diagonal == 0, np.maximum(level, 1.0), 0.0)
    damped = moments + eye * (dead + np.maximum(damping * level, 1e-12))[..., None]
    try:
        lower: Matrix = np.linalg.cholesky(damped)
    except np.linalg.LinAlgError:
        return None
    return lower.swapaxes(1, 2)
