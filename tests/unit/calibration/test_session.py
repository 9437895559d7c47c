"""Sessions: exact arithmetic, buffers that are used again, and weights beside the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from edgecompile.calibration import in_memory
from edgecompile.calibration import session as sessions
from edgecompile.calibration.probes import instrument
from edgecompile.calibration.session import Optimisation, Runner, run_session, session_options
from edgecompile.ir import to_bytes
from edgecompile.ir.model import Model
from tests.support.data import codes, problems
from tests.support.models import Builder, branches, concat, conv_bn_relu, feeds


def quantized_conv() -> Model:
    """Conv between Q/DQ pairs, u8 activations and the largest s8 weights: `[N, 8, 6, 6]`."""
    b = Builder(3)
    scale, zero = b.constant(np.float32(0.02)), b.constant(np.uint8(128))

    def pair(x: str) -> str:
        quantized = b.node("QuantizeLinear", [x, scale, zero])
        return b.node("DequantizeLinear", [quantized, scale, zero])

    weights = b.rng.choice([-127, 127], (8, 8, 3, 3)).astype(np.int8)
    weight = b.node(
        "DequantizeLinear",
        [b.constant(weights), b.constant(np.float32(0.0005)), b.constant(np.int8(0))],
    )
    x = b.input("x", ["N", 8, 6, 6])
    y = b.node("Conv", [pair(x), weight], kernel_shape=[3, 3], pads=[1] * 4)
    return b.build({pair(y): ["N", 8, 6, 6]})


def optimized_operators(model: Model, path: Path, *, exact: bool) -> set[str]:
    """Operators of the graph that ONNX Runtime really runs."""
    options = session_options(threads=1, optimisation=Optimisation.ALL, exact=exact)
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(to_bytes(model), options, ["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(path).graph.node}


def test_exact_sessions_run_no_integer_kernels(tmp_path: Path) -> None:
    model = quantized_conv()
    assert "QLinearConv" in optimized_operators(model, tmp_path / "a.onnx", exact=False)
    found = optimized_operators(model, tmp_path / "b.onnx", exact=True)
    assert "Conv" in found and "QuantizeLinear" in found
    assert not {op for op in found if op.startswith("QLinear") or "Integer" in op}


def test_exact_arithmetic_is_fake_quantization_in_float() -> None:
    model = quantized_conv()
    inputs = {"x": feeds(model, batch=1)["x"] * 2}

    def quantize(x: np.ndarray) -> np.ndarray:
        steps = np.clip(np.rint(x / np.float32(0.02)) + 128, 0, 255) - 128
        return (steps * np.float32(0.02)).astype(np.float32)

    (weight,) = (t for t in to_proto(model).graph.initializer if len(t.dims) == 4)
    w = onnx.numpy_helper.to_array(weight).astype(np.float64) * np.float32(0.0005)
    x = np.pad(quantize(inputs["x"]).astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    expected = np.einsum("nchwij,ocij->nohw", windows, w)
    (got,) = run_session(model, exact=True).run(inputs).values()
    assert np.abs(got - expected.clip(-2.56, 2.54)).max() <= 0.0101
    assert np.abs(expected).max() > 1.0


def to_proto(model: Model) -> onnx.ModelProto:
    return onnx.load_model_from_string(to_bytes(model))


def test_a_runner_gives_all_outputs_flat_into_the_same_memory() -> None:
    model = concat()
    names = ["conv_0_out", *(v.name for v in model.graph.graph.outputs)]
    session = run_session(instrument(model, names, {}, {})[0])
    runner = Runner(session, names)
    seen = []
    for i, batch in enumerate((1, 1, 1, 3, 3, 1)):
        inputs = feeds(model, batch=batch, seed=i)
        flat = runner.run(inputs)
        expected = session.run(inputs, names)
        assert runner.shapes == tuple(expected[n].shape for n in names)
        np.testing.assert_array_equal(flat, np.concatenate([expected[n].ravel() for n in names]))
        seen.append(flat.ctypes.data)
    assert seen[0] == seen[1] == seen[2]


def test_a_runner_keeps_strided_inputs_right() -> None:
    model = conv_bn_relu()
    session = run_session(model)
    runner = Runner(session, session.outputs)
    for i in range(3):
        whole = feeds(model, batch=1, seed=i)["x"]
        flat = runner.run({"x": np.asfortranarray(whole)})
        np.testing.assert_array_equal(flat, session.run({"x": whole})[session.outputs[0]].ravel())


def test_inputs_may_be_asked_for_as_outputs() -> None:
    model = conv_bn_relu()
    inputs = feeds(model)
    found = run_session(model).run(inputs, ["x"])
    assert found["x"] is inputs["x"]


def test_weights_read_from_memory_change_nothing(monkeypatch) -> None:
    model = conv_bn_relu()
    monkeypatch.setattr(in_memory, "SMALL_BYTES", 1 << 30)
    assert not in_memory.Weights(model).arrays
    expected = run_session(model).run(feeds(model))
    monkeypatch.setattr(in_memory, "SMALL_BYTES", 1)
    assert in_memory.Weights(model).arrays
    found = run_session(model).run(feeds(model))
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


TYPES = sorted(t.name for t in in_memory.TYPES)


@pytest.mark.parametrize("name", TYPES)
def test_initializers_of_every_type_are_read_from_memory(name: str, monkeypatch) -> None:
    monkeypatch.setattr(in_memory, "SMALL_BYTES", 1)
    values = np.arange(6).reshape(2, 3).astype(name)
    b = Builder()
    x = b.input("x", ["N", 3])
    cast = b.node("Cast", [b.constant(values)], to=int(onnx.TensorProto.FLOAT))
    session = run_session(b.build({b.node("Add", [x, cast]): ["N", 3]}))
    (found,) = session.run({"x": np.zeros((2, 3), np.float32)}).values()
    np.testing.assert_array_equal(found, values.astype(np.float32))


def test_initializers_that_do_not_lie_in_order_are_read_right(monkeypatch) -> None:
    monkeypatch.setattr(in_memory, "SMALL_BYTES", 1)
    b = Builder()
    x = b.input("x", ["N", 4])
    name = b.constant(np.zeros((4, 3), np.float32))
    model = b.build({b.node("MatMul", [x, name]): ["N", 3]})
    weights = np.asfortranarray(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    model.graph.graph.initializers[name].const_value = ir.Tensor(weights, name=name)
    (found,) = run_session(model).run({"x": np.eye(4, dtype=np.float32)}).values()
    np.testing.assert_array_equal(found, weights)


def test_weight_bytes_counts_subgraphs() -> None:
    model = branches()
    assert sessions.weight_bytes(model) == 3 * 3 * 4


def test_what_onnx_runtime_says_is_told_in_one_line() -> None:
    model = conv_bn_relu()
    wrong = {"x": np.zeros((1, 5, 8, 8), np.float32)}
    (found,) = problems(lambda: run_session(model).run(wrong, sample="a.png"))
    assert found.code == "EC-341" and "'a.png'" in found.message
    assert "\n" not in found.message and "ONNXRuntimeError" not in found.message


def test_a_model_that_onnx_runtime_cannot_run_is_refused() -> None:
    b = Builder()
    x = b.input("x", ["N", 4], np.float64)
    y = b.node(
        "BitShift",
        [b.node("Cast", [x], to=int(onnx.TensorProto.INT64)), b.constant(np.array([1]))],
        direction="LEFT",
    )
    z = b.node("Cast", [y], to=int(onnx.TensorProto.FLOAT))
    assert codes(lambda: run_session(b.build({z: ["N", 4]}))) == ["EC-340"]


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(threads: int) -> None:
    model = conv_bn_relu()
    (one,), (many,) = (
        run_session(model, threads=t).run(feeds(model)).values() for t in (1, threads)
    )
    np.testing.assert_array_equal(one, many)
