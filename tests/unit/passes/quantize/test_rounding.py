"""All passes that round weights anew: each must help where it can, and harm nowhere."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.ir import to_bytes
from edgecompile.passes.base import NoteBook
from edgecompile.passes.quantize.adaround import Adaround
from edgecompile.passes.quantize.gptq import Gptq
from edgecompile.passes.quantize.seq_mse import SeqMse
from edgecompile.passes.quantize.stored_weight import stored_weights
from tests.support.models import Builder
from tests.support.rounding import (
    conv,
    correlated,
    error,
    gemm,
    improve,
    in_blocks,
    matmul,
    per_channel,
    stored,
    types,
    white,
)

PASSES = {"gptq": Gptq, "adaround": Adaround, "seq_mse": SeqMse}
GAIN = {"gptq": 0.5, "adaround": 0.5, "seq_mse": 0.8}
"""Share of the error that may be left on inputs that were not seen."""
FORMS = {
    "conv": (conv, per_channel),
    "depthwise": (lambda: conv(group=8), per_channel),
    "gemm": (gemm, per_channel),
    "blocks": (matmul, in_blocks),
    "symmetric blocks": (matmul, lambda m: in_blocks(m, symmetric=True)),
    "MatMulNBits": (matmul, lambda m: in_blocks(m, nbits=True)),
    "symmetric MatMulNBits": (matmul, lambda m: in_blocks(m, nbits=True, symmetric=True)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PASSES)
def test_in_4_bits_it_helps_on_inputs_that_it_has_not_seen(name, form):
    build, quantize = FORMS[form]
    model = build()
    before = quantize(model)
    assert types(before) & {ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.UINT8}
    outcome = improve(PASSES[name](), before, model, correlated(model))
    fresh = correlated(model, seed=1)
    lost, left = error(before, model, fresh), error(outcome.model, model, fresh)
    assert outcome.changed
    assert left < GAIN[name] * lost
    assert types(outcome.model) == types(before)


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("form", ["conv", "blocks"])
def test_without_correlations_it_does_no_harm(name, form):
    build, quantize = FORMS[form]
    model = build()
    before = quantize(model)
    after = improve(PASSES[name](), before, model, white(model)).model
    fresh = white(model, seed=500)
    assert error(after, model, fresh) <= 1.01 * error(before, model, fresh)


@pytest.mark.parametrize("name", PASSES)
def test_weights_on_the_grid_already_stay(name):
    model = gemm()
    grid = per_channel(model, clip="none")
    (layer,) = stored_weights(grid, model, NoteBook(), largest_inputs=99)
    exact = layer.steps() * layer.spread(layer.scale)
    perfect = model.clone()
    value = next(n for n in perfect.graph.graph if n.op_type == "Gemm").inputs[1]
    value.const_value = ir.tensor(layer.rows.restored(exact).copy(), name=value.name)
    before = per_channel(perfect, clip="none")
    outcome = improve(PASSES[name](), before, perfect, correlated(model))
    assert not outcome.changed
    assert error(before, perfect, correlated(model, seed=1)) < 1e-12


@pytest.mark.parametrize("name", PASSES)
def test_it_is_deterministic_and_memory_does_not_change_it(name):
    model = conv()
    before, data = per_channel(model), correlated(model)
    made = [improve(PASSES[name](**o), before, model, data) for o in ({}, {}, {"memory_mb": 16})]
    assert len({to_bytes(outcome.model) for outcome in made}) == 1


@pytest.mark.parametrize("name", PASSES)
def test_damping_by_hand(name):
    model = gemm()
    before, data = per_channel(model), correlated(model)
    after = improve(PASSES[name](damping=0.01), before, model, data).model
    fresh = correlated(model, seed=1)
    assert error(after, model, fresh) < GAIN[name] * error(before, model, fresh)


def test_learned_rounding_alone_goes_up_or_down_only():
    model = conv()
    before = per_channel(model, clip="none")
    old = stored(before, model)
    after = improve(Adaround(sweeps=0), before, model, correlated(model)).model
    found = stored(after, model)
    real = old.floats() / old.spread(old.scale)
    assert np.abs(found.steps() - real).max() < 1 + 1e-3
    assert np.array_equal(old.scale, found.scale)
    fresh = correlated(model, seed=1)
    assert error(after, model, fresh) < 0.7 * error(before, model, fresh)


@pytest.mark.parametrize("step", [Gptq, Adaround])
def test_rounding_goes_on_where_scales_were_chosen(step):
    model = matmul()
    before, data, fresh = in_blocks(model), correlated(model), correlated(model, seed=1)
    scaled = improve(SeqMse(), before, model, data).model
    both = improve(step(), scaled, model, data).model
    assert error(both, model, fresh) < 0.5 * error(scaled, model, fresh)
    assert np.array_equal(stored(both, model).scale, stored(scaled, model).scale)


def test_the_lowest_integer_is_used_only_where_it_was():
    model = gemm()
    before = per_channel(model, clip="none")
    assert stored(before, model).integers().min() >= -7
    after = improve(Gptq(), before, model, correlated(model)).model
    assert stored(after, model).integers().min() >= -7


def test_what_cannot_be_rounded_is_told():
    b = Builder(opset=21)
    x, w = b.input("x", ["N", 4, 6, 6]), b.random(4, 4, 3, 3)
    shared = b.node("Conv", [b.node("Conv", [x, w]), w])
    y = b.node("ConvTranspose", [shared, b.random(4, 4, 2, 2)])
    model = b.build({y: None}, ir_version=10)
    outcome = improve(Gptq(), per_channel(model), model, white(model, 2))
    assert not outcome.changed
    told = sorted(note.message for note in outcome.notes)
    assert ["not a product" in told[0], "shared by several" in told[1]] == [True, True]
    outcome = improve(Gptq(largest_inputs=9), per_channel(conv()), conv(), white(conv(), 2))
    assert "more than 9 inputs" in outcome.notes[0].message


@pytest.mark.parametrize("name", PASSES)
def test_each_layer_makes_up_for_the_errors_before_it(name):
    b = Builder(seed=5, opset=21)
    x = b.input("x", ["N", 32])
    for _ in range(4):
        x = b.node("Relu", [b.gemm(x, 32, 32)])
    model = b.build({b.gemm(x, 32, 8): ["N", 8]}, ir_version=10)
    before, data, fresh = per_channel(model), correlated(model, 60), correlated(model, seed=1)
    plain, aware = (
        improve(PASSES[name](inputs=kind), before, model, data).model
        for kind in ("float", "quantized")
    )
    assert error(aware, model, fresh) < 0.9 * error(plain, model, fresh)
    assert error(aware, model, fresh) < 0.7 * error(before, model, fresh)
