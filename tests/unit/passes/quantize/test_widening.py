"""16 bits for chosen layers of a model that is quantized from input to output."""

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.calibration.session import run_session
from edgecompile.diagnostics import EdgecompileError
from edgecompile.ir.facts import op_census
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.calibrate import Calibrate
from edgecompile.passes.quantize.gauge import Gauge
from edgecompile.passes.quantize.keep_precision import KeepPrecision
from edgecompile.passes.quantize.layers import pair
from edgecompile.passes.quantize.precision import PrecisionBudget
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.passes.quantize.widening import can_widen, extremes, widen_layers
from edgecompile.targets.catalogue import load_target
from tests.support import deep
from tests.support.data import npz_for
from tests.support.hard import LAYERS, chain
from tests.support.models import Builder

NPU = load_target("snapdragon-8-gen3")


@pytest.fixture
def prepare(tmp_path):
    """Float model -> quantized for an NPU, and what a later pass is given."""

    def prepared(model, **options):
        data = npz_for(model, tmp_path / "data.npz", samples=8)
        where = dataclasses.replace(Context(target=NPU), data=data, reference=model)
        ranges = Calibrate(method="minmax", **options).run(model, where).ranges
        where = dataclasses.replace(where, ranges=ranges)
        return QuantizeStatic(**options).run(model, where).model, where

    return prepared


def widened(quantized, model, where, names):
    layers = [layer for layer in pair(quantized, model).layers if layer.name in names]
    seen = extremes(quantized, model, list(where.data))
    return widen_layers(quantized, layers, model, NPU.quantization, seen)


def reads(model, op_type):
    """Name -> type of the integers that each operator of this type reads first."""
    return {
        node.name: node.inputs[0].producer().inputs[0].dtype.name
        for node in model.graph.graph
        if node.op_type == op_type
    }


def writes(value):
    """Types of the pairs that stand right behind `value`."""
    uses = [use.node for use in value.uses()]
    return [n.outputs[0].dtype.name for n in uses if n.op_type == "QuantizeLinear"]


def sqnr(model, reference, where):
    session = run_session(model, exact=True)
    figures = Gauge(reference, list(where.data), None).figures(lambda s: session.run(s.feeds))
    return figures.of("sqnr_db")


def branches():
    """All that widening must mind: a carrier, a constant, a fixed range, two readers."""
    b = Builder(4)
    x = b.node("Relu", [b.conv(b.input("x", ["N", 4, 6, 6]), 4, 4)])
    left = b.node("Sigmoid", [b.conv(x, 4, 4)])
    right = b.node("Mul", [b.node("MaxPool", [x], kernel_shape=[1, 1]), b.random(1, 4, 1, 1)])
    return b.build({b.node("Add", [left, right]): ["N", 4, 6, 6]})


@pytest.mark.parametrize("build", [lambda: chain(deaf=True), branches, lambda: deep.encoder(1)])
def test_all_layers_widened_are_what_quantize_static_makes_of_16_bits(prepare, build):
    model = build()
    quantized, where = prepare(model)
    names = [node.name for node in model.graph.graph]
    got = widened(quantized, model, where, names)
    wanted, _ = prepare(model, precision=dict.fromkeys(names, "int16"))
    pairs = [n for n in got.graph.graph if n.op_type == "QuantizeLinear"]
    assert {node.outputs[0].dtype.name for node in pairs} == {"UINT16"}
    assert op_census(got) == op_census(wanted)
    for sample in where.data:
        (name,) = (value.name for value in model.graph.graph.outputs)
        left, right = (run_session(m, exact=True).run(sample.feeds)[name] for m in (got, wanted))
        np.testing.assert_array_equal(left, right)


def test_other_readers_keep_8_bits_behind_the_wide_pair(prepare):
    model = branches()
    quantized, where = prepare(model)
    before = quantized.digest
    mul = next(node for node in model.graph.graph if node.op_type == "Mul")
    got = widened(quantized, model, where, [mul.name])
    assert quantized.digest == before
    nodes = {node.name: node for node in got.graph.graph}
    first, second = (node for node in got.graph.graph if node.op_type == "Conv")
    # the Mul reads 16 bits from the convolution on, through the pooling
    assert reads(got, "Mul") == {mul.name: "UINT16"}
    assert set(reads(got, "MaxPool").values()) == {"UINT16"}
    assert reads(got, "Conv") == {first.name: "UINT16", second.name: "UINT8"}
    (relu,) = (node for node in nodes.values() if node.op_type == "Relu")
    assert writes(relu.outputs[0]) == ["UINT16"]
    converted = second.inputs[0].producer().inputs[0].producer()
    assert converted.inputs[0].producer().inputs[0].dtype is ir.DataType.UINT16
    assert reads(got, "Sigmoid") == reads(quantized, "Sigmoid")
    assert sqnr(got, model, where) >= sqnr(quantized, model, where)


