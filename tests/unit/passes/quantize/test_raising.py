"""Layers in float within a graph that is integers from input to output: units stay whole."""

import dataclasses
from importlib.util import find_spec
from itertools import combinations

import numpy as np
import pytest

from edgecompile.calibration.session import run_session
from edgecompile.diagnostics import EdgecompileError
from edgecompile.emitters.qnn_dlc import QnnDlc
from edgecompile.ir.facts import op_census
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.calibrate import Calibrate
from edgecompile.passes.quantize.keep_precision import KeepPrecision
from edgecompile.passes.quantize.layers import pair
from edgecompile.passes.quantize.precision import PrecisionBudget
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.passes.quantize.raising import raise_layers
from edgecompile.targets.catalogue import load_target
from edgecompile.vendor.qnn.dlc import describe_dlc
from tests.support.data import npz_for
from tests.support.hard import chain
from tests.support.models import Builder, assert_same

DSP = load_target("rb5")


@pytest.fixture
def prepare(tmp_path):
    """Float model -> quantized for a DSP, and what a later pass is given."""

    def prepared(model):
        data = npz_for(model, tmp_path / "data.npz", samples=8)
        where = dataclasses.replace(Context(target=DSP), data=data, reference=model)
        ranges = Calibrate(method="minmax").run(model, where).ranges
        where = dataclasses.replace(where, ranges=ranges)
        return QuantizeStatic().run(model, where).model, where

    return prepared


def forked():
    """A fused activation, a carrier, two readers, and outputs of the graph that are read on."""
    b = Builder(2)
    first = b.node("Relu", [b.conv(b.input("x", [1, 4, 6, 6]), 4, 4)])
    pooled = b.node("MaxPool", [first], kernel_shape=[2, 2], strides=[2, 2])
    left, right = b.conv(pooled, 4, 4), b.conv(pooled, 4, 4)
    last = b.node("Relu", [b.conv(b.node("Add", [left, right]), 4, 4)])
    return b.build({left: [1, 4, 3, 3], last: [1, 4, 3, 3]})


def torn(model):
    """Operators with weights in integers whose output, after a Relu, is not just a pair's."""
    found = []
    for node in model.graph.graph:
        stored = node.op_type == "Conv" and node.inputs[1].producer() is not None
        value = node.outputs[0]
        readers = [use.node for use in value.uses()]
        if len(readers) == 1 and readers[0].op_type == "Relu":
            value = readers[0].outputs[0]
            readers = [use.node for use in value.uses()]
        whole = readers and {n.op_type for n in readers} == {"QuantizeLinear"}
        read = node.inputs[0].producer()
        in_integers = read is not None and read.op_type == "DequantizeLinear"
        if stored and not (in_integers and whole and not value.is_graph_output()):
            found.append(node.name)
    return found


@pytest.mark.parametrize("build", [chain, forked], ids=["chain", "forked"])
def test_an_operator_that_stays_in_integers_keeps_its_pairs(prepare, build):
    model = build()
    quantized, where = prepare(model)
    assert torn(quantized) == []
    pairing = pair(quantized, model)
    layers = pairing.layers
    for some in (*combinations(layers, 1), *combinations(layers, 2)):
        names = [layer.name for layer in some]
        raised = raise_layers(quantized, some[::-1], pairing, DSP.quantization)
        assert torn(raised) == [], names
        run_session(raised).run(where.data[0].feeds)
    assert_same(raise_layers(quantized, layers, pairing, DSP.quantization), model)


def test_a_layer_in_float_reads_what_the_kernel_before_it_writes(prepare):
    model = forked()
    quantized, _ = prepare(model)
    pairing = pair(quantized, model)
    left = next(
        layer for layer in pairing.layers if layer.output == model.graph.graph.outputs[0].name
    )
    raised = raise_layers(quantized, [left], pairing, DSP.quantization)
    assert op_census(raised)["MaxPool"] == 1
    node = next(n for n in raised.graph.graph if n.outputs[0].name == left.output)
    assert node.op_type == "Conv"
    assert node.inputs[0].producer().op_type == "DequantizeLinear"
    assert node.inputs[1].producer() is None
    assert node.outputs[0].is_graph_output()
    (reader,) = (use.node for use in node.outputs[0].uses())
    assert reader.op_type == "QuantizeLinear"  # for the sum, which stays in integers


def test_the_budget_is_held_against_what_is_built(prepare):
    model = chain()
    quantized, where = prepare(model)
    budget = PrecisionBudget(metric="sqnr_db", at_least=25.0)
    outcome = KeepPrecision(budget=budget, fallback="fp32").run(quantized, where)
    assert outcome.changed
    assert torn(outcome.model) == []
    assert op_census(outcome.model)["QuantizeLinear"] > 0
    got, want = run_session(outcome.model, exact=True), run_session(model)
    errors, signals = [], []
    for sample in where.data:
        (a,), (b,) = got.run(sample.feeds).values(), want.run(sample.feeds).values()
        errors.append(np.sum((a - b) ** 2))
        signals.append(np.sum(b**2))
    assert 10 * np.log10(sum(signals) / sum(errors)) >= 25.0 - 0.01


@pytest.mark.skipif(find_spec("onnxruntime_qnn") is None, reason="needs onnxruntime-qnn")
def test_qualcomms_compiler_takes_what_is_left(prepare, tmp_path):
    model = forked()
    quantized, _ = prepare(model)
    pairing = pair(quantized, model)
    raised = raise_layers(quantized, pairing.layers[1:2], pairing, DSP.quantization)
    made = QnnDlc().emit(raised, DSP, tmp_path, None)
    (graph,) = describe_dlc((tmp_path / made.path).read_bytes())["graphs"]
    assert [o["op"] for o in graph["operators"]].count("Conv2d") == 4
    with pytest.raises(EdgecompileError) as caught:  # without its pair, the layer before is torn
        QnnDlc().emit(raise_layers(quantized, pairing.layers[1:2], pairing), DSP, tmp_path, None)
    assert caught.value.diagnostics[0].code == "EC-627"
