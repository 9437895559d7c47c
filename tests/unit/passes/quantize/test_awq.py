"""`awq`: the float model stays, loud inputs get finer weights, and nothing is for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.passes.base import Context
from edgecompile.passes.quantize.awq import Awq, powers
from edgecompile.passes.quantize.batches import batches
from tests.support.models import Builder, assert_same, operators
from tests.support.rounding import NUC, error, in_blocks
from tests.support.samples import Samples


def loud(spread: float = 30.0, *, residual: bool = False):
    """LayerNormalization with a few loud channels before two products: `[N, 64]`."""
    b = Builder(3, opset=21)
    x = b.input("x", ["N", 64])
    gamma = np.ones(64)
    gamma[[3, 17, 40]] = spread
    x = b.node("LayerNormalization", [x, b.constant(gamma), b.random(64)], axis=-1)
    products = [b.node("MatMul", [x, b.random(64, 24)]) for _ in range(2)]
    y = b.node("Add", products)
    if residual:
        y = b.node("Concat", [x, y], axis=-1)
    return b.build({y: None}, ir_version=10)


def inputs(seed: int = 0, count: int = 16) -> Samples:
    rng = np.random.default_rng(seed)
    made = [{"x": rng.normal(size=(16, 64)).astype(np.float32)} for _ in range(count)]
    return Samples(feeds=made)


def scaled(model, **options):
    digest = model.digest
    outcome = Awq(**options).run(model, Context(target=NUC, data=inputs()))
    assert model.digest == digest
    assert outcome.changed == (outcome.model.digest != digest)
    assert_same(model, outcome.model)
    return outcome


def test_loud_inputs_lose_less_and_nothing_is_added():
    model = loud()
    outcome = scaled(model)
    assert outcome.changed
    assert operators(outcome.model) == operators(model)
    fresh = inputs(99)
    lost, left = (
        error(in_blocks(m, group=32, clip="none"), model, fresh) for m in (model, outcome.model)
    )
    assert left < 0.5 * lost


def test_inputs_of_one_size_stay():
    b = Builder(3, opset=21)
    x = b.input("x", ["N", 64])
    x = b.node(
        "LayerNormalization", [x, b.constant(np.ones(64)), b.constant(np.zeros(64))], axis=-1
    )
    model = b.build({b.node("MatMul", [x, b.random(64, 24)]): None}, ir_version=10)
    outcome = scaled(model)
    before, fresh = in_blocks(model, group=32), inputs(99)
    after = in_blocks(outcome.model, group=32)
    assert error(after, model, fresh) <= 1.02 * error(before, model, fresh)


def test_a_tensor_that_others_read_is_left_and_told():
    outcome = scaled(loud(residual=True))
    assert not outcome.changed
    assert "others read the tensor too" in outcome.notes[0].message
    model = loud(residual=True)
    added = scaled(model, insert=True)
    assert len(operators(added.model)) == len(operators(model)) + 1
    assert [note.message for note in added.notes if "scaled with alpha" in note.message]


def test_little_memory_takes_more_runs_and_gives_the_same(monkeypatch):
    from edgecompile.passes.quantize import awq

    model = loud()
    once = scaled(model).model
    monkeypatch.setattr(awq, "moments_bytes", lambda rows: 10**12)
    assert scaled(model).model.digest == once.digest


def test_scales_follow_the_size_of_inputs():
    size = np.array([1.0, 4.0, 0.0, 16.0])
    found = powers(size, 0.5)
    assert found[2] == 1
    assert np.allclose(found[3] / found[0], 4) and np.allclose(found[1] / found[0], 2)
    assert np.allclose(powers(size, 0.0), 1)


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_batches_keep_order(limit):
    made = list(batches([3, 4, 9, 1, 1], int, limit))
    assert [item for batch in made for item in batch] == [3, 4, 9, 1, 1]
    assert all(sum(batch) <= limit or len(batch) == 1 for batch in made)
