"""A range is chosen for what pooling leaves of a tensor."""

import pytest

from edgecompile.passes.quantize.maxima import maxima_behind
from edgecompile.passes.quantize.placement import place
from tests.support.models import Builder, node_of
from tests.support.quantized import STYLE
from tests.support.styles import units


def pooled(*, also_read=False, behind="MaxPool"):
    """Two convolutions with pooling in between."""
    b = Builder()
    x = b.node("Relu", [b.conv(b.input("x", ["N", 4, 8, 8]), 4, 4)])
    options = {"kernel_shape": [2, 2], "strides": [2, 2]} if behind == "MaxPool" else {}
    y = b.conv(b.node(behind, [x], **options), 4, 4)
    outputs = {y: None}
    if also_read:
        outputs[b.node("Sigmoid", [x])] = None
    return b.build(outputs)


@pytest.mark.parametrize("style", [STYLE, units()], ids=["inputs", "outputs"])
def test_the_range_is_that_of_what_the_pooling_leaves(style):
    found = place(pooled(), style)
    (site,) = (s for s in found.activations if s.tensor.startswith("relu"))
    assert site.measured.startswith("maxpool")
    assert site.measured in found.tensors
    assert site.tensor not in found.tensors


def test_who_else_needs_all_values_keeps_the_range_of_all():
    found = place(pooled(also_read=True), units())
    (site,) = (s for s in found.activations if s.tensor.startswith("relu"))
    assert site.measured == site.tensor
    # where pairs are seen by integer operators alone, a reader in float does not count
    found = place(pooled(also_read=True), STYLE)
    assert all(not s.tensor.startswith("relu") or s.measured != s.tensor for s in found.activations)


def test_other_operators_leave_all_values():
    model = pooled(behind="Transpose")
    value = node_of(model, "Relu").outputs[0]
    assert maxima_behind(value) is value


def test_values_are_followed_through_what_passes_them_on():
    b = Builder()
    x = b.input("x", ["N", 4, 8, 8])
    y = b.node("Relu", [x])
    y = b.node("MaxPool", [b.node("Transpose", [y])], kernel_shape=[2, 2], strides=[2, 2])
    y = b.node("Flatten", [y])
    model = b.build({b.node("Sigmoid", [y]): None})
    left = maxima_behind(node_of(model, "Relu").outputs[0])
    assert left is node_of(model, "MaxPool").outputs[0]
