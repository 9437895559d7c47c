"""What a Hexagon processor refuses is known from facts alone, before any work."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from edgecompile.emitters.qnn_context_binary import QnnContextBinary
from edgecompile.emitters.qnn_dlc import QnnDlc
from edgecompile.emitters.qnn_placement import (
    beside_the_dsp,
    coverage,
    fallbacks,
    remarks,
    translated,
)
from edgecompile.emitters.qnn_support import arithmetic_of, precision_of
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.schema import QnnChip, Target
from tests.support import models
from tests.support.models import Builder
from tests.support.qdq import whole_graph

GEN2 = load_target("snapdragon-8-gen2")
INT4 = ml_dtypes.int4


def on_chip(**facts) -> Target:
    """`GEN2` with other facts of its chip."""
    assert GEN2.qnn is not None
    chip = QnnChip(**{**GEN2.qnn.chips[0].model_dump(), **facts})
    return GEN2.model_copy(update={"qnn": GEN2.qnn.model_copy(update={"chips": (chip,)})})


def codes(model, target=GEN2, **options):
    return [d.code for d in QnnContextBinary(**options).supports(model, target)]


@pytest.mark.parametrize(
    ("activations", "weights", "precision", "counted"),
    [
        (np.uint8, np.int8, "a8w8", {"int8": 5}),
        (np.uint16, np.int8, "a16w8", {"int16": 5}),
        (np.uint16, INT4, "a16w4", {"int16": 3, "int4": 2}),
    ],
)
def test_widths_are_told_from_the_integers(activations, weights, precision, counted):
    model = whole_graph(activations, weights)
    assert codes(model) == []
    for op in ("Conv", "Gemm"):
        assert precision_of(models.node_of(model, op)) == precision
    assert coverage(model, ()).precision == counted


def test_16_bit_weights_are_refused_where_the_chip_has_none():
    model = whole_graph(np.uint16, np.int16)
    assert precision_of(models.node_of(model, "Conv")) == "a16w16"
    assert codes(model) == []
    (refused,) = QnnContextBinary().supports(model, load_target("snapdragon-8-gen1"))
    assert refused.code == "EC-621"
    assert "SM8450 does not compute in a16w16 (2 nodes" in refused.message


def test_two_activations_of_16_bits_are_multiplied_by_every_chip():
    b = Builder(opset=21)
    s, z = b.constant(np.float32(0.01)), b.constant(np.uint16(100))
    ports = []
    for name in ("x", "y"):
        q = b.node("QuantizeLinear", [b.input(name, [1, 4, 4]), s, z])
        ports.append(b.node("DequantizeLinear", [q, s, z]))
    model = b.build({b.node("MatMul", ports): [1, 4, 4]})
    assert precision_of(models.node_of(model, "MatMul")) == "a16w8"
    assert codes(model, load_target("rb3-gen2")) == []


def test_a_dsp_takes_no_float_at_all():
    rb5 = load_target("rb5")
    (refused,) = QnnDlc().supports(models.conv_bn_relu(), rb5)
    assert refused.code == "EC-621"
    assert "the DSP of QRB5165 (SM8250 class) does not compute in float" in refused.message
    assert QnnDlc().supports(whole_graph(), rb5) == []
    assert {rule.format for rule in rb5.artifacts} == {"qnn-dlc"}


def test_what_a_dsp_does_not_take_is_told_and_not_counted():
    rb5 = load_target("rb5")
    b = Builder(opset=21)
    s, z = b.constant(np.float32(0.01)), b.constant(np.uint8(100))
    x = b.input("x", [1, 2, 4, 8])
    whole = b.node("DequantizeLinear", [b.node("QuantizeLinear", [x, s, z]), s, z])
    wide = b.node("Reshape", [whole, b.constant(np.array([1, 2, 2, 2, 8]))])
    q = b.node("DequantizeLinear", [b.node("QuantizeLinear", [wide, s, z]), s, z])
    model = b.build({b.node("Relu", [b.node("Erf", [q])]): None})
    found = beside_the_dsp(model, rb5.qnn)
    reasons = {one.op: one.reason for one in found}
    assert "4 dimensions" in reasons["Reshape"]
    assert set(reasons) == {"Reshape", "Erf", "Relu"}
    assert coverage(model, found).accelerated == 0
    assert beside_the_dsp(model, load_target("rb3-gen2").qnn) == []


def test_float_beside_a_dsp_is_for_the_cpu():
    b = Builder(opset=21)
    s, z = b.constant(np.float32(0.01)), b.constant(np.uint8(100))
    x = b.node("QuantizeLinear", [b.input("x", [1, 2, 4, 8]), s, z])
    y = b.node("Sigmoid", [b.node("DequantizeLinear", [x, s, z])])
    model = b.build({b.node("Tanh", [y]): [1, 2, 4, 8]})
    (left,) = beside_the_dsp(model, load_target("rb5").qnn)
    assert (left.op, left.reason) == ("Tanh", "the DSP computes in integers only")
    (told,) = remarks([left])
    assert told.code == "EC-624"


def test_a_float_model_is_left_to_the_recipe():
    model = models.conv_bn_relu()
    assert codes(model, load_target("snapdragon-8-gen1")) == []
    assert arithmetic_of(models.node_of(model, "Conv")) == "fp16"


def test_int4_with_one_scale_is_refused():
    model = whole_graph(np.uint16, INT4, per_channel=False)
    assert set(codes(model)) == {"EC-622"}


def test_more_memory_than_the_chip_has_is_refused():
    assert codes(models.mlp(), vtcm_mb=99) == ["EC-628"]
    assert codes(models.mlp(), vtcm_mb=8) == []


def test_a_chip_that_the_compiler_would_replace_is_refused():
    before_htp = on_chip(soc_model=21, soc_type="SM8250", arch=68, vtcm_mb=16)
    (problem,) = QnnContextBinary().supports(models.mlp(), before_htp)
    assert problem.code == "EC-620"
    assert "default values" in problem.message
    assert codes(models.mlp(), on_chip(soc_model=9999)) == ["EC-620"]
    assert codes(models.mlp(), on_chip(arch=75)) == ["EC-620"]


def test_high_ranks_and_types_are_told():
    b = Builder()
    x = b.input("x", [1, 2, 3, 4])
    y = b.node("Reshape", [x, b.constant(np.array([1, 2, 3, 2, 2, 1]))])
    found = QnnContextBinary().supports(b.build({y: [1, 2, 3, 2, 2, 1]}), GEN2)
    assert [d.code for d in found] == ["EC-623"]
    b = Builder()
    x = b.node("Cast", [b.input("t", [1], dtype=np.float64)], to=1)
    assert codes(b.build({x: [1]})) == ["EC-607"]


def test_no_option_reaches_the_compiler_that_we_do_not_know():
    known = set(QnnContextBinary.model_fields)
    assert known == {
        "wrapper", "optimization_level", "vtcm_mb", "io_quantization", "spill_fill_buffer",
        "performance_profile",
    }  # fmt: skip
    with pytest.raises(ValueError, match="htp_archh"):
        QnnContextBinary(htp_archh=73)


def test_the_vendors_reasons_are_put_plainly():
    said = "Operators of type `Erf` are not supported by QNN EP.Erf node `e` will not be assigned."
    assert translated(said) == "the compiler has no operator Erf"
    assert translated("NonZero output shape must be static. Set") == (
        "the shape of its output depends on the data"
    )
    assert translated("QNN BatchNorm doesn't   support\ndynamic bias.") == (
        "QNN: QNN BatchNorm doesn't support dynamic bias."
    )
    assert translated("") == "the compiler gives no reason"


def test_a_node_keeps_its_name_through_the_change_of_layout():
    others = [{"node": "pool_token_12", "op": "LpPool"}, {"node": "new", "op": "Cast"}]
    left = [{"node": "pool_token_12", "op": "LpPool", "reason": "validateOpConfig() failed"}]
    first, second = fallbacks(others, left)
    assert (first.node, first.reason) == ("pool", "the processor refuses this form of it")
    assert second.reason == "the compiler gives no reason"


def test_shapes_and_masks_are_no_half_precision():
    b = models.Builder()
    x = b.input("x", ["N", 4])
    ids = b.input("ids", ["N", 4], np.int64)
    mask = b.node("Greater", [ids, b.constant(np.array(0, np.int64))])
    table = b.node("Gather", [b.random(9, 4), b.node("Abs", [ids])])
    model = b.build({b.node("Where", [mask, x, x]): ["N", 4], table: ["N", 4, 4]})
    found = {node.op_type: arithmetic_of(node) for node in model.graph.graph}
    assert found == {"Greater": "int32", "Abs": "int32", "Where": "fp16", "Gather": "fp16"}
