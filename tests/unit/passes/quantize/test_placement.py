"""Where Q/DQ pairs go, rule by rule."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecompile.passes.quantize.forms import Zero
from edgecompile.passes.quantize.placement import Placement, place
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from tests.support.models import (
    Builder,
    attention,
    branches,
    concat,
    conv_bn_relu,
    feeds,
    lstm,
    matmul_of_activations,
    node_of,
    residual,
)
from tests.support.quantized import NUC, STYLE, pairs_into, quantized, stored_weights

IMAGE = ["N", 4, 8, 8]


def sites(found: Placement) -> dict[str, list[str]]:
    """Tensor -> operators that see its pair, in order of their names."""
    return {s.tensor: [output.split("_")[0] for output, _ in s.edges] for s in found.activations}


def reasons(found: Placement) -> dict[str | None, str]:
    return {note.node: note.message for note in found.notes if note.kept_float}


def test_pairs_stand_only_at_inputs_of_integer_operators():
    b = Builder()
    x = b.input("x", IMAGE)
    x = b.node("Relu", [b.conv(x, 4, 4)])
    x = b.node("Relu", [b.conv(x, 4, 6)])
    pooled = b.node("Flatten", [b.node("GlobalAveragePool", [x])])
    model = b.build({b.gemm(pooled, 6, 5): ["N", 5]})
    outcome = quantized(model)
    assert pairs_into(outcome.model) == [("Conv", 0), ("Conv", 0), ("Flatten", 0)]
    relu = node_of(outcome.model, "Relu")
    assert relu.inputs[0].producer().op_type == "Conv"
    assert outcome.model.graph.graph.outputs[0].producer().op_type == "Gemm"


def test_nothing_is_quantized_for_a_normalisation_or_a_sum():
    found = place(conv_bn_relu(), STYLE)
    assert all(op in {"conv", "flatten"} for ops in sites(found).values() for op in ops)
    found = place(residual(), STYLE)
    assert not any("add" in ops for ops in sites(found).values())


def test_carriers_come_in_on_request_only():
    model = residual()
    assert not any(note.op_type == "Add" for note in place(model, STYLE).notes)
    found = place(model, STYLE, operators=("Conv", "Add"))
    assert sum("add" in ops for ops in sites(found).values()) == 2


def test_operators_that_the_target_cannot_take_are_refused_by_name():
    assert QuantizeStatic(operators=("Conv", "Add")).unfit(NUC) == []
    (reason,) = QuantizeStatic(operators=("Conv", "Softmax")).unfit(NUC)
    assert "'Softmax'" in reason
    assert "AveragePool" in reason


def chain(*, look: bool = False, output: bool = False):
    """Conv, MaxPool, Reshape, Gemm; `look`: somebody else reads the MaxPool too."""
    b = Builder()
    pooled = b.node("MaxPool", [b.conv(b.input("x", IMAGE), 4, 4)], kernel_shape=[8, 8])
    flat = b.node("Reshape", [pooled, b.constant(np.array([0, -1]))])
    outputs = {b.gemm(flat, 4, 5): ["N", 5]}
    if look:
        outputs[b.node("Exp", [pooled])] = ["N", 4, 1, 1]
    if output:
        outputs[pooled] = ["N", 4, 1, 1]
    return b.build(outputs)


@pytest.mark.parametrize(
    ("how", "tensor"),
    [({}, "conv_0_out"), ({"look": True}, "maxpool_1_out"), ({"output": True}, "maxpool_1_out")],
)
def test_a_pair_moves_up_as_long_as_nobody_else_looks(how, tensor):
    model = chain(**how)
    assert sorted(sites(place(model, STYLE))) == sorted(["x", tensor])
    after = quantized(model).model
    for value in after.graph.graph.outputs:
        assert value.producer().op_type != "DequantizeLinear"


def test_a_pair_does_not_move_through_what_the_target_does_not_share():
    style = STYLE.model_copy(update={"shared_scale": ("MaxPool",)})
    assert sorted(sites(place(chain(), style))) == ["reshape_2_out", "x"]


def test_inputs_of_a_concat_share_one_scale():
    b = Builder()
    x = b.input("x", IMAGE)
    big = b.node("Mul", [b.node("Relu", [x]), b.constant(np.float32(50))])
    inner = b.node("Concat", [b.node("Tanh", [x]), big], axis=1)
    joined = b.node("Concat", [inner, b.node("Abs", [x])], axis=1)
    model = b.build({b.conv(joined, 12, 4): IMAGE})
    found = place(model, STYLE)
    assert len(found.activations) == 3
    assert len({site.group for site in found.activations}) == 1
    after = quantized(model).model
    pairs = [node for node in after.graph.graph if node.op_type == "QuantizeLinear"]
    scales = {float(node.inputs[1].const_value.numpy()) for node in pairs}
    zeros = {int(node.inputs[2].const_value.numpy()) for node in pairs}
    assert len(pairs) == 3
    assert len(scales) == len(zeros) == 1


def test_other_branches_do_not_share_theirs():
    b = Builder()
    x = b.input("x", IMAGE)
    model = b.build({b.node("Add", [b.conv(b.node("Relu", [x]), 4, 4), b.conv(x, 4, 4)]): IMAGE})
    groups = {site.group for site in place(model, STYLE).activations}
    assert len(groups) == 2


def test_a_float_consumer_keeps_its_float_edge():
    b = Builder()
    h = b.node("Relu", [b.input("x", IMAGE)])
    model = b.build({b.node("Add", [b.conv(h, 4, 4), h]): IMAGE})
    after = quantized(model).model
    assert pairs_into(after) == [("Conv", 0)]
    assert node_of(after, "Add").inputs[1].name == h


def test_graph_outputs_stay_float():
    b = Builder()
    h = b.node("Relu", [b.input("x", IMAGE)])
    model = b.build({b.conv(h, 4, 4): IMAGE, h: IMAGE})
    after = quantized(model).model
    assert [v.producer().op_type for v in after.graph.graph.outputs] == ["Conv", "Relu"]
    assert [v.name for v in after.graph.graph.outputs] == [
        v.name for v in model.graph.graph.outputs
    ]


def test_recurrent_nets_and_branches_are_left_alone():
    after = quantized(lstm()).model
    assert [v and v.name for v in node_of(after, "LSTM").inputs] == ["x", "c0", "c1"]
    assert [stored.node.op_type for stored in stored_weights(after)] == ["MatMul"]
    found = place(branches(), STYLE)
    assert (found.integer_nodes, found.weights, found.activations) == ((), (), ())


def test_a_loop_body_is_left_alone_and_its_captures_do_not_move():
    b = Builder()
    x = b.input("x", IMAGE)
    flat = b.node("Reshape", [b.node("Relu", [x]), b.constant(np.array([0, -1]))])
    y = b.gemm(flat, 256, 4)
    weight = numpy_helper.from_array(np.ones((256, 4), np.float32), "body_weight")
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("MatMul", [flat, "body_weight"], ["made"], name="body_matmul"),
            helper.make_node("Add", ["state", "made"], ["next"]),
            helper.make_node("Identity", ["go"], ["still"]),
        ],
        "body",
        [
            info("i", TensorProto.INT64, []),
            info("go", TensorProto.BOOL, []),
            info("state", TensorProto.FLOAT, None),
        ],
        [info("still", TensorProto.BOOL, []), info("next", TensorProto.FLOAT, None)],
        [weight],
    )
    times, go = b.constant(np.int64(3)), b.constant(np.bool_(True))
    model = b.build({b.node("Loop", [times, go, y], body=body): ["N", 4]})
    found = place(model, STYLE)
    assert sites(found) == {flat: ["gemm"]}
    assert [w.tensor for w in found.weights] == [node_of(model, "Gemm").inputs[1].name]
    after = quantized(model).model
    assert "body_weight" in node_of(after, "Loop").attributes["body"].as_graph().initializers


def test_weights_of_two_consumers_are_stored_once():
    b = Builder()
    x, weight = b.input("x", IMAGE), b.random(4, 4, 3, 3)
    left = b.node("Conv", [x, weight], pads=[1] * 4)
    right = b.node("Conv", [b.node("Relu", [x]), weight], pads=[1] * 4, strides=[1, 1])
    after = quantized(b.build({b.node("Add", [left, right]): IMAGE})).model
    uses = list(stored_weights(after))
    assert len(uses) == 2
    assert len({id(use.node.inputs[1].producer()) for use in uses}) == 1


def test_weights_computed_at_run_time_are_kept_and_told():
    b = Builder()
    kernel = b.node("Mul", [b.input("k", [4, 4, 1, 1]), b.random(4, 4, 1, 1)])
    model = b.build({b.node("Conv", [b.input("x", IMAGE), kernel]): IMAGE})
    found = place(model, STYLE)
    assert found.integer_nodes == ()
    assert reasons(found) == {"conv_1": "its weights are computed at run time"}


def test_products_of_activations_are_off_by_default_and_told():
    found = place(matmul_of_activations(), STYLE)
    assert found.integer_nodes == ("matmul_0",)
    assert reasons(found) == {"matmul_3": "a product of two activations: see option 'products'"}


@pytest.mark.parametrize(("symmetric", "zero"), [(True, Zero.SIGNED), (False, Zero.ANY)])
def test_products_of_activations_in_the_form_that_the_target_takes(symmetric, zero):
    style = STYLE.model_copy(update={"symmetric_products": symmetric})
    found = place(matmul_of_activations(), style, products=True)
    wanted = [s for s in found.activations if any("matmul_3" in o or "transpose" in o
              for o, _ in s.edges)]  # fmt: skip
    assert {site.form.zero for site in wanted} == {zero}
    after = quantized(
        matmul_of_activations(), style={"symmetric_products": symmetric}, products="integer"
    ).model
    product = list(after.graph.graph)[-1]
    for value in product.inputs:
        source = value if value.producer().op_type == "DequantizeLinear" else None
        pair = (source or value.producer().inputs[0]).producer()
        zero = pair.inputs[2].const_value.numpy()
        assert (zero.dtype == np.int8) is symmetric
        assert not symmetric or zero == 0


def test_a_transposed_convolution_gets_the_zero_point_0():
    b = Builder()
    x = b.input("x", IMAGE)
    up = b.node("ConvTranspose", [x, b.random(4, 4, 2, 2)], strides=[2, 2])
    model = b.build({up: None, b.conv(x, 4, 4): IMAGE})
    found = place(model, STYLE)
    assert {site.form.zero for site in found.activations} == {Zero.ZERO, Zero.ANY}
    after = quantized(model)
    for activations in ("uint8", "int8"):
        for sign in (1, -1):
            inputs = {"x": sign * np.abs(feeds(model)["x"])}
            after = quantized(model, inputs, activations=activations).model
            pair = node_of(after, "ConvTranspose").inputs[0].producer()
            assert pair.inputs[2].const_value.numpy() == 0
    names = [node.name for node in after.graph.graph]
    assert len(set(names)) == len(names)


def test_embeddings_are_weights_with_a_scale_per_row():
    b = Builder()
    table = b.random(512, 16)
    x = b.node("Gather", [table, b.input("ids", ["N", 3], np.int64)])
    model = b.build({b.linear(x, 16, 4): ["N", 3, 4]})
    assert {w.tensor for w in place(model, STYLE).weights} == {"c1"}
    found = place(model, STYLE, embeddings=True)
    (site,) = [w for w in found.weights if w.tensor == table]
    assert (site.axis, site.inner) == (0, None)
    (stored,) = [s for s in stored_weights(quantized(model).model) if s.node.op_type == "Gather"]
    assert stored.scale.shape == (512,)
    kept = quantized(model, embeddings="float").model
    assert not [s for s in stored_weights(kept) if s.node.op_type == "Gather"]


def test_a_small_table_is_not_worth_it():
    assert "gather_0" not in place(attention(), STYLE, embeddings=True).integer_nodes


def test_nodes_that_must_stay_float_do_and_say_so():
    model = concat()
    names = {node.name for node in model.graph.graph if node.op_type == "Conv"}
    one = min(names)
    found = place(model, STYLE, keep_float=[one])
    assert set(found.integer_nodes) == names - {one}
    assert reasons(found) == {one: "named in keep_float"}
