"""What shares a scale, and what would lose too much by it."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.passes.quantize.forms import Form, Zero
from edgecompile.passes.quantize.joins import lost_bits, union
from edgecompile.passes.quantize.placement import place
from edgecompile.targets.schema import Activations
from tests.support.models import Builder, feeds, node_of
from tests.support.quantized import STYLE, exact, observed, quantized
from tests.support.styles import CARRIERS, UNIT_OPERATORS, units

BYTE, WORD = Form("uint8", Zero.ANY), Form("uint16", Zero.ANY)
BINS, CLASSES = 8, 6


def detector(opset: int = 21, *, split: bool = False):
    """The head of a YOLOv8: distributions of box sides and class scores, in one output.

    `[N, 4 + classes, positions]`: boxes in pixels of a 640 x 640 image, scores from 0 to 1, nearly
    all of them near 0. With `split`, somebody takes the scores out of the Concat again.
    """
    b = Builder(seed=3, opset=opset)
    x = b.node("Relu", [b.conv(b.input("x", [1, 8, 16, 16]), 8, 8)])
    sides = b.node(
        "Reshape", [b.conv(x, 8, 4 * BINS, k=1), b.constant(np.array([1, 4, BINS, 256]))]
    )
    odds = b.node("Softmax", [b.node("Transpose", [sides], perm=[0, 2, 1, 3])], axis=1)
    bins = b.constant(np.arange(BINS, dtype=np.float32).reshape(1, BINS, 1, 1))
    reach = b.node("Reshape", [b.node("Conv", [odds, bins]), b.constant(np.array([1, 4, 256]))])
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(16))).reshape(1, 2, 256) + 0.5
    anchors = b.constant(np.concatenate([grid, grid], axis=1))
    boxes = b.node("Mul", [b.node("Add", [reach, anchors]), b.constant(np.float32(40 * 16 / 23))])
    logits = b.node(
        "Reshape", [b.conv(x, 8, CLASSES, k=1), b.constant(np.array([1, CLASSES, 256]))]
    )
    spread = b.node("Mul", [logits, b.constant(np.float32(4))])
    scores = b.node("Sigmoid", [b.node("Add", [spread, b.constant(np.float32(-7))])])
    joined = b.node("Concat", [boxes, scores], axis=1)
    if not split:
        return b.build({joined: [1, 4 + CLASSES, 256]})
    ends = [b.constant(np.array([v])) for v in (4, 4 + CLASSES, 1)]
    taken = b.node("Slice", [joined, *ends])
    return b.build({b.node("Mul", [taken, b.random(1, CLASSES, 1)]): [1, CLASSES, 256]})


def sqnr(wanted, found) -> float:
    error = float(((wanted - found) ** 2).sum())
    return float(10 * np.log10(float((wanted**2).sum()) / error)) if error else np.inf


RESCALING = {
    "operators": (*UNIT_OPERATORS, "Concat"),
    "shared_scale": tuple(name for name in CARRIERS if name != "Concat"),
}
STYLES = {
    "inputs": dict(STYLE),
    "uint8 units": dict(units()),
    "uint8 units without rules": dict(units(rules=(), activations=Activations())),
    "int8 units": dict(units(rules=(), activations=Activations(type="int8", wide="int16"))),
    "powers of two": dict(units(rules=(), power_of_two_scales=True)),
    "units that rescale": dict(units(**RESCALING)),
    "uint16 units": dict(units(activations=Activations(type="uint16"))),
}


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("opset", [17, 21])
def test_the_scores_of_a_detector_survive_beside_its_boxes(name, opset):
    model = detector(opset)
    style = {**STYLES[name], "contrib_types": True}
    inputs = feeds(model)
    (wanted,), (found,) = exact(model, inputs), exact(quantized(model, style=style).model, inputs)
    assert wanted[:, :4].max() > 500
    assert wanted[:, 4:].max() > 0.5
    assert sqnr(wanted[:, :4], found[:, :4]) > 25
    assert sqnr(wanted[:, 4:], found[:, 4:]) > 25


def test_one_scale_for_boxes_and_scores_is_as_bad_as_they_say():
    """What the rule is there for: this is what sharing comes to."""
    model, inputs = detector(), feeds(detector())
    after = quantized(model, style=STYLES["uint8 units without rules"], join_loss=99).model
    (wanted,), (found,) = exact(model, inputs), exact(after, inputs)
    assert sqnr(wanted[:, 4:], found[:, 4:]) < 5


def test_the_reason_is_told():
    model = detector(17)
    outcome = quantized(model, style=dict(units()))
    (note,) = [n for n in outcome.notes if n.op_type == "Concat"]
    assert note.kept_float
    assert "bits" in note.message
    concat = node_of(outcome.model, "Concat")
    assert {v.producer().op_type for v in concat.inputs} == {"DequantizeLinear"}


def test_a_concat_that_rescales_leaves_its_inputs_their_scales():
    b = Builder()
    x = b.input("x", ["N", 4, 8, 8])
    joined = b.node("Concat", [b.node("Sigmoid", [x]), b.node("Tanh", [x])], axis=1)
    model = b.build({b.conv(joined, 8, 4): None})
    concat = node_of(quantized(model, style=dict(units(**RESCALING))).model, "Concat")
    scales = {float(v.producer().inputs[1].const_value.numpy()) for v in concat.inputs}
    assert len(scales) == 2


def test_16_bits_join_what_8_bits_cannot():
    b = Builder(opset=21)
    x = b.input("x", [1, 4])
    parts = [b.node("Mul", [b.node("Tanh", [x]), b.constant(np.float32(s))]) for s in (1, 100)]
    model = b.build({b.node("Concat", parts, axis=1): [1, 8]})
    after = quantized(model, style=dict(units(rules=()))).model
    concat = node_of(after, "Concat")
    kinds = {str(v.producer().inputs[2].dtype) for v in concat.inputs}
    assert kinds == {"UINT16"}
    (wanted,), (found,) = exact(model, feeds(model)), exact(after, feeds(model))
    assert np.abs(found - wanted)[:, :4].max() <= 0.02


def test_a_reader_that_needs_one_scale_gets_one_in_any_case():
    b = Builder()
    x = b.input("x", ["N", 4, 8, 8])
    wide = b.node("Mul", [b.node("Sin", [x]), b.constant(np.float32(500))])
    joined = b.node("Concat", [b.node("Sigmoid", [x]), wide], axis=1)
    model = b.build({b.conv(joined, 8, 4): None})
    found = place(model, units(rules=()), ranges=observed(model, feeds(model)))
    assert found.carriers == ("concat_3",)


def test_a_narrow_quantity_with_other_readers_keeps_its_scale_for_them():
    b = Builder()
    x = b.input("x", ["N", 4, 8, 8])
    narrow = b.node("Sigmoid", [x])
    wide = b.node("Mul", [x, b.constant(np.float32(500))])
    joined = b.node("Concat", [narrow, wide], axis=1)
    model = b.build({b.conv(joined, 8, 4): None, b.conv(narrow, 4, 4): None})
    found = place(model, units(rules=()), ranges=observed(model, feeds(model)))
    own = [s for s in found.activations if s.tensor == narrow]
    assert len(own) == 2
    (whole,) = [s for s in own if s.whole]
    (converts,) = [s for s in own if s.converts]
    assert [edge[0] for edge in converts.edges] == [joined]
    assert whole.group != converts.group


def test_parts_taken_out_again_had_better_not_be_joined():
    model = detector(17, split=True)
    inputs = feeds(model)
    after = quantized(model, style=dict(units())).model
    (wanted,), (found,) = exact(model, inputs), exact(after, inputs)
    assert sqnr(wanted, found) > 25


def test_fixed_and_measured_scales_are_not_mixed():
    b = Builder()
    x = b.input("x", ["N", 8])
    model = b.build({b.node("Concat", [b.node("Sigmoid", [x]), x], axis=1): ["N", 16]})
    after = quantized(model, style=dict(units()), join_loss=99).model
    concat = node_of(after, "Concat")
    scales = {float(v.producer().inputs[1].const_value.numpy()) for v in concat.inputs}
    assert len(scales) == 1
    assert scales != {2.0**-8}
    both = Builder()
    x = both.input("x", ["N", 8])
    parts = [both.node("Sigmoid", [x]), both.node("Softmax", [x])]
    model = both.build({both.node("Concat", parts, axis=1): ["N", 16]})
    concat = node_of(quantized(model, style=dict(units())).model, "Concat")
    assert {float(v.producer().inputs[1].const_value.numpy()) for v in concat.inputs} == {2.0**-8}


def test_bits_lost():
    assert lost_bits((0, 1), BYTE, (0, 640), BYTE) == pytest.approx(np.log2(640))
    assert lost_bits((0, 1), BYTE, (0, 640), WORD) == pytest.approx(np.log2(640 * 255 / 65535))
    assert lost_bits((0, 0), BYTE, (0, 1), BYTE) == 0
    assert lost_bits((-1, 1), Form("int8", Zero.MIDDLE), (0, 1), BYTE) == pytest.approx(-1)
    assert union([(1, 2), (3, 4)]) == (0, 4)
    assert union([]) == (0, 0)


# --- one scale for all inputs of an element-wise operator ---


def elementwise(op: str, factor: float = 1.0):
    b = Builder()
    x = b.input("x", ["N", 4, 8, 8])
    other = b.node("Mul", [b.node("Sigmoid", [x]), b.constant(np.float32(factor))])
    return b.build({b.node(op, [b.conv(x, 4, 4), other]): ["N", 4, 8, 8]})


UNIFIED = {"operators": ("Conv", "Add", "Mul"), "carriers": (), "unify_elementwise_inputs": True}


def test_all_inputs_of_an_elementwise_operator_have_one_scale():
    model = elementwise("Add", 0.01)
    after = quantized(model, style=UNIFIED).model
    pairs = [v.producer() for v in node_of(after, "Add").inputs]
    assert {p.op_type for p in pairs} == {"DequantizeLinear"}
    assert len({float(p.inputs[1].const_value.numpy()) for p in pairs}) == 1
    assert len({int(p.inputs[2].const_value.numpy()) for p in pairs}) == 1
    separate = {**UNIFIED, "unify_elementwise_inputs": False}
    after = quantized(model, style=separate).model
    pairs = [v.producer() for v in node_of(after, "Add").inputs]
    assert len({float(p.inputs[1].const_value.numpy()) for p in pairs}) == 2


def test_a_gate_that_one_scale_would_ruin_stays_in_float():
    outcome = quantized(elementwise("Mul", 0.01), style=UNIFIED)
    gate = list(outcome.model.graph.graph)[-1]
    assert all(v.producer().op_type != "DequantizeLinear" for v in gate.inputs)
    assert any("bits" in note.message for note in outcome.notes if note.kept_float)
    outcome = quantized(elementwise("Mul", 5.0), style=UNIFIED)
    gate = list(outcome.model.graph.graph)[-1]
    assert all(v.producer().op_type == "DequantizeLinear" for v in gate.inputs)


def test_one_scale_goes_on_through_what_passes_through():
    b = Builder()
    x = b.input("x", ["N", 4, 8, 8])
    pooled = b.node("MaxPool", [b.node("Sin", [x])], kernel_shape=[1, 1])
    model = b.build({b.node("Add", [pooled, b.node("Tanh", [x])]): ["N", 4, 8, 8]})
    found = place(model, STYLE.model_copy(update=UNIFIED))
    assert sorted(s.tensor for s in found.activations) == ["sin_0_out", "tanh_2_out"]
    assert len({s.group for s in found.activations}) == 1
