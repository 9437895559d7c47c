"""ReLU6 behind a layer becomes ReLU; every other Clip stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgecompile.ir.facts import op_census
from edgecompile.passes.base import Context, Outcome
from edgecompile.passes.quantize.relax_clips import RelaxClips
from edgecompile.targets.catalogue import load_target
from tests.support import models
from tests.support.data import npz_for
from tests.support.models import Builder

TARGET = load_target("ryzen-ai-phoenix")


def relaxed(model: models.Model, path: Path, scale: float) -> Outcome:
    """The outcome on samples of this scale."""
    data = npz_for(model, path / "data.npz", scale=scale)
    return RelaxClips().run(model, Context(target=TARGET, data=data))


def clipped(low: float, *, layer: bool = True, after: bool = True) -> models.Model:
    b = Builder(opset=13)
    x = b.input("x", [1, 3, 8, 8])
    x = b.conv(x, 3, 3) if layer else x
    y = b.node("Clip", [x, b.constant(np.float32(low)), b.constant(np.float32(6))])
    return b.build({b.conv(y, 3, 3) if after else y: [1, 3, 8, 8]})


def hard_swish() -> models.Model:
    b = Builder(opset=13)
    x = b.conv(b.input("x", [1, 3, 8, 8]), 3, 3)
    shifted = b.node("Add", [x, b.constant(np.float32(3))])
    gate = b.node("Clip", [shifted, b.constant(np.float32(0)), b.constant(np.float32(6))])
    return b.build({b.conv(b.node("Mul", [x, gate]), 3, 3): [1, 3, 8, 8]})


def test_relu6_becomes_relu_and_computes_the_same_below_its_bound(tmp_path):
    model = clipped(0.0)
    outcome = relaxed(model, tmp_path, 0.5)
    assert op_census(outcome.model)["Relu"] == 1
    assert "Clip" not in op_census(outcome.model)
    feeds = models.feeds(model)
    (want,), (got,) = models.run(model, feeds), models.run(outcome.model, feeds)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert "1 Clip" in outcome.notes[0].message


def test_other_bounds_and_other_places_stay(tmp_path):
    alone = (clipped(0.0, layer=False), clipped(0.0, after=False), hard_swish())
    for model in (clipped(-1.0), *alone):
        assert not relaxed(model, tmp_path, 0.5).changed


def test_a_bound_that_the_outputs_need_stays(tmp_path):
    model = clipped(0.0)
    outcome = relaxed(model, tmp_path, 50.0)
    assert not outcome.changed
    assert "1 Clip keep their bound" in outcome.notes[0].message


def test_bounds_that_cut_least_go_first(tmp_path):
    b = Builder(opset=13)
    x = b.input("x", [1, 3, 8, 8])
    six, zero = b.constant(np.float32(6)), b.constant(np.float32(0))
    wide = b.node("Mul", [x, b.constant(np.float32(40))])
    narrow = b.node("Clip", [b.conv(x, 3, 3), zero, six])
    needed = b.node("Clip", [b.conv(wide, 3, 3), zero, six])
    both = b.node("Add", [b.conv(narrow, 3, 3), b.conv(needed, 3, 3)])
    model = b.build({both: [1, 3, 8, 8]})
    outcome = relaxed(model, tmp_path, 0.5)
    census = op_census(outcome.model)
    assert (census["Relu"], census["Clip"]) == (1, 1)
    (relu,) = (node for node in outcome.model.graph.graph if node.op_type == "Relu")
    assert relu.outputs[0].name == narrow
    assert [note.message.split(" Clip")[0] for note in outcome.notes] == ["1", "1"]
    feeds = models.feeds(model, batch=1)
    (want,), (got,) = models.run(model, feeds), models.run(outcome.model, feeds)
    assert np.square(want - got).sum() < 10**-2.5 * np.square(want).sum()


def test_outputs_that_are_no_numbers_are_not_near(tmp_path):
    b = Builder(opset=13)
    x = b.conv(b.input("x", [1, 3, 8, 8]), 3, 3)
    x = b.conv(b.node("Mul", [x, b.constant(np.float32(1e36))]), 3, 3)
    x = b.node("Clip", [x, b.constant(np.float32(0)), b.constant(np.float32(6))])
    # without the bound this overflows
    y = b.node("Mul", [b.conv(x, 3, 3), b.constant(np.float32(1e6))])
    model = b.build({y: [1, 3, 8, 8]})
    assert not relaxed(model, tmp_path, 1.0).changed


def test_without_data_nothing_is_relaxed():
    assert not RelaxClips().run(clipped(0.0), Context(target=TARGET)).changed
