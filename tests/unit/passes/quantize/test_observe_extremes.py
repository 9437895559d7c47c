"""`observe_extremes`: `cast_fp16` keeps what overflows on data, and nothing on suspicion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgecompile.calibration.dataset import open_dataset
from edgecompile.ir.facts import input_specs
from edgecompile.ir.shapes import infer
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.cast_fp16 import CastFp16
from edgecompile.passes.quantize.observe_extremes import ObserveExtremes
from edgecompile.targets.catalogue import load_target
from tests.support.models import Builder, run


def squares():
    b = Builder()
    x = b.input("x", ["N", 8])
    square = b.node("Mul", [x, x])
    return infer(b.build({b.node("Mul", [square, b.constant(np.float32(1e-4))]): ["N", 8]}))


def data_of(model, tmp_path, x):
    """A sample for each row of `x`."""
    path = tmp_path / "samples.npz"
    np.savez(path, x=x.astype(np.float32))
    return open_dataset(str(path), input_specs(model))


def cast(model, tmp_path, top: float):
    x = top * np.random.default_rng(0).uniform(0.5, 1, size=(4, 8)).astype(np.float32)
    data = data_of(model, tmp_path, x)
    where = Context(target=load_target("intel-nuc"), data=data)
    observed = ObserveExtremes().run(model, where)
    assert not observed.changed
    assert observed.ranges is not None
    outcome = CastFp16().run(model, replace(where, ranges=observed.ranges))
    return observed, outcome, {"x": x}


def kept(outcome):
    return {note.node: note.message for note in outcome.notes if note.kept_float}


def test_what_overflows_at_run_time_stays_in_float_by_name(tmp_path):
    model = squares()
    observed, outcome, inputs = cast(model, tmp_path, 400.0)
    assert any("beyond 65504" in note.message for note in observed.notes)
    assert "reaches" in kept(outcome)["mul_0"]
    (wanted,), (found,) = run(model, inputs), run(outcome.model, inputs)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, wanted, rtol=2e-3)


def test_what_stays_in_range_is_cast_where_suspicion_would_keep_it(tmp_path):
    model = squares()
    without = CastFp16().run(model, Context(target=load_target("intel-nuc")))
    assert kept(without)["mul_0"] == "it may overflow half precision"
    observed, outcome, inputs = cast(model, tmp_path, 100.0)
    assert len(observed.notes) == 1
    assert kept(outcome) == {}
    (wanted,), (found,) = run(model, inputs), run(outcome.model, inputs)
    np.testing.assert_allclose(found, wanted, rtol=5e-3)


@pytest.mark.parametrize("samples", [1, 3])
def test_at_most_so_many_samples(samples, tmp_path):
    model = squares()
    data = data_of(model, tmp_path, np.arange(72.0).reshape(9, 8))
    where = Context(target=load_target("intel-nuc"), data=data)
    found = ObserveExtremes(samples=samples).run(model, where).ranges
    assert found.samples == samples
