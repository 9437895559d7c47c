"""Widths: estimates of what another width costs, held against measuring it."""

import dataclasses

import numpy as np
import pytest

from edgecompile.passes.quantize.calibrate import Calibrate
from edgecompile.passes.quantize.layers import pair
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.passes.quantize.sensitivity import measure_layers
from edgecompile.passes.quantize.widths import HEALTHY_DB, takes, weight_noise, widths_db
from tests.support import deep
from tests.support.data import npz_for
from tests.support.models import Builder, context


def costs(model, tmp_path, **options):
    """Every layer, measured, by name."""
    data = npz_for(model, tmp_path / "data.npz", samples=4)
    where = dataclasses.replace(context(), data=data, reference=model)
    ranges = Calibrate(method="minmax").run(model, where).ranges
    where = dataclasses.replace(where, ranges=ranges)
    made = QuantizeStatic(overflow="ignore", weight_clip="none", **options).run(model, where).model
    found = measure_layers(made, model, pair(made, model), data, exact=1000).costs
    return {cost.layer.name: cost for cost in found}


def test_an_estimate_for_16_bits_is_near_what_16_bits_cost(tmp_path):
    b = Builder(5, opset=21)
    x = b.input("x", ["N", 8, 6, 6])
    for _ in range(4):
        x = b.node("Relu", [b.conv(x, 8, 8)])
    model = b.build({x: None})
    narrow, wide = costs(model, tmp_path), costs(model, tmp_path, activations="uint16")
    for name, cost in narrow.items():
        guess = widths_db(cost)
        assert guess["int8"] == cost.alone_db
        assert guess["int16"] == pytest.approx(wide[name].alone_db, abs=3)
        assert widths_db(wide[name])["int16"] == wide[name].alone_db
        assert guess["int4_weights"] < guess["int8_weights"] - 15
        assert guess["int8_weights"] == pytest.approx(guess["int16"], abs=0.5)


def test_weight_noise_is_that_of_rounding(tmp_path):
    model = deep.encoder(1)
    layer = next(iter(costs(model, tmp_path).values())).layer
    weights = layer.original.inputs[1].const_value.numpy()
    scale = np.abs(weights).max(axis=0) / 127
    error = np.rint(weights / scale) * scale - weights
    found = weight_noise(layer)
    assert found["int8"] == pytest.approx(np.sum(error**2) / np.sum(weights**2), rel=1e-3)
    # sixteen times as coarse: 24 dB, less what a scale for each block of 32 wins
    assert 10 * np.log10(found["int4"] / found["int8"]) == pytest.approx(24, abs=4)


def test_a_layer_takes_what_leaves_a_cosine_of_99_percent():
    needed = HEALTHY_DB + 10
    widths = {"int16": 60.0, "int8": needed, "int4_weights": needed - 0.1}
    assert takes(widths, 10) == ["int16", "int8"]
    assert takes({"int8": np.inf}, 1) == ["int8"]
