"""AdaRound's optimiser: learn for each weight whether it is rounded down or up.

Nagel et al. 2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", arXiv:2004.10568,
equations 21 to 24: a weight is floor(w / s) + h(V) steps, h the rectified sigmoid of Louizos et al.
2018 (zeta 1.1, gamma -0.1), and 1 - |2 h - 1|^beta, with beta annealed, drives h to 0 or 1.

The layer's error is that of section 3.2: quadratic, D H D^T with H = E[x x^T] of all samples at
once, so its gradient is exact, a step costs one product with H, and memory does not grow with the
samples. That leaves out the activation function of equation 25. Errors count in units of a
channel's squared step and of the mean input power, which makes one regularisation fit all layers.
"""

from __future__ import annotations

import math

import numpy as np

from edgecompile.passes.quantize.second_order import Lattice, Matrix

ZETA, GAMMA = 1.1, -0.1
BETA = (20.0, 2.0)
WARM_UP = 0.2
"""Share of the steps without the regulariser."""
MOMENTUM, SECOND, TINY = 0.9, 0.999, 1e-8
"""Adam (Kingma and Ba 2015, arXiv:1412.6980), its defaults."""


def learn_rounding(
    weights: Matrix,
    moments: Matrix,
    lattice: Lattice,
    *,
    iterations: int,
    rate: float,
    regularisation: float,
) -> Matrix:
    """Steps of `lattice` for `weights` [G, M, K], each the floor or the ceiling, given H [G, K, K].

    `rate` is Adam's; `regularisation` is the weight of the term that ends in whole numbers.
    """
    wide = lattice.whole(weights.shape)
    wanted = weights / wide.scale
    floor = np.clip(np.floor(wanted), wide.low, wide.high)
    room = np.minimum(floor + 1, wide.high) - floor
    level = np.einsum("gkk->gk", moments).mean(axis=1)[:, None, None]
    unit = moments / np.where(level > 0, level, 1.0)
    # steps that are the same for all of a channel leave it out; those of blocks weigh errors
    relative = wide.scale / np.maximum(wide.scale.max(axis=2, keepdims=True), 1e-30)
    share = np.clip((np.clip(wanted - floor, 0, 1) - GAMMA) / (ZETA - GAMMA), 1e-3, 1 - 1e-3)
    learned = np.log(share / (1 - share)).astype(np.float32)
    first, second = np.zeros_like(learned), np.zeros_like(learned)
    for step in range(iterations):
        sigmoid = 1 / (1 + np.exp(-learned))
        stretched = (ZETA - GAMMA) * sigmoid + GAMMA
        soft = np.clip(stretched, 0, 1)
        off = (floor + soft * room - wanted) * relative
        slope = 2 * (off @ unit) * relative * room
        slope += regularisation * _pull(soft, step / iterations)
        inside = (stretched > 0) & (stretched < 1)
        slope *= (ZETA - GAMMA) * sigmoid * (1 - sigmoid) * inside
        first += (1 - MOMENTUM) * (slope - first)
        second += (1 - SECOND) * (slope * slope - second)
        corrected = np.sqrt(second / (1 - SECOND ** (step + 1))) + TINY
        learned -= rate / (1 - MOMENTUM ** (step + 1)) * first / corrected
    found: Matrix = floor + (learned >= 0) * room
    return found


def _pull(soft: Matrix, done: float) -> Matrix | float:
    """The gradient of 1 - |2 h - 1|^beta, after the share `done` of all steps."""
    if done < WARM_UP:
        return 0.0
    progress = (done - WARM_UP) / (1 - WARM_UP)
    start, end = BETA
    beta = end + 0.5 * (start - end) * (1 + math.cos(math.pi * progress))
    centred = 2 * soft - 1
    pull = -2 * beta * np.sign(centred) * np.abs(centred) ** (beta - 1)
    return pull.astype(np.float32)
