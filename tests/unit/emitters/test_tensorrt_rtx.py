"""TensorRT-RTX on the CPU: what it plans in integers, what it refuses, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.emitters.tensorrt_rtx import TensorRtRtxEngine
from edgecompile.ir import Model
from edgecompile.targets.catalogue import load_target
from edgecompile.vendor.tensorrt.plan import read_plan
from edgecompile.verify.run import _nodes
from edgecompile.verify.runtimes.tensorrt_rtx import TensorRtRtxPlan
from tests.support.models import Builder
from tests.support.tensorrt import needs_rtx, qdq_net, weights_4bit

RTX = load_target("rtx-pc")


def emit(model: Model, folder: Path, **options):
    return TensorRtRtxEngine(**options).emit(model, RTX, folder, None)


def code(model: Model, folder: Path, **options) -> str:
    with pytest.raises(EdgecompileError) as caught:
        emit(model, folder, **options)
    assert not list(folder.rglob("*.plan"))
    return caught.value.diagnostics[0].code


@needs_rtx
def test_both_layouts_of_a_matrix_are_planned_in_integers(tmp_path):
    artifact = emit(qdq_net(gemm_transposed=False), tmp_path)
    assert artifact.reproducible
    assert artifact.notes[-1] == "2 of 2 layers that were made INT8 are planned in INT8"
    plan = read_plan(tmp_path / artifact.path)
    assert plan.version[:2] == (1, 7)
    assert all(layer.integer for layer in plan.layers)


@needs_rtx
def test_a_silent_fallback_is_read_from_the_plan(tmp_path):
    """Scales along the wrong axis: the library builds it, in float. The lint refuses it before."""
    model = qdq_net(conv_axis=1)
    assert [d.code for d in TensorRtRtxEngine().supports(model, RTX)] == ["EC-693"]
    artifact = emit(model, tmp_path, capabilities=("8.6",), rebuild=False)
    assert artifact.notes[-1] == "1 of 2 layers that were made INT8 are planned in INT8"
    with TensorRtRtxPlan().open(tmp_path / artifact.path, RTX, tmp_path, threads=1) as opened:
        account = opened.account({}, {}, _nodes(model))
        assert dict(account.coverage.precision) == {"fp32": 1, "int8": 1}
        (fallback,) = account.coverage.fallback
        assert fallback.op == "Convolution"
        assert "EC-684" in [note.code for note in opened.notes]
        assert 0 < account.integer_macs < 1


@needs_rtx
def test_4_bit_weights_stay_4_bits_in_the_plan(tmp_path):
    """Blocks that the lint refuses (EC-698) are restored to float without a word."""
    sizes = {}
    for block, kinds in ((32, ("float", "int4")), (256, ("float", "float"))):
        model = weights_4bit(block)
        refused = {d.code for d in TensorRtRtxEngine().supports(model, RTX)}
        assert refused == ({"EC-698"} if block == 256 else set())
        artifact = emit(model, tmp_path / str(block), capabilities=("8.6",), rebuild=False)
        sizes[block] = artifact.bytes
        first = read_plan(tmp_path / str(block) / artifact.path).layers[0]
        assert first.inputs == kinds
    assert sizes[256] > 4 * sizes[32]


@needs_rtx
def test_nothing_in_integers_is_an_error(tmp_path):
    model = qdq_net(conv_axis=1, gemm_axis=1)
    assert code(model, tmp_path, capabilities=("8.6",), rebuild=False) == "EC-685"


@needs_rtx
def test_a_gpu_that_it_cannot_compile_for_is_named(tmp_path):
    assert code(qdq_net(), tmp_path, capabilities=("8.7",)) == "EC-682"


@needs_rtx
def test_an_open_batch_builds_and_is_not_called_reproducible_unseen(tmp_path):
    model = qdq_net(batch="N")
    assert TensorRtRtxEngine().supports(model, RTX) == []
    artifact = emit(model, tmp_path, rebuild=False)
    assert not artifact.reproducible


@needs_rtx
def test_the_parser_names_the_node_that_it_refuses(tmp_path):
    b = Builder(opset=17)
    x = b.input("x", [1, 8])
    y = b.node("Cast", [b.node("Bernoulli", [x])], to=1)
    model = b.build({y: [1, 8]})
    found = TensorRtRtxEngine().supports(model, RTX)
    assert [d.code for d in found] == ["EC-600"]
    with pytest.raises(EdgecompileError) as caught:
        emit(model, tmp_path)
    problem = caught.value.diagnostics[0]
    assert problem.code == "EC-680"
    assert "Bernoulli" in problem.message


def test_a_file_that_is_no_plan_is_not_read(tmp_path):
    path = tmp_path / "model.plan"
    path.write_bytes(b"ONNX" + bytes(64))
    with pytest.raises(ValueError, match="does not begin"):
        read_plan(path)


def test_a_plan_that_tells_nothing_is_unknown_and_not_float(tmp_path):
    path = tmp_path / "model.plan"
    path.write_bytes(b"vtrt" + bytes(20) + bytes((1, 9, 0, 7)) + bytes(64))
    plan = read_plan(path)
    assert (plan.version, plan.gpus, plan.layers) == ((1, 9, 0, 7), (), ())
    with TensorRtRtxPlan().open(path, RTX, tmp_path, threads=1) as opened:
        opened.account({}, {}, _nodes(qdq_net()))
        assert "EC-686" in [note.code for note in opened.notes]
        assert opened.run([{"x": np.zeros(1, np.float32)}]) == [{}]


def test_an_engine_that_was_replaced_is_not_opened(tmp_path):
    from edgecompile.artifacts.types import Artifact
    from edgecompile.calibration.dataset import open_dataset
    from edgecompile.ir.facts import input_specs
    from edgecompile.verify.run import verify

    path = tmp_path / "artifacts/model.plan"
    path.parent.mkdir()
    path.write_bytes(b"another program")
    artifact = Artifact(
        path="artifacts/model.plan", files=("artifacts/model.plan",), format="tensorrt-rtx-engine",
        sha256="0" * 64, bytes=15, toolchain={}, executable=True,
    )  # fmt: skip
    model = qdq_net()
    data = open_dataset("random:1", input_specs(model))
    with pytest.raises(EdgecompileError) as caught:
        verify(original=model, quantized=model, artifact=artifact, directory=tmp_path,
               target=RTX, data=data)  # fmt: skip
    assert caught.value.diagnostics[0].code == "EC-687"
