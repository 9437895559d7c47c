"""ReLU6 behind a layer becomes ReLU; every other Clip stays."""

from __future__ import annotations

import numpy as np

from edgecompile.ir.facts import op_census
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.relax_clips import RelaxClips
from edgecompile.targets.catalogue import load_target
from tests.support import models
from tests.support.models import Builder

CONTEXT = Context(target=load_target("ryzen-ai-phoenix"))


def clipped(low: float, *, layer: bool = True) -> models.Model:
    b = Builder(opset=13)
    x = b.input("x", [1, 3, 8, 8])
    x = b.conv(x, 3, 3) if layer else x
    y = b.node("Clip", [x, b.constant(np.float32(low)), b.constant(np.float32(6))])
    return b.build({y: [1, 3, 8, 8]})


def test_relu6_becomes_relu_and_computes_the_same_below_its_bound():
    model = clipped(0.0)
    outcome = RelaxClips().run(model, CONTEXT)
    assert op_census(outcome.model)["Relu"] == 1
    assert "Clip" not in op_census(outcome.model)
    feeds = models.feeds(model)
    (want,), (got,) = models.run(model, feeds), models.run(outcome.model, feeds)
    np.testing.assert_allclose(np.minimum(got, 6), want, rtol=1e-6)
    assert "1 Clip" in outcome.notes[0].message


def test_other_bounds_and_other_places_stay():
    for model in (clipped(-1.0), clipped(0.0, layer=False)):
        assert not RelaxClips().run(model, CONTEXT).changed
