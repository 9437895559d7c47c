"""`equalize`: the float model stays, channels even out, and clips are left alone."""

import dataclasses

import numpy as np
import pytest

from edgecompile.ir.facts import constant_array
from edgecompile.passes.quantize.calibrate import Calibrate
from edgecompile.passes.quantize.equalize import Equalize, balance
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from tests.support.data import npz_for
from tests.support.models import ALL, Builder, assert_same, context, depthwise, feeds, run

UNEVEN = np.logspace(-2, 2, 8)


def pair(between="Relu", *, first="Conv", group=1, uneven=UNEVEN):
    """Two layers of 8 channels whose sizes differ by 10 000 and make up for each other."""
    b = Builder(4)
    if first == "Conv":
        x = b.input("x", ["N", 3, 6, 6])
        weights = b.rng.normal(size=(8, 3, 1, 1)) * uneven.reshape(8, 1, 1, 1)
        x = b.node("Conv", [x, b.constant(weights), b.constant(b.rng.normal(size=8) * uneven)])
        second = b.rng.normal(size=(8, 8 // group, 3, 3))
        second /= uneven.reshape((1, 8, 1, 1) if group == 1 else (8, 1, 1, 1))
    else:
        x = b.input("x", ["N", 16])
        x = b.node("MatMul", [x, b.constant(b.rng.normal(size=(16, 8)) * uneven)])
        x = b.node("Add", [x, b.constant(b.rng.normal(size=8) * uneven)])
        second = b.rng.normal(size=(8, 4)) / uneven.reshape(8, 1)
    extra = {"PRelu": [b.constant(np.full((8, 1, 1) if first == "Conv" else (8,), 0.2))]}
    attributes = {"LeakyRelu": {"alpha": 0.1}, "MaxPool": {"kernel_shape": [2, 2]}}
    if between:
        x = b.node(between, [x, *extra.get(between, [])], **attributes.get(between, {}))
    weights = b.constant(second)
    y = (
        b.node("Conv", [x, weights], group=group)
        if first == "Conv"
        else b.node("MatMul", [x, weights])
    )
    return b.build({y: None})


def equalize(model, **options):
    """The outcome, held to the contract of a float pass."""
    before = model.digest
    outcome = Equalize(**options).run(model, context())
    assert outcome.changed == (outcome.model.digest != before)
    assert_same(model, outcome.model)
    return outcome


def reaches(model):
    """Largest weight of each channel between the two layers: out of the first, into the second."""
    first, second = (
        constant_array(node.inputs[1])
        for node in model.graph.graph
        if node.op_type in ("Conv", "MatMul")
    )
    if first.ndim == 2:
        return np.abs(first).max(axis=0), np.abs(second).max(axis=1)
    axes = (0, 2, 3) if second.shape[1] > 1 else (1, 2, 3)
    return np.abs(first).max(axis=(1, 2, 3)), np.abs(second).max(axis=axes)


@pytest.mark.parametrize("between", ["", "Relu", "LeakyRelu", "PRelu", "MaxPool"])
@pytest.mark.parametrize("group", [1, 8])
def test_both_sides_of_a_channel_become_equal(between, group):
    after = equalize(pair(between, group=group), largest=1e6).model
    one, two = reaches(after)
    np.testing.assert_allclose(one, two, rtol=0.02)


@pytest.mark.parametrize("between", ["", "Relu", "PRelu"])
def test_matmul_with_a_bias(between):
    one, two = reaches(equalize(pair(between, first="MatMul"), largest=1e6).model)
    np.testing.assert_allclose(one, two, rtol=0.02)


def test_uneven_channels_quantize_better(tmp_path):
    model = pair("Relu", group=8)
    errors = []
    for candidate in (model, equalize(model).model):
        data = npz_for(candidate, tmp_path / "data.npz")
        where = dataclasses.replace(context(), data=data)
        ranges = Calibrate().run(candidate, where).ranges
        rough = QuantizeStatic().run(candidate, dataclasses.replace(where, ranges=ranges)).model
        inputs = feeds(model, batch=8, seed=42)
        (exact,), (got,) = run(model, inputs), run(rough, inputs)
        errors.append(float(np.square(got - exact).sum() / np.square(exact).sum()))
    assert errors[1] < errors[0] / 20


@pytest.mark.parametrize("between", ["Sigmoid", "HardSwish", "Clip"])
def test_operators_that_do_not_scale_are_left_alone(between):
    outcome = equalize(pair(between))
    assert not outcome.changed
    assert any(between in note.message for note in outcome.notes)


def test_even_pairs_are_left_alone():
    once = equalize(pair()).model
    assert not equalize(once, tolerance=0.05).changed


def test_a_mobilenet_block_with_clips_stays():
    assert not equalize(depthwise()).changed


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_float_model_stays(name):
    equalize(ALL[name]())


def test_a_layer_that_others_read_stays():
    b = Builder()
    x = b.conv(b.input("x", ["N", 3, 6, 6]), 3, 4)
    y = b.node("Add", [b.conv(x, 4, 4), b.conv(x, 4, 4)])
    outcome = equalize(b.build({y: None}))
    assert not outcome.changed
    assert any("others read" in note.message for note in outcome.notes)


def test_balance():
    found = balance(np.array([4.0, 0.0, 1.0]), np.array([1.0, 1.0, 0.0]))
    assert found.tolist() == [2.0, 1.0, 1.0]
