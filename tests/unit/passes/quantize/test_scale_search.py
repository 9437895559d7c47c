"""Scales of least output error: the arithmetic, and what must follow a new scale."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.ir.facts import constant_array
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.scale_search import search_scale, unclipped
from edgecompile.passes.quantize.second_order import Lattice, output_error
from edgecompile.passes.quantize.seq_mse import SeqMse
from tests.support.models import node_of
from tests.support.quantized import target
from tests.support.rounding import conv, correlated, per_channel, stored

SHARES = np.linspace(1, 0.3, 29).tolist()


def problem(seed: int = 0, blocks: int = 1):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 32)) + 0.1 * rng.normal(size=(500, 32))
    moments = (rows.T @ rows / 500).astype(np.float32)[None]
    weights = rng.standard_t(3, size=(1, 5, 32)).astype(np.float32)
    scale = np.abs(weights).reshape(1, 5, blocks, -1).max(axis=3) / 7
    wide = np.repeat(scale, 32 // blocks, axis=2)
    return weights, moments, scale, Lattice(scale=wide, low=np.float32(-7), high=np.float32(7))


def lost(weights, moments, scale):
    wide = np.repeat(scale, weights.shape[2] // scale.shape[2], axis=2)
    steps = np.clip(np.rint(weights / wide), -7, 7)
    return output_error(steps * wide - weights, moments)


def searched(weights, moments, scale, lattice, *, shared=False, rounds=3):
    return search_scale(
        weights, moments, lattice, scale, scale, shares=SHARES, shared=shared, rounds=rounds
    )


def test_one_scale_per_channel_is_the_best_of_all_shares():
    weights, moments, scale, lattice = problem()
    found = searched(weights, moments, scale, lattice)
    every = np.stack([lost(weights, moments, scale * np.float32(s)) for s in SHARES])
    assert np.allclose(lost(weights, moments, found), every.min(axis=0), rtol=1e-5)


@pytest.mark.parametrize("blocks", [2, 8])
def test_blocks_never_get_worse_and_feel_each_other(blocks):
    for seed in range(6):
        weights, moments, scale, lattice = problem(seed, blocks)
        once = searched(weights, moments, scale, lattice, rounds=1)
        more = searched(weights, moments, scale, lattice, rounds=4)
        before, after, last = (lost(weights, moments, s) for s in (scale, once, more))
        assert (after <= before * (1 + 1e-4)).all() and (last <= after * (1 + 1e-4)).all()
        assert after.sum() < 0.8 * before.sum()


def test_a_shared_scale_stays_one():
    weights, moments, scale, lattice = problem()
    one = np.full_like(scale, scale.max())
    found = searched(weights, moments, one, lattice, shared=True)
    assert len(np.unique(found)) == 1
    assert lost(weights, moments, found).sum() < lost(weights, moments, one).sum()


def test_without_clipping_every_weight_is_in_range():
    weights, _, scale, lattice = problem(blocks=4)
    assert np.allclose(unclipped(weights, lattice, scale / 3), scale, rtol=1e-6)
    uneven = Lattice(scale=lattice.scale, low=np.float32(0), high=np.float32(15))
    found = np.repeat(unclipped(weights, uneven, scale), 8, axis=2)
    assert (weights / found).max() <= 15 * (1 + 1e-6)
    nothing = unclipped(np.zeros_like(weights), lattice, scale)
    assert np.array_equal(nothing, scale)


def test_powers_of_two_stay_powers_of_two():
    model = conv()
    before = per_channel(model, clip="none")
    for node in before.graph.graph:
        if node.op_type == "DequantizeLinear":
            scale = constant_array(node.inputs[1])
            wide = np.exp2(np.ceil(np.log2(scale))).astype(np.float32)
            node.inputs[1].const_value = ir.tensor(wide, name=node.inputs[1].name)
    where = Context(
        target=target(power_of_two_scales=True), data=correlated(model), reference=model
    )
    after = SeqMse().run(before, where).model
    scale = stored(after, model).scale
    assert np.array_equal(np.log2(scale), np.rint(np.log2(scale)))
    assert not np.array_equal(scale, stored(before, model).scale)


def test_an_integer_bias_follows_its_weights():
    model = conv()
    before = per_channel(model, clip="none")
    node = node_of(before, "Conv")
    graph = before.graph.graph
    bias = np.linspace(-2, 2, 8).astype(np.float32)
    scale = (stored(before, model).scale.reshape(-1) * np.float32(0.01)).astype(np.float32)
    values = []
    for name, array in (("b", np.rint(bias / scale).astype(np.int32)), ("s", scale)):
        value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        graph.register_initializer(value)
        values.append(value)
    restored = ir.node("DequantizeLinear", values, attributes={"axis": 0}, name="bias")
    restored.outputs[0].name = "bias_dequantized"
    graph.insert_before(node, restored)
    node.resize_inputs(3)
    node.replace_input_with(2, restored.outputs[0])
    where = Context(target=target(), data=correlated(model), reference=model)
    after = SeqMse().run(before, where).model
    moved = stored(after, model).scale.reshape(-1) / stored(before, model).scale.reshape(-1)
    assert moved.min() < 0.95
    source = node_of(after, "Conv").inputs[2].producer()
    integers, grown = (constant_array(value) for value in source.inputs)
    assert integers.dtype == np.int32
    assert np.allclose(grown, scale * moved, rtol=1e-5)
    assert np.allclose(integers * grown, bias, atol=float(scale.max()))
