"""`cast_fp16`: what goes to half precision, what may not, and that the outputs stay."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.calibration.ranges import Range, Ranges
from edgecompile.ir import to_bytes
from edgecompile.ir.facts import input_specs, op_census, output_specs
from edgecompile.ir.shapes import infer
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.cast_fp16 import CastFp16
from edgecompile.targets.catalogue import load_target
from edgecompile.verify.compare import compare
from tests.support.models import ALL, Builder, attention, branches, feeds, lstm, run

CONTEXT = Context(target=load_target("intel-nuc"))


def cast(model, context=CONTEXT, **options):
    model = infer(model)
    step = CastFp16(**options)
    assert step.requires(model, context) == []
    return step.run(model, context)


def reasons(outcome):
    return {n.op_type: n.message for n in outcome.notes if n.kept_float}


def kinds(model):
    """Element type of the first output of each node that is no Cast."""
    return {
        node.op_type: node.outputs[0].dtype.name
        for node in model.graph.graph
        if node.op_type != "Cast"
    }


def one(*nodes, shape=("N", 8), output=None, opset=17):
    """A model of `nodes(builder, x)` on one input."""
    b = Builder(opset=opset)
    x = b.input("x", list(shape))
    for node in nodes:
        x = node(b, x)
    return b.build({x: list(output or shape)})


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_small_model_keeps_its_outputs(name):
    model = ALL[name]()
    outcome = cast(model)
    assert outcome.changed
    inputs = feeds(model, batch=3)
    before, after = run(model, inputs), run(outcome.model, inputs)
    for reference, actual in zip(before, after, strict=True):
        assert actual.dtype == reference.dtype
        (figures,) = compare({"y": [reference]}, {"y": [actual]}).values()
        assert figures.sqnr_db > 45


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("keep_io", [True, False])
def test_it_is_idempotent_and_tells_the_truth(name, keep_io):
    once = cast(ALL[name](), keep_io=keep_io)
    again = CastFp16(keep_io=keep_io).run(once.model, CONTEXT)
    assert not again.changed
    assert once.model.digest != infer(ALL[name]()).digest


def test_weights_take_half_the_bytes_and_inputs_and_outputs_stay():
    b = Builder()
    x = b.input("x", ["N", 128])
    model = b.build({b.node("MatMul", [x, b.random(128, 128)]): ["N", 128]})
    after = cast(model).model
    assert len(to_bytes(after)) < 0.55 * len(to_bytes(model))
    assert input_specs(after) == input_specs(infer(model))
    assert output_specs(after) == output_specs(infer(model))
    assert op_census(after) == {"Cast": 2, "MatMul": 1}


def test_inputs_and_outputs_can_be_half_precision_too():
    model = ALL["mlp"]()
    after = cast(model, keep_io=False).model
    assert [s.dtype for s in (*input_specs(after), *output_specs(after))] == [np.float16] * 2
    assert "Cast" not in op_census(after)
    (made,) = run(after, {"x": feeds(model)["x"].astype(np.float16)})
    assert made.dtype == np.float16


def test_a_mask_is_clipped_and_the_attention_stays_exact():
    b = Builder()
    x, keep = b.input("x", ["N", 8, 8]), b.input("keep", ["N", 1, 8])
    off = b.node("Sub", [b.constant(np.float32(1)), keep])
    mask = b.node("Mul", [off, b.constant(np.float32(-3.4028235e38), "lowest")])
    y = b.node("Softmax", [b.node("Add", [x, mask])], axis=-1)
    model = b.build({y: ["N", 8, 8]})
    outcome = cast(model)
    assert kinds(outcome.model)["Softmax"] == "FLOAT16"
    assert any(
        "'lowest': 1 of 1 numbers beyond 65504 are clipped" in n.message for n in outcome.notes
    )
    inputs = feeds(model)
    inputs["keep"] = (np.arange(8) < 5).astype(np.float32) * np.ones((2, 1, 1), np.float32)
    expected, actual = run(model, inputs)[0], run(outcome.model, inputs)[0]
    assert np.isfinite(actual).all()
    assert (actual[..., 5:] == 0).all()
    np.testing.assert_allclose(actual, expected, atol=2e-3)


def test_large_constants_that_are_no_mask_keep_their_node_in_float():
    model = one(
        lambda b, x: b.node("Mul", [x, b.constant(np.float32(1e6))]),
        lambda b, x: b.node("Mul", [x, b.constant(np.float32(1e-6))]),
        lambda b, x: b.node("Relu", [x]),
    )
    outcome = cast(model)
    assert kinds(outcome.model) == {"Mul": "FLOAT", "Relu": "FLOAT16"}
    inputs = feeds(model)
    np.testing.assert_allclose(run(outcome.model, inputs)[0], run(model, inputs)[0], atol=2e-3)


def test_a_normalisation_written_out_in_parts_stays_together():
    def normalise(b, x):
        mean = b.node("ReduceMean", [x], axes=[-1])
        centred = b.node("Sub", [x, mean])
        square = b.node("Pow", [centred, b.constant(np.float32(2))])
        spread = b.node("ReduceMean", [square], axes=[-1])
        padded = b.node("Add", [spread, b.constant(np.float32(1e-12))])
        return b.node("Div", [centred, b.node("Sqrt", [padded])])

    model = one(normalise, lambda b, x: b.linear(x, 8, 8))
    outcome = cast(model)
    found = reasons(outcome)
    assert found["Pow"] == "it may overflow half precision"
    assert "0 in half precision" in found["Add"]
    assert "normalisation" in found["Sqrt"]
    assert kinds(outcome.model)["MatMul"] == "FLOAT16"
    zeros = {"x": np.zeros((2, 8), np.float32)}
    assert np.isfinite(run(outcome.model, zeros)[0]).all()
    large = {"x": 300 * feeds(model)["x"]}
    np.testing.assert_allclose(run(outcome.model, large)[0], run(model, large)[0], atol=0.02)


def test_a_tiny_epsilon_keeps_a_layer_normalisation_in_float():
    def build(epsilon):
        return one(
            lambda b, x: b.node(
                "LayerNormalization", [x, b.random(8, positive=True)], axis=-1, epsilon=epsilon
            ),
            lambda b, x: b.node("Relu", [x]),
        )

    assert "epsilon 1e-12" in reasons(cast(build(1e-12)))["LayerNormalization"]
    assert reasons(cast(build(1e-5))) == {}


def test_large_and_unknown_sums_stay_in_float():
    def total(shape):
        return one(
            lambda b, x: b.node("Relu", [b.node("ReduceSum", [x, b.constant(np.array([1]))])]),
            shape=shape,
            output=("N", 1),
        )

    assert reasons(cast(total(("N", 64)))) == {}
    assert reasons(cast(total(("N", 5000))))["ReduceSum"] == "it sums 5000 numbers"
    assert "unknown number" in reasons(cast(total(("N", "L"))))["ReduceSum"]


def test_angles_and_operators_without_half_precision_stay():
    model = one(lambda b, x: b.node("Sin", [b.node("Relu", [x])]))
    assert reasons(cast(model)) == {"Sin": "angles lose their precision"}
    quantized = one(
        lambda b, x: b.node("QuantizeLinear", [x, b.constant(np.float32(0.1))]),
        lambda b, x: b.node("DequantizeLinear", [x, b.constant(np.float32(0.1))]),
        lambda b, x: b.node("Relu", [x]),
    )
    found = reasons(cast(quantized))
    assert set(found) == {"QuantizeLinear", "DequantizeLinear"}


def test_weights_below_the_normal_range_stay_when_too_much_would_be_lost():
    def build(size):
        return one(
            lambda b, x: b.node("MatMul", [x, b.constant(b.rng.normal(size=(8, 8)) * size)]),
            lambda b, x: b.node("Relu", [x]),
        )

    assert "would keep only" in reasons(cast(build(1e-8)))["MatMul"]
    some = cast(build(3e-5))
    assert reasons(some) == {}
    assert any("below 2^-14" in note.message for note in some.notes)


def test_what_a_subgraph_reads_stays_in_float():
    outcome = cast(branches())
    assert reasons(outcome) == {}
    assert kinds(outcome.model) == {"Relu": "FLOAT16", "If": "FLOAT"}


def test_measured_ranges_overrule_guesses():
    model = one(
        lambda b, x: b.node("Exp", [x]),
        lambda b, x: b.node("Relu", [x]),
    )
    names = [node.outputs[0].name for node in model.graph.graph]

    def ranges(top):
        span = Range(min=0, max=top, observed_min=0, observed_max=top)
        return Ranges(
            tensors=dict.fromkeys(names, span), method="minmax", samples=1, data_sha256="0"
        )

    small, large = (
        cast(model, Context(target=CONTEXT.target, ranges=ranges(top))) for top in (100.0, 1e5)
    )
    assert reasons(cast(model)) == {"Exp": "it may overflow half precision"}
    assert reasons(small) == {}
    assert "reaches 100000" in reasons(large)["Exp"]
    assert "reaches 100000" in reasons(large)["Relu"]


def test_keep_float_is_honoured_and_checked():
    model = infer(lstm())
    outcome = CastFp16(keep_float=(model.graph.graph[0].name,)).run(model, CONTEXT)
    assert reasons(outcome) == {"LSTM": "named in keep_float"}
    found = CastFp16(keep_float=("lsmt",)).requires(model, CONTEXT)
    assert [d.code for d in found] == ["EC-444"]


def test_unknown_types_are_refused():
    model = infer(ALL["mlp"]())
    model.graph.graph[0].outputs[0].type = None
    assert [d.code for d in CastFp16().requires(model, CONTEXT)] == ["EC-485"]


def test_a_target_that_computes_in_float32_only_refuses():
    def reasons_of(units):
        return CastFp16().unfit(CONTEXT.target.model_copy(update={"precisions": units}))

    assert reasons_of({"cpu": ("int8", "fp32")}) == ["no compute unit of the target lists fp16"]
    assert reasons_of({"cpu": ("fp32",), "gpu": ("fp16", "fp32")}) == []


def test_two_runs_give_the_same_bytes():
    assert cast(attention()).model.digest == cast(attention()).model.digest
