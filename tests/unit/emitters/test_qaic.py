"""The bundle for Cloud AI 100: constants, symbols, the command, and the compiler where it is."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.emitters.qaic_bundle import QaicBundle
from edgecompile.ir.facts import constant_array
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.clip_constants import ClipConstants
from edgecompile.targets.catalogue import load_target
from tests.support import models
from tests.support.models import Builder

TARGET = load_target("cloud-ai-100")


def text() -> models.Model:
    b = Builder(opset=17)
    x = b.linear(b.input("tokens", ["N", "L", 16]), 16, 8)
    return b.build({x: ["N", "L", 8]})


def test_every_symbol_gets_a_value_or_is_refused():
    (found,) = QaicBundle().supports(text(), TARGET)
    assert (found.code, found.where.tensor) == ("EC-646", "tokens")
    assert "'L'" in found.message
    assert QaicBundle(symbols={"L": 128}).supports(text(), TARGET) == []


@pytest.mark.parametrize(
    ("options", "has", "lacks"),
    [
        ({}, {"-convert-to-fp16", "-aic-num-cores=16", "-batchsize=1"}, {"-mxfp6-matmul"}),
        ({"precision": "mxfp6"}, {"-convert-to-fp16", "-mxfp6-matmul"}, set()),
        ({"precision": "int8"}, {"-load-profile=profile.yaml"}, {"-mxfp6-matmul"}),
        ({"batch": 8, "cores": 4}, {"-aic-num-cores=4", "-batchsize=8"}, set()),
    ],
)
def test_the_command_has_cores_batch_and_precision(options, has, lacks):
    *_, last = QaicBundle(symbols={"L": 64}, **options).commands(text(), TARGET)
    assert has <= set(last)
    assert not lacks & set(last)
    assert {"-aic-hw", "-aic-hw-version=2.0", "-compile-only", "-aic-binary-dir=qpc"} <= set(last)
    batch = options.get("batch", 1)
    assert {f"-onnx-define-symbol=N,{batch}", "-onnx-define-symbol=L,64"} <= set(last)


def test_int8_profiles_first():
    first, second = QaicBundle(precision="int8", symbols={"L": 4}).commands(text(), TARGET)
    assert "-dump-profile=profile.yaml" in first
    assert "-compile-only" not in first
    assert "-load-profile=profile.yaml" in second


def test_constants_beyond_half_precision_are_clipped_and_told():
    b = Builder(opset=17)
    mask = b.constant(np.array([0, -3.4e38, -np.inf, 65504, np.nan], np.float32))
    y = b.node("Add", [b.input("x", [1, 5]), mask])
    outcome = ClipConstants().run(b.build({y: [1, 5]}), Context(target=TARGET))
    (node,) = outcome.model.graph.graph
    np.testing.assert_array_equal(
        constant_array(node.inputs[1]), np.array([0, -32752, -32752, 65504, np.nan], np.float32)
    )
    assert "2 numbers" in outcome.notes[0].message


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Something that stands where the SDK's compiler does: it notes what it is asked."""

    def put(script: str) -> None:
        place = tmp_path / "bin" / "qaic-exec"
        place.parent.mkdir()
        place.write_text(f"#!/bin/sh\n{script}\n")
        place.chmod(place.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{place.parent}{os.pathsep}{os.environ['PATH']}")

    return put


def test_where_the_sdk_is_the_model_is_compiled(tmp_path, compiler):
    compiler('[ "$1" = -v ] && { echo 1.18.0; exit; }; mkdir qpc; echo "$@" > qpc/programqpc.bin')
    artifact = QaicBundle(symbols={"L": 4}).emit(text(), TARGET, tmp_path / "out", None)
    assert artifact.executable
    assert artifact.toolchain == {"qaic-exec": "1.18.0"}
    made = (tmp_path / "out/artifacts/programqpc.bin").read_text()
    assert "-m=model.onnx" in made
    assert "-onnx-define-symbol=L,4" in made


def test_its_failure_is_one_error_and_leaves_nothing(tmp_path, compiler):
    compiler('echo "Error: operator Einsum is not supported" >&2; exit 1')
    with pytest.raises(EdgecompileError, match="operator Einsum is not supported"):
        QaicBundle(symbols={"L": 4}).emit(text(), TARGET, tmp_path / "out", None)
    assert not list((tmp_path / "out").rglob("*.onnx"))


def test_without_it_the_script_is_the_last_step(tmp_path, monkeypatch):
    monkeypatch.setattr("edgecompile.emitters.qaic_bundle.find_compiler", lambda: None)
    artifact = QaicBundle(symbols={"L": 4}).emit(text(), TARGET, tmp_path, None)
    assert artifact.files == ("artifacts/model.onnx", "artifacts/compile.sh")
    assert not artifact.executable
    script = tmp_path / "artifacts/compile.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    assert "-onnx-define-symbol=L,4" in script.read_text()
