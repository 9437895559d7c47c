"""HQQ: outliers decide less than they do when ranges hold them, and no row gets worse."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.passes.quantize.half_quadratic import half_quadratic
from edgecompile.passes.quantize.weight_blocks import Layout, Levels, compress


def norm(weight, made) -> np.ndarray:
    size = np.abs(weight).max(axis=1, keepdims=True)
    return (np.abs((made.restored() - weight) / size) ** 0.7).sum(axis=1)


def both(weight, *, symmetric):
    levels, layout = Levels(bits=4, symmetric=symmetric), Layout(axis=0)
    return [compress(weight, layout, levels, clip=clip) for clip in ("none", "hqq")]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_rows_with_outliers_get_better_and_none_worse(symmetric, seed):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(40, 64)) * np.where(rng.random((40, 64)) < 0.03, 5, 1)
    plain, robust = both(weight.astype(np.float32), symmetric=symmetric)
    lost, left = norm(weight, plain), norm(weight, robust)
    assert (left <= lost * (1 + 1e-4)).all()
    assert left.sum() < 0.98 * lost.sum()
    assert robust.sqnr_db > plain.sqnr_db - 1


@pytest.mark.parametrize("symmetric", [True, False])
def test_weights_on_the_grid_stay_exact(symmetric):
    rng = np.random.default_rng(0)
    steps = rng.integers(-7, 8, size=(8, 32))
    steps[:, :2] = -7, 7 if symmetric else 8
    weight = (steps * np.float32(0.25)).astype(np.float32)
    _, found = both(weight, symmetric=symmetric)
    assert np.array_equal(found.restored(), weight)


def test_rows_of_zeros_and_single_values_are_left():
    weight = np.zeros((3, 16), np.float32)
    weight[1], weight[2, 5] = 2.5, -3.0
    for symmetric in (True, False):
        _, found = both(weight, symmetric=symmetric)
        assert np.isfinite(found.restored()).all()
        assert np.allclose(found.restored(), weight, atol=1e-5)


def test_limits_are_kept():
    rows = np.random.default_rng(1).normal(size=(20, 32)).astype(np.float32)
    scale = np.abs(rows).max(axis=1) / 15
    found, zero = half_quadratic(rows, scale, np.full(20, 8, np.float32), low=0, high=15,
                                 symmetric=False)  # fmt: skip
    assert ((zero >= 0) & (zero <= 15) & (zero == np.rint(zero))).all()
    assert (found > 0).all()
