"""`quantize_weights` on whole models: what it compresses, what it leaves, and what comes out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecompile.ir import save
from edgecompile.ir.facts import op_census
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.quantize_weights import QuantizeWeights
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.schema import WeightCompression
from edgecompile.verify.compare import compare
from tests.support.models import ALL, Builder, attention, feeds, from_proto, lstm, node_of, run

TARGET = load_target("intel-nuc")
CONTEXT = Context(target=TARGET)
NBITS = Context(
    target=TARGET.model_copy(update={"weight_compression": WeightCompression(form="matmul_nbits")})
)


def fidelity(before, after):
    inputs = feeds(before, batch=3)
    return compare(
        {str(i): [o] for i, o in enumerate(run(before, inputs))},
        {str(i): [o] for i, o in enumerate(run(after, inputs))},
    )


def matrix_model(k=64, n=48, *, opset=21):
    """`[N, k]` times a random `[k, n]`, named w."""
    b = Builder(opset=opset)
    x = b.input("x", ["N", k])
    y = b.node("MatMul", [x, b.constant(b.rng.normal(size=(k, n)), "w")])
    return b.build({y: ["N", n]}, ir_version=10)


def census(model):
    return op_census(model).get("DequantizeLinear", 0)


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("options", [{}, {"symmetric": True}, {"clip": "none"}])
def test_every_small_model_keeps_its_outputs_in_8_bits(name, options):
    model = ALL[name]()
    outcome = QuantizeWeights(min_elements=1, **options).run(model, CONTEXT)
    assert outcome.changed
    assert outcome.model.digest != model.digest
    for output in fidelity(model, outcome.model).values():
        assert output.cosine > 0.999
        assert output.sqnr_db > 30


@pytest.mark.parametrize("name", sorted(ALL))
def test_it_is_idempotent_and_tells_the_truth(name):
    compress = QuantizeWeights(min_elements=1)
    once = compress.run(ALL[name](), CONTEXT)
    again = compress.run(once.model, CONTEXT)
    assert not again.changed
    assert again.model is once.model


def test_two_runs_give_the_same_bytes():
    first, second = (QuantizeWeights(min_elements=1).run(attention(), CONTEXT) for _ in range(2))
    assert first.model.digest == second.model.digest


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group", [16, 32, 64])
def test_4_bits_in_blocks_are_standard_onnx(tmp_path, symmetric, group):
    model = matrix_model()
    outcome = QuantizeWeights(bits=4, group_size=group, symmetric=symmetric).run(model, CONTEXT)
    save(outcome.model, tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(proto, full_check=True)
    kind = TensorProto.INT4 if symmetric else TensorProto.UINT4
    stored = next(t for t in proto.graph.initializer if t.name == "w_quantized")
    assert stored.data_type == kind
    assert len(stored.raw_data) == 64 * 48 // 2
    node = next(n for n in proto.graph.node if n.op_type == "DequantizeLinear")
    assert {a.name: a.i for a in node.attribute} == {"axis": 0, "block_size": group}
    (output,) = fidelity(model, outcome.model).values()
    assert output.sqnr_db > 17


def test_the_restored_weight_is_bit_equal_to_numpy(tmp_path):
    model = matrix_model()
    outcome = QuantizeWeights(bits=4).run(model, CONTEXT)
    tensors = {
        name: value.const_value.numpy()
        for name, value in outcome.model.graph.graph.initializers.items()
    }
    integers, zero = (tensors[n].astype(np.float32) for n in ("w_quantized", "w_zero_point"))
    wide = (integers - np.repeat(zero, 32, 0)) * np.repeat(tensors["w_scale"], 32, 0)
    eye = np.eye(64, dtype=np.float32)
    (restored,) = run(outcome.model, {"x": eye})
    np.testing.assert_array_equal(restored, wide)


def test_matmul_nbits_computes_the_same_as_the_standard_form():
    model = matrix_model(64, 48, opset=17)
    for symmetric in (True, False):
        compress = QuantizeWeights(bits=4, group_size=16, symmetric=symmetric)
        assert compress.requires(model, NBITS) == []
        packed = compress.run(model, NBITS).model
        assert op_census(packed) == {"com.microsoft::MatMulNBits": 1}
        standard = compress.run(matrix_model(64, 48), CONTEXT).model
        eye = {"x": np.eye(64, dtype=np.float32)}
        np.testing.assert_allclose(run(packed, eye)[0], run(standard, eye)[0], atol=1e-6)


def test_blocks_shrink_to_what_divides_and_give_way_to_8_bits():
    def kind(k):
        outcome = QuantizeWeights(bits=4, group_size=128, min_elements=1).run(
            matrix_model(k), CONTEXT
        )
        node = node_of(outcome.model, "DequantizeLinear")
        block = node.attributes.get("block_size")
        return node.inputs[0].dtype.name, block and block.as_int(), outcome.notes

    assert kind(256)[:2] == ("UINT4", 128)
    assert kind(96)[:2] == ("UINT4", 32)
    name, block, notes = kind(40)
    assert (name, block) == ("UINT8", None)
    assert any("40 inputs do not divide" in note.message for note in notes)


def test_a_weight_that_4_bits_would_spoil_takes_8():
    model = matrix_model()
    outcome = QuantizeWeights(bits=4, min_sqnr_db_4bit=25).run(model, CONTEXT)
    assert node_of(outcome.model, "DequantizeLinear").inputs[0].dtype.name == "UINT8"
    assert any("4 would restore it to" in note.message for note in outcome.notes)
    strict = QuantizeWeights(bits=4, min_sqnr_db_4bit=99, min_sqnr_db_8bit=99)
    left = strict.run(model, CONTEXT)
    assert not left.changed
    assert [note.kept_float for note in left.notes] == [True]


def test_tables_convolutions_and_recurrent_weights_take_8_bits():
    options = {"bits": 4, "group_size": 16, "min_elements": 1}
    table = QuantizeWeights(**options).run(attention(width=16), CONTEXT).model
    gather = next(n for n in table.graph.graph if n.op_type == "Gather" and n.inputs[0].producer())
    assert gather.inputs[0].producer().inputs[0].dtype.name == "UINT8"
    recurrent = QuantizeWeights(**options).run(lstm(), CONTEXT).model
    kinds = {v.producer().inputs[0].dtype.name for v in node_of(recurrent, "LSTM").inputs[1:3]}
    assert kinds == {"UINT8"}


def test_a_table_can_stay_in_float_or_take_4_bits():
    model = attention(width=16)
    for choice, kind in (("float", None), ("int4", "UINT4")):
        compress = QuantizeWeights(bits=4, group_size=16, min_elements=1, embeddings=choice)
        gather = next(
            n for n in compress.run(model, CONTEXT).model.graph.graph if n.op_type == "Gather"
        )
        producer = gather.inputs[0].producer()
        assert (producer and producer.inputs[0].dtype.name) == kind


def test_a_weight_in_a_constant_node_is_compressed_and_the_node_goes():
    b = Builder()
    x = b.input("x", ["N", 64])
    weight = numpy_helper.from_array(b.rng.normal(size=(64, 48)).astype(np.float32))
    y = b.node("MatMul", [x, b.node("Constant", [], value=weight)])
    model = b.build({y: ["N", 48]})
    after = QuantizeWeights().run(model, CONTEXT).model
    assert op_census(after) == {"DequantizeLinear": 1, "MatMul": 1}
    assert all(output.sqnr_db > 35 for output in fidelity(model, after).values())


def test_a_weight_with_several_readers_is_stored_once():
    b = Builder()
    w = b.constant(b.rng.normal(size=(32, 32)), "w")
    x = b.input("x", ["N", 32])
    y = b.node("MatMul", [b.node("Relu", [b.node("MatMul", [x, w])]), w])
    y = b.node("Add", [y, b.node("ReduceSum", [w, b.constant(np.array([0]))], keepdims=0)])
    model = b.build({y: ["N", 32]})
    after = QuantizeWeights().run(model, CONTEXT).model
    assert census(after) == 1
    assert "w" not in after.graph.graph.initializers
    assert all(output.sqnr_db > 35 for output in fidelity(model, after).values())


def test_a_weight_read_by_both_branches_is_restored_outside_of_them():
    b = Builder()
    x, which = b.input("x", ["N", 32]), b.input("which", [], np.bool_)
    w = b.constant(b.rng.normal(size=(32, 32)), "w")
    graphs = [
        helper.make_graph(
            [helper.make_node("MatMul", [source, w], [f"{label}_out"], name=f"{label}_matmul")],
            label,
            [],
            [helper.make_tensor_value_info(f"{label}_out", TensorProto.FLOAT, ["N", 32])],
        )
        for label, source in (("yes", x), ("no", b.node("Relu", [x])))
    ]
    y = b.node("If", [which], then_branch=graphs[0], else_branch=graphs[1])
    model = b.build({y: ["N", 32]})
    after = QuantizeWeights().run(model, CONTEXT).model
    assert census(after) == 1
    assert "DequantizeLinear" in [n.op_type for n in after.graph.graph]
    for choice in (True, False):
        inputs = {**feeds(model), "which": np.array(choice)}
        np.testing.assert_allclose(run(after, inputs)[0], run(model, inputs)[0], atol=0.2)


def test_what_is_left_in_float_is_told():
    b = Builder()
    x = b.input("x", ["N", 64])
    broken = b.rng.normal(size=(64, 64)).astype(np.float32)
    broken[0, 0] = np.inf
    x = b.node("MatMul", [x, b.constant(broken, "broken")])
    x = b.node("MatMul", [x, b.random(64, 8)])
    kept = b.node("MatMul", [x, b.constant(b.rng.normal(size=(8, 256)), "kept")])
    model = b.build({kept: ["N", 256]})
    compress = QuantizeWeights(keep_float=(model.graph.graph[2].name,))
    outcome = compress.run(model, CONTEXT)
    assert not outcome.changed
    assert [n.message.split(": ", 1)[1] for n in outcome.notes if n.kept_float] == [
        "it holds values that are not finite",
        "it has 512 elements, fewer than 1024",
        "named in keep_float",
    ]


def test_the_smallest_weights_of_a_large_model_stay_in_float():
    b = Builder()
    x = b.input("x", ["N", 64])
    for width in (64, 512, 512):
        x = b.node("MatMul", [x, b.random(width, 512)])
    first = b.node(
        "MatMul", [b.input("z", ["N", 32]), b.constant(b.rng.normal(size=(32, 64)), "w")]
    )
    model = b.build({x: ["N", 512], first: ["N", 64]})
    outcome = QuantizeWeights().run(model, CONTEXT)
    assert [n.tensor for n in outcome.notes if n.kept_float] == ["w"]
    assert "smallest weights, 0.5% of all numbers" in outcome.notes[-1].message
    assert not QuantizeWeights().run(outcome.model, CONTEXT).changed
    everything = QuantizeWeights(float_share=0).run(model, CONTEXT)
    assert not [n for n in everything.notes if n.kept_float]


def test_a_default_of_a_graph_input_is_left_alone():
    b = Builder()
    x, w = b.input("x", ["N", 64]), b.input("w", [64, 48])
    b.constant(b.rng.normal(size=(64, 48)), w)
    model = b.build({b.node("MatMul", [x, w]): ["N", 48]})
    assert not QuantizeWeights().run(model, CONTEXT).changed


def codes(compress, model, context=CONTEXT):
    return [d.code for d in compress.requires(model, context)]


def test_blocks_need_opset_21_here_and_on_the_target():
    low = Context(
        target=TARGET.model_copy(update={"opset": TARGET.opset.model_copy(update={"max": 17})})
    )
    four, eight = QuantizeWeights(bits=4), QuantizeWeights()
    assert codes(four, matrix_model(opset=17)) == ["EC-480"]
    assert codes(four, matrix_model(opset=17), low) == ["EC-480", "EC-481"]
    assert codes(eight, matrix_model(opset=17), low) == []
    assert codes(eight, matrix_model(opset=12)) == ["EC-442"]
    assert codes(four, matrix_model(opset=12), NBITS) == ["EC-442"]


def test_unknown_nodes_and_models_without_weights_are_told():
    assert codes(QuantizeWeights(keep_float=("mtmul",)), matrix_model()) == ["EC-444"]
    b = Builder()
    model = b.build({b.node("Relu", [b.input("x", ["N", 4])]): ["N", 4]})
    assert codes(QuantizeWeights(), model) == ["EC-482"]


def test_the_power_that_a_layer_normalisation_promises_is_used():
    gamma = np.ones(64, np.float32)
    gamma[:8] = 30
    weight = np.random.default_rng(0).standard_t(2, (64, 48)).astype(np.float32)

    def lost(normalised):
        b = Builder(opset=21)
        x = b.input("x", ["N", 64])
        if normalised:
            x = b.node("LayerNormalization", [x, b.constant(gamma)], axis=-1)
        y = b.node("MatMul", [x, b.constant(weight, "w")])
        after = QuantizeWeights(bits=4).run(b.build({y: ["N", 48]}, ir_version=10), CONTEXT).model
        tensors = {n: v.const_value.numpy() for n, v in after.graph.graph.initializers.items()}
        steps = tensors["w_quantized"].astype(np.float32)
        steps -= np.repeat(tensors["w_zero_point"].astype(np.float32), 32, 0)
        return np.square(steps * np.repeat(tensors["w_scale"], 32, 0) - weight)[:8].sum()

    assert lost(normalised=True) < lost(normalised=False)


def test_a_transposed_gemm_is_divided_along_its_inputs_and_survives_saving(tmp_path):
    weight = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    model = from_proto(
        helper.make_model(
            helper.make_graph(
                [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)],
                "g",
                [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 40])],
                [numpy_helper.from_array(weight, "w")],
            ),
            opset_imports=[helper.make_opsetid("", 21)],
            ir_version=10,
        )
    )
    outcome = QuantizeWeights(bits=4).run(model, CONTEXT)
    node = node_of(outcome.model, "DequantizeLinear")
    assert node.attributes["axis"].as_int() == 1
    save(outcome.model, tmp_path / "m.onnx")
    onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)
    assert (tmp_path / "m.onnx").stat().st_size < 40 * 64


def test_kernels_take_4_bits_per_channel_where_asked():
    b = Builder(opset=21)
    y = b.node("Conv", [b.input("x", ["N", 8, 9, 9]), b.random(8, 8, 3, 3)], pads=[1] * 4)
    model = b.build({y: None}, ir_version=10)
    bar = {"min_elements": 1, "float_share": 0.0}
    wide = QuantizeWeights(bits=4, **bar).run(model, CONTEXT).model
    found = QuantizeWeights(bits=4, kernels="int4", **bar).run(model, CONTEXT).model
    kinds = [node_of(m, "DequantizeLinear").inputs[0].dtype.name for m in (wide, found)]
    assert kinds == ["UINT8", "INT4"]
    scale = node_of(found, "DequantizeLinear").inputs[1].const_value
    assert tuple(scale.shape) == (8,)
    (output,) = fidelity(model, found).values()
    assert output.sqnr_db > 15


def test_half_quadratic_clipping_stays_close():
    model = matrix_model()
    outcome = QuantizeWeights(bits=4, clip="hqq", min_elements=1).run(model, CONTEXT)
    (output,) = fidelity(model, outcome.model).values()
    assert output.sqnr_db > 18
