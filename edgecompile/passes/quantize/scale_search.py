"""Scales of weights for the least error of their layer's outputs.

As SeqMSE of AIMET (Qualcomm's documentation, "Sequential MSE"): candidates are shares of the range
of each channel, rounded to nearest, and judged by the output that the layer would give. The error
of the output is D H D^T with H = E[x x^T], so all samples count and none is kept. Blocks of a
channel feel each other through H and are searched in turns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecompile.passes.quantize.affine import FloatArray
from edgecompile.passes.quantize.second_order import Lattice, Matrix, output_error

SMALLEST = np.float32(np.finfo(np.float32).tiny * 256)


def search_scale(
    weights: Matrix,
    moments: Matrix,
    lattice: Lattice,
    scale: FloatArray,
    base: FloatArray,
    *,
    shares: Sequence[float],
    shared: bool,
    rounds: int,
) -> FloatArray:
    """Scales [G, M, B] for `weights` [G, M, K]: `scale`, or the best of `shares` times `base`.

    `lattice` has the limits of the steps. `shared` keeps one scale for all; blocks (B > 1) are gone
    through `rounds` times.
    """
    blocks = scale.shape[2]
    size = weights.shape[2] // blocks
    wide = lattice.whole(weights.shape)
    best = scale.copy()
    steps = np.clip(np.rint(weights / wide.scale), wide.low, wide.high)
    off = steps * np.repeat(scale, size, axis=2) - weights
    slope = off @ moments
    for number in range(rounds):
        moved = False
        for block in range(blocks):
            here = slice(block * size, (block + 1) * size)
            part = _Block(weights, wide, moments, here, shared=shared)
            others = slope[..., here] - off[..., here] @ part.moments
            found, change = part.search(
                best[..., block], base[..., block], off[..., here], others, shares
            )
            if found is None:
                continue
            moved = True
            best[..., block] = found
            off[..., here] += change
            slope += change @ moments[:, here, :]
        if not moved and number:
            break
    return best


def unclipped(weights: Matrix, lattice: Lattice, scale: FloatArray) -> FloatArray:
    """The smallest scales [G, M, B], shaped like `scale`, at which no weight is clipped.

    A side that has no steps asks for nothing: its weights are clipped whatever the scale.
    """
    wide = lattice.whole(weights.shape)
    above = np.where(wide.high > 0, weights / np.where(wide.high > 0, wide.high, 1), 0)
    below = np.where(wide.low < 0, weights / np.where(wide.low < 0, wide.low, 1), 0)
    asked = np.maximum(above, below).reshape(*weights.shape[:2], scale.shape[2], -1).max(axis=3)
    found: FloatArray = np.where(asked > SMALLEST, asked, scale).astype(np.float32)
    return found


class _Block:
    """Some columns of a layer, whose weights share a scale in each row."""

    def __init__(
        self, weights: Matrix, lattice: Lattice, moments: Matrix, here: slice, *, shared: bool
    ) -> None:
        self.shared = shared
        self.weights = weights[..., here]
        self.low, self.high = lattice.low[..., here], lattice.high[..., here]
        self.moments = np.ascontiguousarray(moments[:, here, here])

    def search(
        self,
        current: Matrix,
        base: Matrix,
        off: Matrix,
        others: Matrix,
        shares: Sequence[float],
    ) -> tuple[Matrix | None, Matrix]:
        """The better scales [G, M] and what they change in the weights; None where none is."""
        best, chosen = current.copy(), off.copy()
        error = self._error(off, others)
        for share in shares:
            scale = np.maximum(base * np.float32(share), SMALLEST)
            steps = np.clip(np.rint(self.weights / scale[..., None]), self.low, self.high)
            tried = steps * scale[..., None] - self.weights
            lost = self._error(tried, others)
            better = lost < error
            if self.shared:
                better = np.full_like(better, lost.sum() < error.sum())
            if better.any():
                best, error = np.where(better, scale, best), np.where(better, lost, error)
                chosen = np.where(better[..., None], tried, chosen)
        change = chosen - off
        return (best if change.any() else None), change

    def _error(self, off: Matrix, others: Matrix) -> Matrix:
        """Error of the outputs [G, M], as far as these columns decide it."""
        mixed: Matrix = np.einsum("gmk,gmk->gm", off, others)
        return output_error(off, self.moments) + 2 * mixed
