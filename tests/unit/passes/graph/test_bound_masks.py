"""Masks of moderate size: the same attention, and room for integers beside them."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.passes.graph.bound_masks import BoundMasks
from tests.support import models
from tests.support.models import Builder


def masked(huge: float, *, leak: bool = False):
    """Scores `[1, 2, 4]` that a mask of ones and zeros `[1, 4]` hides from a Softmax."""
    b = Builder()
    scores, mask = b.input("scores", [1, 2, 4]), b.input("mask", [1, 4])
    hidden = b.node("Sub", [b.constant(np.float32(1)), mask])
    bias = b.node("Mul", [hidden, b.constant(np.float32(huge), "huge")])
    y = b.node("Softmax", [b.node("Add", [scores, b.node("Unsqueeze", [bias, b.constant([1])])])])
    outputs = {y: [1, 2, 4]}
    return b.build({**outputs, bias: [1, 4]} if leak else outputs)


FEEDS = {
    "scores": np.linspace(-6, 6, 8, dtype=np.float32).reshape(1, 2, 4),
    "mask": np.array([[1, 0, 1, 0]], np.float32),
}


@pytest.mark.parametrize("huge", [float(np.finfo(np.float32).min), -1e9, -1e4])
def test_the_attention_stays_the_same(huge):
    before = masked(huge)
    outcome = models.apply(BoundMasks(), before)
    assert outcome.changed
    (note,) = outcome.notes
    assert note.message.endswith("becomes -32")
    (want,), (got,) = models.run(before, FEEDS), models.run(outcome.model, FEEDS)
    np.testing.assert_allclose(got, want, atol=1e-9)
    assert want[0, 0, 1] == 0
    values = [v.const_value.numpy() for v in outcome.model.graph.graph.initializers.values()]
    assert min(float(v.min()) for v in values) == -32


def test_the_floor_is_an_option():
    outcome = models.apply(BoundMasks(floor=-24), masked(-1e9))
    assert outcome.notes[0].message == "-1e+09 becomes -24"


def test_what_others_read_is_left_alone():
    outcome = models.apply(BoundMasks(), masked(-1e9, leak=True))
    assert not outcome.changed
    assert "does not end in a Softmax alone" in outcome.notes[0].message


def test_scores_are_no_masks():
    assert not models.apply(BoundMasks(), masked(-100.0)).changed
    assert not models.apply(BoundMasks(), models.attention()).changed
