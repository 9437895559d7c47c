"""`bias_correction`: means come back, whatever the layer looks like, and nothing gets worse."""

import dataclasses

import numpy as np
import pytest

from edgecompile.ir.facts import constant_array
from edgecompile.passes.quantize.bias_correction import BiasCorrection
from edgecompile.passes.quantize.calibrate import Calibrate
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.targets.catalogue import load_target
from tests.support.data import npz_for
from tests.support.models import ALL, Builder, apply, context, feeds, operators, run

NOISY = 12
"""Samples enough for means of both halves."""


def quantized(model, path, **options):
    """The quantized model, and a context that holds the data and the float model."""
    where = dataclasses.replace(context(), data=npz_for(model, path / "data.npz", samples=NOISY))
    ranges = Calibrate(**options).run(model, where).ranges
    result = QuantizeStatic().run(model, dataclasses.replace(where, ranges=ranges)).model
    return result, dataclasses.replace(where, reference=model)


def shifted(model, amount, path):
    """`model` quantized with all weights of one layer off by `amount` steps: its mean moves."""
    result, where = quantized(model, path)
    node = next(n for n in result.graph.graph if n.op_type in ("Conv", "MatMul", "Gemm"))
    stored = node.inputs[1].producer().inputs[0]
    integers = constant_array(stored)
    moved = np.clip(integers.astype(int) + amount, -127, 127).astype(np.int8)
    stored.const_value = type(stored.const_value)(moved, name=stored.name)
    return result, where


def error(model, reference):
    """Squared errors of the outputs, and the square of their means, on fresh inputs."""
    inputs = feeds(reference, batch=32, seed=123)
    pairs = zip(run(reference, inputs), run(model, inputs), strict=True)
    differences = [rough.astype(np.float64) - exact for exact, rough in pairs]
    return sum(float(np.square(d).mean()) for d in differences)


def positive(kind, *, bias=True, consumer=""):
    """A layer of `kind` whose inputs are positive, so that wrong weights shift its mean."""
    b = Builder(2)
    if kind == "Conv":
        x = b.node("Relu", [b.input("x", ["N", 4, 6, 6])])
        y = b.conv(x, 4, 5, bias=bias)
    else:
        x = b.node("Relu", [b.input("x", ["N", 4, 16])])
        y = b.node("MatMul", [x, b.random(16, 5)])
        if kind == "Gemm":
            y = b.gemm(b.node("Relu", [b.input("z", ["N", 16])]), 16, 5)
            return b.build({y: ["N", 5]})
        if bias:
            y = b.node("Add", [b.random(5), y])
    if consumer:
        y = b.node(consumer, [y])
    return b.build({y: None})


@pytest.mark.parametrize(
    "model",
    [
        positive("Conv"),
        positive("Conv", bias=False),
        positive("MatMul"),
        positive("MatMul", bias=False, consumer="Tanh"),
        positive("Gemm"),
    ],
    ids=["conv", "conv without bias", "matmul and add", "matmul alone", "gemm"],
)
def test_a_shifted_mean_comes_back(model, tmp_path):
    rough, where = shifted(model, 6, tmp_path)
    outcome = BiasCorrection().run(rough, where)
    assert outcome.changed
    assert outcome.model.digest != rough.digest
    assert error(outcome.model, model) < error(rough, model) / 3


def test_a_matmul_without_a_bias_gets_an_add(tmp_path):
    rough, where = shifted(positive("MatMul", bias=False, consumer="Tanh"), 6, tmp_path)
    after = BiasCorrection().run(rough, where).model
    assert operators(after)[-3:] == ["MatMul", "Add", "Tanh"]


def test_a_matmul_that_is_a_graph_output_has_no_room_for_a_bias(tmp_path):
    rough, where = shifted(positive("MatMul", bias=False), 6, tmp_path)
    assert not BiasCorrection().run(rough, where).changed


