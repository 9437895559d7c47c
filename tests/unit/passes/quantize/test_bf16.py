"""`cast_bf16`: what goes to bfloat16, what may not, and that the outputs stay."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest

from edgecompile.calibration.session import run_session
from edgecompile.ir import to_bytes
from edgecompile.ir.facts import input_specs, op_census, output_specs
from edgecompile.ir.shapes import infer
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.cast_bf16 import CastBf16
from edgecompile.targets.catalogue import load_target
from edgecompile.verify.compare import compare
from tests.support.models import ALL, Builder, attention, feeds, run

XEON = load_target("intel-xeon-dlboost")
CONTEXT = Context(target=XEON)


def cast(model, **options):
    model = infer(model)
    step = CastBf16(**options)
    assert step.requires(model, CONTEXT) == []
    before = model.digest
    outcome = step.run(model, CONTEXT)
    assert outcome.changed == (outcome.model.digest != before)
    assert model.digest == before
    return outcome


def kept(outcome):
    return {note.op_type: note.message for note in outcome.notes if note.kept_float}


def convolution(opset=22):
    b = Builder(opset=opset)
    x = b.node("Relu", [b.conv(b.input("x", ["N", 3, 8, 8]), 3, 8)])
    return b.build({b.node("Sigmoid", [b.conv(x, 8, 4)]): None}, ir_version=10)


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_small_model_keeps_its_outputs(name):
    model = ALL[name]()
    outcome = cast(model)
    inputs = feeds(model, batch=3)
    found = list(run_session(outcome.model).run(inputs).values())
    for reference, actual in zip(run(model, inputs), found, strict=True):
        assert actual.dtype == reference.dtype
        (figures,) = compare({"y": [reference]}, {"y": [actual]}).values()
        assert figures.sqnr_db > 30
        assert figures.cosine > 0.999


def test_convolutions_need_opset_22():
    after = cast(convolution())
    assert not kept(after)
    assert op_census(after.model)["Cast"] == 2
    assert input_specs(after.model) == input_specs(infer(convolution()))
    assert output_specs(after.model) == output_specs(infer(convolution()))
    assert len(to_bytes(after.model)) < len(to_bytes(convolution()))
    assert "no bfloat16 form in opset 17" in kept(cast(convolution(17)))["Conv"]


def test_it_is_valid_onnx_and_computes_what_the_specification_says():
    model = convolution()
    after = cast(model).model
    proto = onnx.load_from_string(to_bytes(after))
    onnx.checker.check_model(proto, full_check=True)
    b = Builder(opset=22)
    x = b.input("x", ["N", 16])
    product = b.build({b.node("MatMul", [x, b.random(16, 8)]): ["N", 8]}, ir_version=10)
    (found,) = run_session(cast(product).model).run(feeds(product)).values()
    weights = product.graph.graph.node(0).inputs[1].const_value.numpy()
    narrow = [
        a.astype(ml_dtypes.bfloat16).astype(np.float32) for a in (feeds(product)["x"], weights)
    ]
    wanted = (narrow[0] @ narrow[1]).astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_allclose(found, wanted, rtol=2**-7)
    assert np.array_equal(found, found.astype(ml_dtypes.bfloat16).astype(np.float32))


def test_statistics_sums_and_positions_stay():
    outcome = cast(attention())
    assert "Softmax" in kept(outcome)
    assert op_census(outcome.model).get("LayerNormalization", 0) == 0 or (
        "LayerNormalization" in kept(outcome)
    )
    b = Builder(opset=22)
    x = b.input("x", ["N", 512])
    places = b.node("Mul", [x, b.constant(np.arange(512.0))])
    even = b.node("Mul", [places, b.constant(np.full(512, 0.5))])
    told = cast(b.build({b.node("Cos", [even]): None}, ir_version=10))
    reasons = [note.message for note in told.notes if note.kept_float]
    assert any("whole numbers beyond 256" in reason for reason in reasons)
    assert any("angles" in reason for reason in reasons)
    assert len(reasons) == 2


def test_a_normalisation_written_out_stays_together():
    b = Builder(opset=22)
    x = b.input("x", ["N", 64])
    off = b.node("Sub", [x, b.node("ReduceMean", [x, b.constant(np.array([-1], np.int64))])])
    square = b.node("Mul", [off, off])
    mean = b.node("ReduceMean", [square, b.constant(np.array([-1], np.int64))])
    root = b.node("Sqrt", [b.node("Add", [mean, b.constant(np.float32(1e-5))])])
    model = b.build({b.node("Div", [off, root]): None}, ir_version=10)
    outcome = cast(model)
    assert {"Mul", "ReduceMean", "Sqrt", "Add"} <= set(kept(outcome))


def test_names_to_keep_and_targets_without_it():
    model = convolution()
    name = model.graph.graph.node(0).name
    assert "named in keep_float" in kept(cast(model, keep_float=(name,)))["Conv"]
    (problem,) = CastBf16(keep_float=("nothing",)).requires(infer(model), CONTEXT)
    assert "nothing" in problem.message
    assert CastBf16().unfit(XEON) == []
    assert CastBf16().unfit(load_target("intel-nuc"))


def test_twice_is_once():
    once = cast(convolution()).model
    assert not CastBf16().run(once, CONTEXT).changed
