"""Sensitivity of all layers from a few inferences: held against one evaluation per layer."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgecompile.calibration.dataset import open_dataset
from edgecompile.calibration.session import Session
from edgecompile.ir import load
from edgecompile.ir.facts import input_specs
from edgecompile.passes.quantize.attribution import attribute
from edgecompile.passes.quantize.calibrate import Calibrate
from edgecompile.passes.quantize.layers import pair
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.passes.quantize.sensitivity import measure_layers
from edgecompile.passes.quantize.side_by_side import SideBySide
from tests.support import deep
from tests.support.data import npz_for
from tests.support.hard import chain
from tests.support.models import context

ROOT = Path(__file__).parents[4]
DIGITS = ROOT / "examples" / "digits" / "model.onnx"
NETS = {
    "residual": deep.residual,
    "encoder": deep.encoder,
    "branches": deep.branches,
    "digits": lambda: load(DIGITS),
}


def of_digits(model):
    """A few of the digits that ship."""
    path = str(ROOT / "calibration_data" / "digits" / "calibration.npz")
    return open_dataset(path, input_specs(model), limit=16)


def quantized(model, tmp_path, data=None):
    """The quantized model and its data."""
    data = data or npz_for(model, tmp_path / "data.npz", samples=4)
    where = dataclasses.replace(context(), data=data, reference=model)
    ranges = Calibrate(method="minmax").run(model, where).ranges
    where = dataclasses.replace(where, ranges=ranges)
    return QuantizeStatic(overflow="ignore").run(model, where).model, data


def ranks(values):
    return np.argsort(np.argsort(values))


def spearman(a, b):
    return np.corrcoef(ranks(a), ranks(b))[0, 1]


@pytest.mark.parametrize("name", NETS)
def test_estimates_rank_layers_as_measuring_each_does(name, tmp_path):
    model = NETS[name]()
    made, data = quantized(model, tmp_path, of_digits(model) if name == "digits" else None)
    pairing = pair(made, model)
    estimated = measure_layers(made, model, pairing, data, exact=0).costs
    measured = measure_layers(made, model, pairing, data, exact=len(pairing.layers)).costs
    assert not any(cost.measured for cost in estimated)
    assert all(cost.measured for cost in measured)
    guess = [cost.alone_db for cost in estimated]
    truth = [cost.alone_db for cost in measured]
    assert spearman(guess, truth) > (0.8 if len(truth) > 6 else 0.5)
    top = max(1, len(truth) // 5)
    assert set(np.argsort(truth)[:top]) <= set(np.argsort(guess)[: 3 * top])
    assert np.median(np.abs(np.subtract(guess, truth))) < 4


def test_the_error_of_an_output_is_handed_back_without_loss(tmp_path):
    model = deep.residual()
    made, data = quantized(model, tmp_path)
    pairing = pair(made, model)
    (output,) = (value.name for value in model.graph.graph.outputs)
    powers = SideBySide(made, model, pairing, watched=[output]).run(data[0].feeds)
    error = float(np.sum((powers.got[output] - powers.want[output]) ** 2.0))
    parts = attribute(model, pairing.layers, powers, {output: error})
    assert parts.min() >= 0
    assert parts.sum() == pytest.approx(error, rel=1e-3)


def test_a_chain_hands_back_what_the_noise_model_says(tmp_path):
    model = chain(bad=())
    made, data = quantized(model, tmp_path)
    pairing = pair(made, model)
    output = pairing.layers[-1].output
    powers = SideBySide(made, model, pairing, watched=[output]).run(data[0].feeds)
    parts = attribute(model, pairing.layers, powers, {output: 1.0})[:, 0]
    rest, wanted = 1.0, []
    for own, inherited in zip(powers.own[::-1], powers.inherited[::-1], strict=True):
        wanted.append(rest * own / (own + inherited))
        rest -= wanted[-1]
    np.testing.assert_allclose(parts[::-1], wanted, rtol=1e-6)
    assert powers.inherited[0] == pytest.approx(0, abs=1e-6 * powers.own[0])


@pytest.mark.parametrize("blocks", [2, 6])
def test_inferences_do_not_grow_with_the_layers(blocks, tmp_path, monkeypatch):
    model = deep.residual(blocks)
    made, data = quantized(model, tmp_path)
    runs, run = [], Session.run

    def counted(*args, **kwargs):
        runs.append(kwargs["sample"])
        return run(*args, **kwargs)

    monkeypatch.setattr(Session, "run", counted)
    progress = []
    pairing = pair(made, model)
    found = measure_layers(
        made, model, pairing, data, exact=3, progress=lambda *told: progress.append(told)
    )
    assert len(runs) == len(data) * (1 + 1 + 3)
    assert progress[-1] == (len(data) * 4, len(data) * 4)
    assert sum(cost.measured for cost in found.costs) == 3
    assert len(found.costs) == len(pairing.layers) > 3


def test_layers_that_leave_nothing_finite_are_found(tmp_path):
    model = chain(bad=())
    made, data = quantized(model, tmp_path)
    target = pair(made, model).layers[2]
    scale = target.quantized.inputs[0].producer().inputs[1]
    scale.const_value = type(scale.const_value)(np.array(np.inf, np.float32), name=scale.name)
    pairing = pair(made, model)
    costs = measure_layers(made, model, pairing, data, exact=0).costs
    assert costs[2].local_db == -np.inf
    assert min(costs, key=lambda cost: cost.alone_db).layer.name == target.name
