"""Second-order rounding: the arithmetic, without a model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgecompile.passes.quantize.second_order import (
    Lattice,
    descend,
    output_error,
    round_second_order,
    without_overflow,
)


def damped(moments, share):
    level = np.einsum("gkk->gk", moments).mean(axis=1)[:, None, None]
    return moments + share * level * np.eye(moments.shape[-1], dtype=np.float32)


def grid(scale):
    """Signed 8-bit integers."""
    return Lattice(scale=scale[..., None], low=np.float32(-127), high=np.float32(127))


def second_order(weights, moments, scale, *, damping=0.01, **more):
    return round_second_order(weights, damped(moments, damping), grid(scale), **more)


def problem(seed: int, *, length: int = 6, rank: int = 2, outputs: int = 3, groups: int = 1):
    """Weights [G, M, K], moments of inputs that mostly lie in `rank` directions, scales [G, M]."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(groups, rank, length))
    rows = rng.normal(size=(groups, 400, rank)) @ mixed
    rows += 0.05 * rng.normal(size=rows.shape)
    moments = np.matmul(rows.swapaxes(1, 2), rows) / rows.shape[1]
    weights = rng.normal(size=(groups, outputs, length)).astype(np.float32)
    scale = (np.abs(weights).max(axis=2) / 7).astype(np.float32)
    return weights, moments.astype(np.float32), scale


def errors(weights, moments, scale, integers):
    """Of each output [G, M]."""
    return output_error(integers * scale[..., None] - weights, moments)


def nearest(weights, scale):
    return np.rint(weights / scale[..., None])


def test_the_error_is_that_of_the_outputs():
    rng = np.random.default_rng(0)
    rows, off = rng.normal(size=(50, 6)), rng.normal(size=(1, 3, 6))
    moments = (rows.T @ rows / 50)[None]
    wanted = ((rows @ off[0].T) ** 2).mean(axis=0)
    assert np.allclose(output_error(off, moments)[0], wanted)


def test_it_comes_close_to_the_best_of_all_integers():
    total = np.zeros(3)
    around = np.array(list(itertools.product((-1, 0, 1), repeat=6)))
    for seed in range(24):
        weights, moments, scale = problem(seed, outputs=1)
        start = nearest(weights, scale)
        found = second_order(weights, moments, scale, damping=0.001)
        every = errors(weights, moments, scale, start + around[None])
        total += [
            errors(weights, moments, scale, start).sum(),
            errors(weights, moments, scale, found).sum(),
            every.min(),
        ]
    plain, ours, best = total
    assert best < ours < 0.4 * plain
    assert plain - ours > 0.6 * (plain - best)


@pytest.mark.parametrize("length", [5, 128, 129, 300])
def test_blocks_give_what_one_column_after_the_other_gives(length, monkeypatch):
    from edgecompile.passes.quantize import second_order as room

    weights, moments, scale = problem(1, length=length, rank=8, groups=2)
    monkeypatch.setattr(room, "BLOCK", 10**6)
    whole = second_order(weights, moments, scale)
    monkeypatch.setattr(room, "BLOCK", 16)
    blocks = second_order(weights, moments, scale)
    # a sum in another order may tip what lies between two integers
    assert np.mean(whole != blocks) < 0.01


def test_without_correlation_it_is_rounding_to_nearest():
    weights, _, scale = problem(2)
    moments = np.eye(6, dtype=np.float32)[None]
    found = second_order(weights, moments, scale)
    assert np.array_equal(found, nearest(weights, scale))


def test_integers_stay_in_their_range_and_pairs_in_theirs():
    weights, moments, _ = problem(3, length=8)
    scale = (np.abs(weights).max(axis=2) / 126).astype(np.float32)
    plain = second_order(weights, moments, scale)
    assert np.abs(plain).max() <= 127
    partners = [i ^ 1 for i in range(8)]
    found = second_order(weights, moments, scale, partners=partners)
    left, right = found[..., 0::2], found[..., 1::2]
    assert np.abs(left + right)[np.sign(left) * np.sign(right) > 0].max() <= 128
    alone = second_order(weights, moments, scale, partners=list(range(8)))
    assert np.abs(alone).max() <= 64


def test_inputs_that_are_always_zero_or_equal_do_not_break_it():
    weights, moments, scale = problem(4)
    moments[:, 2] = moments[:, :, 2] = 0
    found = second_order(weights, moments, scale)
    assert np.array_equal(found[..., 2], nearest(weights, scale)[..., 2])
    flat = np.ones_like(moments)
    found = second_order(weights, flat, scale)
    assert errors(weights, flat, scale, found).max() <= (scale**2).max()
    empty = np.zeros_like(moments)
    found = second_order(weights, empty, scale)
    assert np.array_equal(found, nearest(weights, scale))


def test_moments_of_no_inputs_at_all_are_refused():
    weights, moments, scale = problem(5)
    assert second_order(weights, -moments, scale) is None


def test_descent_takes_off_what_second_order_leaves_and_never_adds():
    for seed in range(12):
        weights, moments, scale = problem(seed, length=24, rank=5, outputs=4, groups=2)
        moments = damped(moments, 0.01)
        start = round_second_order(weights, moments, grid(scale))
        found = descend(start, weights, moments, grid(scale), sweeps=5)
        lost, left = (errors(weights, moments, scale, steps) for steps in (start, found))
        assert (left <= lost * (1 + 1e-5)).all()
        rough = nearest(weights, scale)
        alone = descend(rough, weights, moments, grid(scale), sweeps=5)
        assert (
            errors(weights, moments, scale, alone).sum()
            < 0.7 * errors(weights, moments, scale, rough).sum()
        )
        assert np.array_equal(descend(found, weights, moments, grid(scale), sweeps=0), found)


def test_descent_leaves_inputs_that_are_always_zero_and_keeps_pairs():
    weights, moments, scale = problem(7, length=8, rank=3)
    moments[:, 2] = moments[:, :, 2] = 0
    found = descend(nearest(weights, scale), weights, moments, grid(scale), sweeps=3)
    assert np.array_equal(found[..., 2], nearest(weights, scale)[..., 2])
    fine = (np.abs(weights).max(axis=2) / 126).astype(np.float32)
    partners = [i ^ 1 for i in range(8)]
    start = without_overflow(nearest(weights, fine), partners)
    found = descend(start, weights, moments, grid(fine), sweeps=3, partners=partners)
    for steps in (start, found):
        left, right = steps[..., 0::2], steps[..., 1::2]
        assert np.abs(left + right)[np.sign(left) * np.sign(right) > 0].max() <= 128


def test_each_weight_has_its_own_step_and_limits():
    weights, moments, _ = problem(8, length=8, rank=3)
    scale = np.repeat(np.abs(weights).reshape(1, 3, 2, 4).max(axis=3) / 7, 4, axis=2)
    lattice = Lattice(scale=scale.astype(np.float32), low=np.float32(-3), high=np.float32(5))
    found = round_second_order(weights, damped(moments, 0.01), lattice)
    assert found.min() >= -3 and found.max() <= 5
    rough = lattice.nearest(weights)
    lost, left = (
        output_error(steps * scale - weights, damped(moments, 0.01)).sum()
        for steps in (rough, found)
    )
    assert left < lost
