"""`smooth_quant`: the float model stays, outliers go, and nothing is scaled for nothing."""

import dataclasses

import numpy as np
import pytest

from edgecompile.ir.facts import constant_array
from edgecompile.passes.quantize.calibrate import Calibrate
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.passes.quantize.smooth_quant import SmoothQuant
from edgecompile.passes.quantize.smoothing import scales_of
from tests.support.data import npz_for
from tests.support.models import (
    ALL,
    Builder,
    assert_same,
    context,
    depthwise,
    feeds,
    node_of,
    operators,
    run,
)

EVERY = ("MatMul", "Gemm", "Conv")


def outliers(spread: float = 60.0, *, residual: bool = False, users: int = 2):
    """LayerNormalization with a few loud channels, before `users` linear layers: `[N, 4, 8]`."""
    b = Builder(3)
    x = b.input("x", ["N", 4, 32])
    loud = np.ones(32)
    loud[[3, 17]] = spread
    x = b.node("LayerNormalization", [x, b.constant(loud), b.random(32)], axis=-1)
    y = b.linear(x, 32, 32)
    for _ in range(users - 1):
        y = b.node("Add", [y, b.linear(x, 32, 32)])
    if residual:
        y = b.node("Add", [x, y])
    return b.build({y: ["N", 4, 32]})


def smooth(model, tmp_path, **options):
    """The outcome, held to the contract of a float pass."""
    where = dataclasses.replace(context(), data=npz_for(model, tmp_path / "data.npz"))
    before = model.digest
    outcome = SmoothQuant(**options).run(model, where)
    assert outcome.changed == (outcome.model.digest != before)
    assert_same(model, outcome.model)
    return outcome


def quantized_error(model, reference, tmp_path):
    """Relative squared error of the quantized model on other inputs than it was calibrated on."""
    where = dataclasses.replace(context(), data=npz_for(model, tmp_path / "data.npz", samples=12))
    found = Calibrate().run(model, where)
    quantized = QuantizeStatic().run(model, dataclasses.replace(where, ranges=found.ranges)).model
    inputs = feeds(reference, batch=16, seed=99)
    (exact,), (rough,) = run(reference, inputs), run(quantized, inputs)
    return float(np.square(rough - exact).sum() / np.square(exact).sum())


def test_outliers_fold_into_the_normalization_and_quantize_better(tmp_path):
    model = outliers()
    outcome = smooth(model, tmp_path)
    assert operators(outcome.model) == operators(model)
    before = quantized_error(model, model, tmp_path)
    assert quantized_error(outcome.model, model, tmp_path) < before / 4


def test_layers_that_share_an_input_get_one_scale(tmp_path):
    model = outliers(users=3)
    after = smooth(model, tmp_path).model
    pairs = zip(
        *([n for n in m.graph.graph if n.op_type == "MatMul"] for m in (model, after)), strict=True
    )
    ratios = [constant_array(b.inputs[1]) / constant_array(a.inputs[1]) for a, b in pairs]
    for ratio in ratios:
        np.testing.assert_allclose(ratio, ratios[0][:, :1] * np.ones(32), rtol=1e-5)


def test_a_tensor_that_others_read_is_left_alone_unless_a_multiplication_may_be_added(tmp_path):
    model = outliers(residual=True)
    left = smooth(model, tmp_path)
    assert not left.changed
    assert any("others read the tensor" in note.message for note in left.notes)
    added = smooth(model, tmp_path, insert=EVERY).model
    assert operators(added).count("Mul") == 1
    assert quantized_error(added, model, tmp_path) < quantized_error(model, model, tmp_path) / 4


def test_even_channels_are_not_harmed(tmp_path):
    model = outliers(spread=1.0)
    after = smooth(model, tmp_path, gain=1.0).model
    before = quantized_error(model, model, tmp_path)
    assert quantized_error(after, model, tmp_path) < 1.1 * before
    assert not smooth(model, tmp_path, gain=2.0).changed


def test_the_input_of_a_depthwise_convolution(tmp_path):
    """Its weights have a scale per channel, so its activations may too, for nothing."""
    b = Builder(5)
    sizes = np.logspace(1, -1.5, 6)
    x = b.input("x", ["N", 3, 8, 8])
    first = b.rng.normal(size=(6, 3, 1, 1)) * sizes.reshape(6, 1, 1, 1)
    x = b.node("HardSwish", [b.node("Conv", [x, b.constant(first)])])
    x = b.node("Add", [b.node("Mul", [x, b.constant(np.float32(1.5))]), b.constant(np.zeros(1))])
    weights = b.rng.normal(size=(6, 1, 3, 3)) / sizes.reshape(6, 1, 1, 1)
    model = b.build({b.node("Conv", [x, b.constant(weights)], group=6): ["N", 6, 6, 6]})
    after = smooth(model, tmp_path, operators=EVERY).model
    assert operators(after) == operators(model)
    before = quantized_error(model, model, tmp_path)
    assert quantized_error(after, model, tmp_path) < before / 20


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("insert", [(), EVERY])
def test_any_scales_keep_the_float_model(name, insert, tmp_path):
    model = ALL[name]()
    smooth(model, tmp_path, operators=EVERY, alpha=0.5, gain=1.0, insert=insert)


def test_clips_do_not_let_scales_pass(tmp_path):
    outcome = smooth(depthwise(), tmp_path, operators=EVERY, alpha=1.0, gain=1.0)
    assert not outcome.changed


def test_scales_of_channels_that_are_zero():
    found = scales_of(np.array([0.0, 4.0, 1.0]), np.array([1.0, 1.0, 0.0]), (0.5, 0.5))
    assert found.tolist() == [1.0, 1.0, 1.0]
    found = scales_of(np.array([4.0, 1.0]), np.array([1.0, 1.0]), (0.5, 0.5))
    np.testing.assert_allclose(found, [2**0.5, 0.5**0.5])


def test_a_plain_multiplication_takes_the_scale_in(tmp_path):
    b = Builder(1)
    x = b.node("Mul", [b.input("x", ["N", 4, 16]), b.constant(np.logspace(-2, 2, 16))])
    model = b.build({b.linear(x, 16, 8): ["N", 4, 8]})
    after = smooth(model, tmp_path).model
    assert operators(after) == operators(model)
    assert not np.allclose(
        constant_array(node_of(after, "Mul").inputs[1]),
        constant_array(node_of(model, "Mul").inputs[1]),
    )


def test_with_one_scale_per_tensor_no_layer_takes_scales_in(tmp_path):
    """Its rows would share a scale with those that grew; a product with constants has none."""

    def chain(between):
        b = Builder(5)
        uneven = np.where(np.arange(16) % 5, 1.0, 40.0)
        x = b.input("x", ["N", 16])
        if between == "MatMul":
            x = b.node("MatMul", [x, b.constant(b.rng.normal(size=(16, 16)) * uneven)])
        else:
            x = b.node("Mul", [x, b.constant(uneven)])
        return b.build({b.linear(x, 16, 8): ["N", 8]})

    style = context().target.quantization
    weights = style.weights.model_copy(update={"per_channel": False})
    narrow = context(quantization=style.model_copy(update={"weights": weights}))
    for between, changed in (("MatMul", False), ("Mul", True)):
        model = chain(between)
        where = dataclasses.replace(narrow, data=npz_for(model, tmp_path / f"{between}.npz"))
        outcome = SmoothQuant(operators=EVERY, gain=1.0).run(model, where)
        assert outcome.changed == changed
        assert_same(model, outcome.model)
