"""Coverage from the runtime's own account, with the reasons that the passes gave."""

from __future__ import annotations

from edgecompile.verify.coverage import account


def layer(name, kind="Convolution", precision="u8", origins=None):
    origins = [name] if origins is None else origins
    return {"name": name, "kind": kind, "precision": precision, "origins": origins}


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
    found = account(layers, macs, {"m": "softmax needs float", "other": "no"}, {})
    coverage = found.coverage
    assert (coverage.nodes, coverage.accelerated) == (6, 2)
    assert coverage.precision == {"fp32": 4, "int4": 1, "int8": 1}
    assert [(f.node, f.op, f.reason) for f in coverage.fallback] == [
        ("c2", "Convolution", "its inputs are not quantized"),
        ("m/x", "MatMul", "softmax needs float"),
        ("r", "RNNSeq", "the runtime computes 'RNNSeq' in f32 here"),
    ]
    assert found.integer_macs == 0.6


def test_a_rewritten_operator_is_found_by_its_prefix():
    found = account([layer("fc/Dequantize", "FullyConnected")], {"fc": 10}, {}, {})
    assert found.integer_macs == 1.0


def test_a_float_artifact_has_no_fallback():
    found = account([layer("c", precision="f32"), layer("r", "Relu", "f32")], {"c": 10}, {}, {})
    assert (found.coverage.nodes, found.coverage.accelerated) == (2, 2)
    assert found.coverage.fallback == ()
    assert found.integer_macs == 0.0


def test_without_countable_arithmetic_there_is_no_share():
    assert account([layer("c")], {}, {}, {}).integer_macs is None


def test_an_operator_named_after_its_result_is_found_by_its_node():
    layers = [layer("y", "FullyConnected", "f32"), layer("c")]
    found = account(layers, {"gemm/WithoutBiases": 10, "c": 30}, {"gemm": "asked"}, {"y": "gemm"})
    (fallback,) = found.coverage.fallback
    assert (fallback.node, fallback.reason) == ("gemm", "asked")
    assert found.integer_macs == 0.75


def test_layers_that_the_runtime_puts_in_are_no_fallback():
    layers = [layer("c"), layer("c/WithoutBiases_abcd_relu", "Reorder", "f32", [])]
    found = account(layers, {"c/WithoutBiases": 10}, {}, {})
    assert found.coverage.fallback == ()
    assert found.integer_macs == 1.0
