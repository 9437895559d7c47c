"""Coverage from the runtime's own account, with the reasons that the passes gave."""

from __future__ import annotations

from edgecompile.vendor.openvino.layers import _count
from edgecompile.verify.coverage import account
from edgecompile.verify.runtimes.base import Nodes

NONE = Nodes(makers={}, operators={})


def layer(name, kind="Convolution", precision="u8", origins=None):
    origins = [name] if origins is None else origins
    return {"name": name, "kind": kind, "precision": precision, "origins": origins}


def model(*names, op="MatMul"):
    return Nodes(makers={}, operators=dict.fromkeys(names, op))


def test_integers_floats_and_reasons():
    layers = [
        layer("c1", origins=["c1/WithoutBiases", "c1"]),
        layer("c2", precision="f32"),
        layer("s", "Softmax", "f32"),
        layer("m", "MatMul", "f32", ["m/x"]),
        layer("r", "RNNSeq", "f32"),
        layer("w", "FullyConnected", "u4"),
    ]
    macs = {"c1": 600, "c2": 200, "m": 100, "w/y": 50, "nowhere": 50}
    found = account(layers, macs, {"m": "softmax needs float", "other": "no"}, model("m"))
    coverage = found.coverage
    assert (coverage.nodes, coverage.accelerated) == (6, 2)
    assert coverage.precision == {"fp32": 4, "int4": 1, "int8": 1}
    assert [(f.node, f.op, f.reason) for f in coverage.fallback] == [
        ("m", "MatMul", "softmax needs float"),
        ("c2", "Convolution", "its inputs are not quantized"),
        ("r", "RNNSeq", "the runtime computes 'RNNSeq' in f32 here"),
    ]
    assert found.integer_macs == 0.6


def test_a_rewritten_operator_is_found_by_its_prefix():
    found = account([layer("fc/Dequantize", "FullyConnected")], {"fc": 10}, {}, NONE)
    assert found.integer_macs == 1.0


def test_a_float_artifact_has_no_fallback():
    found = account([layer("c", precision="f32"), layer("r", "Relu", "f32")], {"c": 10}, {}, NONE)
    assert (found.coverage.nodes, found.coverage.accelerated) == (2, 2)
    assert found.coverage.fallback == ()
    assert found.integer_macs == 0.0


def test_without_countable_arithmetic_there_is_no_share():
    assert account([layer("c")], {}, {}, NONE).integer_macs is None


def test_an_operator_named_after_its_result_is_found_by_its_node():
    layers = [layer("y", "FullyConnected", "f32"), layer("c")]
    nodes = Nodes(makers={"y": "gemm"}, operators={"gemm": "Gemm"})
    found = account(layers, {"gemm/WithoutBiases": 10, "c": 30}, {"gemm": "asked"}, nodes)
    (fallback,) = found.coverage.fallback
    assert (fallback.node, fallback.reason) == ("gemm", "asked")
    assert found.integer_macs == 0.75


def test_layers_that_the_runtime_puts_in_are_no_fallback():
    layers = [layer("c"), layer("c/WithoutBiases_abcd_relu", "Reorder", "f32", [])]
    found = account(layers, {"c/WithoutBiases": 10}, {}, NONE)
    assert found.coverage.fallback == ()
    assert found.integer_macs == 1.0


def test_all_operators_that_a_pass_left_in_float_are_listed_however_the_runtime_fuses_them():
    layers = [
        layer("c", origins=["c", "bias"]),
        layer("attention", "Subgraph", "f32", ["softmax", "mixed"]),
    ]
    kept = dict.fromkeys(("scores", "mixed", "bias", "folded away"), "a product")
    found = account(layers, {"c": 60, "mixed": 40}, kept, model("scores", "mixed", "bias"))
    assert [(f.node, f.op) for f in found.coverage.fallback] == [
        ("scores", "MatMul"),
        ("mixed", "MatMul"),
    ]
    assert found.integer_macs == 0.6


def test_a_share_is_not_told_when_one_of_the_counts_is_unknown():
    assert account([layer("c")], {"c": 10, "loop": None}, {}, NONE).integer_macs is None


def test_fused_attention_counts_both_of_its_products():
    import openvino as ov
    from openvino import opset13 as ops

    query, key, value = (
        ops.parameter([2, 3, *rest], ov.Type.f32) for rest in ([5, 8], [7, 8], [7, 4])
    )
    node = ops.scaled_dot_product_attention(query, key, value)
    assert _count(node) == 2 * 3 * (5 * 7 * 8 + 5 * 7 * 4)
    loose = ops.parameter(ov.PartialShape([2, 3, -1, 8]), ov.Type.f32)
    assert _count(ops.scaled_dot_product_attention(loose, key, value)) is None
    assert _count(ops.softmax(query, 0)) == 0