@pytest.mark.parametrize("groups", [1, 3, 50])
@pytest.mark.parametrize("name", sorted(set(ALL) - {"lstm", "branches"}))
def test_nothing_gets_worse_on_the_samples(name, groups, tmp_path):
    model = ALL[name]()
    rough, where = quantized(model, tmp_path)
    outcome = BiasCorrection(groups=groups, samples=NOISY).run(rough, where)
    assert outcome.changed == (outcome.model.digest != rough.digest)
    total = [0.0, 0.0]
    for sample in where.data:
        exact = run(model, sample.feeds)
        for i, other in enumerate((rough, outcome.model)):
            (got,), (want,) = run(other, sample.feeds), exact
            total[i] += float(np.square(got - want).sum() / np.square(want).sum())
    assert total[1] <= total[0] * (1 + 1e-6)


def test_a_float_model_has_nothing_to_correct(tmp_path):
    model = ALL["conv_bn_relu"]()
    data = npz_for(model, tmp_path / "data.npz")
    apply(BiasCorrection(), model, dataclasses.replace(context(), data=data, reference=model))


def test_noise_is_not_taken_for_a_shift(tmp_path):
    """Two samples whose errors differ in sign: neither half believes the other."""
    model = positive("Conv")
    rough, where = quantized(model, tmp_path)
    outcome = BiasCorrection(samples=2).run(rough, where)
    assert error(outcome.model, model) < 1.3 * error(rough, model)


def test_a_bias_in_integers_is_shifted_and_stays_in_integers(tmp_path):
    style = load_target("snapdragon-8-gen2").quantization
    model = positive("Conv", consumer="Tanh")
    data = npz_for(model, tmp_path / "data.npz", samples=NOISY)
    where = dataclasses.replace(context(quantization=style), data=data)
    ranges = Calibrate().run(model, where).ranges
    rough = QuantizeStatic().run(model, dataclasses.replace(where, ranges=ranges)).model
    node = next(n for n in rough.graph.graph if n.op_type == "Conv")
    stored = node.inputs[2].producer().inputs[0]
    before = constant_array(stored).copy()
    moved = (before + (np.abs(before).max() + 1)).astype(np.int32)
    stored.const_value = type(stored.const_value)(moved, name=stored.name)
    outcome = BiasCorrection().run(rough, dataclasses.replace(where, reference=model))
    assert outcome.changed
    assert operators(outcome.model) == operators(rough)
    after = next(n for n in outcome.model.graph.graph if n.op_type == "Conv")
    integers = constant_array(after.inputs[2].producer().inputs[0])
    assert integers.dtype == np.int32
    assert np.abs(integers - before).sum() < np.abs(moved - before).sum() / 4


def test_no_sum_in_float_is_put_behind_a_product_that_is_rounded(tmp_path):
    style = load_target("snapdragon-8-gen2").quantization
    model = positive("MatMul", bias=False, consumer="Tanh")
    where = dataclasses.replace(
        context(quantization=style), data=npz_for(model, tmp_path / "d.npz", samples=NOISY)
    )
    ranges = Calibrate().run(model, where).ranges
    rough = QuantizeStatic().run(model, dataclasses.replace(where, ranges=ranges)).model
    assert not BiasCorrection().run(rough, dataclasses.replace(where, reference=model)).changed


def test_models_whose_inferences_cost_too_much_are_left_alone(tmp_path):
    model = positive("Conv")  # 4 * 5 * 9 products at each of 36 places
    off, where = shifted(model, 6, tmp_path)
    assert not BiasCorrection(largest_macs=6479).run(off, where).changed
    assert BiasCorrection(largest_macs=6480).run(off, where).changed


def test_a_small_gain_is_none_where_a_clear_one_is_asked_for(tmp_path):
    off, where = shifted(positive("Conv"), 6, tmp_path)
    assert BiasCorrection(clear=0.8).run(off, where).changed
    assert not BiasCorrection(clear=1e-9).run(off, where).changed
