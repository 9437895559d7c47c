"""Ranges that clip are widened where the outputs of the model gain by it."""

import dataclasses

import numpy as np
import pytest

from edgecompile.calibration.session import run_session
from edgecompile.ir.facts import constant_array, op_census
from edgecompile.passes.quantize.keep_precision import KeepPrecision
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.passes.quantize.widening import extremes
from edgecompile.passes.quantize.wider_ranges import better, clipping, widened
from tests.support.data import npz_for
from tests.support.models import Builder
from tests.support.quantized import context
from tests.support.styles import symmetric_inputs, units

STYLES = {
    "inputs": {},
    "outputs": dict(units()),
    "biases": {"bias": "int32"},
    "signed": dict(symmetric_inputs()),
    "powers": {"power_of_two_scales": True},
}


def network():
    b = Builder()
    x = b.input("x", ["N", 4, 8, 8])
    x = b.node("Relu", [b.conv(x, 4, 8)])
    x = b.node("Relu", [b.conv(x, 8, 8)])
    return b.build({b.conv(x, 8, 4): ["N", 4, 8, 8]})


@pytest.fixture(params=STYLES)
def clipped(request, tmp_path):
    """Float model, its quantized form with a third of the ranges, data, and the true extremes."""
    model, style = network(), STYLES[request.param]
    given = context(model, **style)
    narrow = {
        name: dataclasses.replace(found, min=found.min / 3, max=found.max / 3)
        for name, found in given.ranges.tensors.items()
    }
    ranges = dataclasses.replace(given.ranges, tensors=narrow)
    data = npz_for(model, tmp_path / "data.npz", samples=8)
    given = dataclasses.replace(given, ranges=ranges, data=data, reference=model)
    after = QuantizeStatic(overflow="ignore").run(model, given).model
    return model, after, given, extremes(after, model, list(data))


def noise(model, reference, data):
    """Share of the output's power that is error."""
    (name,) = (v.name for v in reference.graph.graph.outputs)
    ran = [run_session(m, exact=True) for m in (reference, model)]
    want, got = (np.stack([r.run(s.feeds)[name] for s in data]) for r in ran)
    return float(np.sum((want - got) ** 2) / np.sum(want**2))


def test_what_clips_is_found_and_nothing_else(clipped):
    _, after, _, seen = clipped
    found = clipping(after, seen)
    assert len(found) >= 2
    assert all(scale.growth > 1.5 for scale in found)
    assert clipping(widened(after, found), seen) == []


def test_wider_ranges_lose_nothing_of_the_biases(clipped):
    model, after, given, seen = clipped
    wide = widened(after, clipping(after, seen))
    assert noise(after, model, given.data) > 0.1
    assert noise(wide, model, given.data) < 0.001
    for node in wide.graph.graph:
        if node.op_type == "Conv" and (maker := node.inputs[2].producer()) is not None:
            first, weight = (node.inputs[i].producer().inputs[1] for i in (0, 1))
            product = constant_array(first) * constant_array(weight)
            np.testing.assert_allclose(constant_array(maker.inputs[1]), product, rtol=1e-5)


def test_only_ranges_that_help_are_widened(clipped):
    model, after, given, seen = clipped
    scales = clipping(after, seen)
    before = noise(after, model, given.data)
    found, chosen, least = better(after, scales, lambda m: noise(m, model, given.data), before)
    assert chosen
    assert least == pytest.approx(noise(found, model, given.data))
    same, none, _ = better(after, scales, lambda _: before, before)
    assert same is after
    assert none == []


def test_keep_precision_widens_before_it_takes_anything_to_float(clipped):
    model, after, given, _ = clipped
    outcome = KeepPrecision().run(after, given)
    assert outcome.changed
    assert "widened" in outcome.notes[0].message
    assert "holds already" in outcome.notes[1].message
    assert op_census(outcome.model) == op_census(after)
    assert noise(outcome.model, model, given.data) < 0.001


def test_middles_and_powers_of_two_stay(clipped):
    _, after, _, seen = clipped
    for scale in clipping(after, seen):
        own, new = scale.parameters, scale.wider
        assert new.type == own.type
        if own.type.signed:
            assert new.zero_point == own.zero_point == 0
        if float(np.log2(own.scale)).is_integer():
            assert float(np.log2(new.scale)).is_integer()