def test_what_is_wide_already_stays(prepare):
    model = branches()
    (mul,) = (node.name for node in model.graph.graph if node.op_type == "Mul")
    quantized, where = prepare(model, precision={mul: "int16"})
    assert reads(quantized, "Mul") == {mul: "UINT16"}
    assert widened(quantized, model, where, [mul]).digest != quantized.digest  # its input too
    names = [node.name for node in model.graph.graph]
    everything = widened(quantized, model, where, names)
    again = widened(everything, model, where, names)
    assert again.digest == everything.digest


def test_a_layer_in_float_reads_16_bits_too(prepare):
    b = Builder(5)
    x = b.node("Erf", [b.conv(b.input("x", ["N", 4, 6, 6]), 4, 4)])
    model = b.build({b.conv(x, 4, 4): ["N", 4, 6, 6]})
    quantized, where = prepare(model)
    assert set(reads(quantized, "Erf").values()) == {"UINT8"}
    first, erf, last = (node.name for node in model.graph.graph)
    got = widened(quantized, model, where, [erf])
    assert reads(got, "Erf") == {erf: "UINT16"}
    assert reads(got, "Conv") == {first: "UINT16", last: "UINT8"}
    got = widened(quantized, model, where, [last])
    assert reads(got, "Conv") == {first: "UINT8", last: "UINT16"}
    source = next(n for n in got.graph.graph if n.op_type == "Erf").outputs[0]
    assert writes(source) == ["UINT16"]
    assert sqnr(got, model, where) >= sqnr(quantized, model, where)


def keep(model, where, at_least, **options):
    step = KeepPrecision(budget=PrecisionBudget(metric="sqnr_db", at_least=at_least), **options)
    return step.run(model, where)


def test_an_npu_gets_16_bits_for_the_layer_with_outliers(prepare):
    model = chain(deaf=True)
    quantized, where = prepare(model)
    assert sqnr(quantized, model, where) < 10
    outcome = keep(quantized, where, 20.0)
    bad = [node.name for node in model.graph.graph if node.op_type == "Conv"][3]
    types = reads(outcome.model, "Conv")
    assert types.pop(bad) == "UINT16"
    assert list(types.values()).count("UINT8") == LAYERS - 1
    found = sqnr(outcome.model, model, where)
    assert found >= 20
    summary, note = outcome.notes
    assert (
        f"-> {found:.6g} on 8 calibration samples in exact arithmetic with 1 of" in summary.message
    )
    assert "layers in int16" in summary.message
    assert (note.node, note.kept_float) == (bad, False)
    assert note.message.startswith("raised to int16 for sqnr_db>=20: gains ")


def test_float_does_it_where_16_bits_do_not(prepare):
    model = chain()  # its weights have no steps left, whatever activations have
    quantized, where = prepare(model)
    outcome = keep(quantized, where, 25.0)
    assert "layers in float" in outcome.notes[0].message
    assert sqnr(outcome.model, model, where) >= 25
    with pytest.raises(EdgecompileError, match="sqnr_db>=25") as caught:
        keep(quantized, where, 25.0, fallback="int16")
    assert caught.value.diagnostics[0].code == "EC-446"
    only = NPU.model_copy(update={"precisions": {"npu": ("int8", "int16")}})
    with pytest.raises(EdgecompileError, match="sqnr_db>=25"):
        keep(quantized, dataclasses.replace(where, target=only), 25.0)


def test_16_bits_must_be_there():
    assert KeepPrecision(fallback="int16").unfit(NPU) == []
    for target in (load_target("intel-nuc"), NPU.model_copy(update={"quantization": None})):
        assert not can_widen(target.quantization)
        assert KeepPrecision(fallback="int16").unfit(target)
