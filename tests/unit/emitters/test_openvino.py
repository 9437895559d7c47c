"""The IR computes the model, keeps its interface and metadata, and its integers are integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from edgecompile.diagnostics import EdgecompileError, ExitCode
from edgecompile.emitters import openvino as emitter_module
from edgecompile.emitters import operators
from edgecompile.emitters.openvino import OpenVinoIr
from edgecompile.emitters.registry import all_emitters, emitter_for
from edgecompile.ir import Model
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.operators import Entry, operator_table
from edgecompile.targets.schema import Opsets
from tests.support import models
from tests.support.models import Builder
from tests.support.qdq import qdq_conv

TARGET = load_target("intel-nuc")

METADATA = {
    "character": "a\n\n b\t\u4e00<&\">' ",
    "a key with spaces": "x",
    "0digit": "1",
    "path/like:key": "{0: 'cat'}",
    "empty": "",
    "carriage": "a\r\nb",
}


def emit(model: Model, directory: Path, source: Path | None = None, **options):
    return OpenVinoIr(**options).emit(model, TARGET, directory, source)


def scaler(b: Builder, x: str) -> str:
    """An operator of a domain that OpenVINO does not know."""
    return b.node("Scaler", [x], domain="ai.onnx.ml", offset=[0.0], scale=[2.0])


def linear(metadata=None) -> Model:
    b = Builder()
    x = b.linear(b.input("tokens", ["N", "L", 16]), 16, 512)
    return b.build({x: ["N", "L", 512]}, metadata=metadata)


@pytest.mark.parametrize("name", sorted(models.ALL))
def test_the_artifact_computes_the_model(name, tmp_path):
    model = models.ALL[name]()
    feeds = models.feeds(model)
    artifact = emit(model, tmp_path)
    compiled = ov.Core().compile_model(
        tmp_path / artifact.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    for want, got in zip(models.run(model, feeds), compiled(feeds).values(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_the_artifact_is_described_as_it_lies_there(tmp_path):
    artifact = emit(models.mlp(), tmp_path)
    assert artifact.path == "artifacts/model.xml"
    assert artifact.files == ("artifacts/model.xml", "artifacts/model.bin")
    assert artifact.bytes == sum((tmp_path / f).stat().st_size for f in artifact.files)
    assert set(artifact.toolchain) == {"openvino"}
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*")) == sorted(
        artifact.files
    )


def test_names_and_dynamic_shapes_survive(tmp_path):
    ir = ov.Core().read_model(tmp_path / emit(models.attention(), tmp_path).path)
    assert ir.input("ids").get_partial_shape().to_string() == "[?,?]"
    assert ir.input("ids").get_element_type().get_type_name() == "i64"
    assert ir.output(0).get_partial_shape().to_string() == "[?,?,8]"


def test_integer_weights_are_stored_as_integers(tmp_path):
    model = qdq_conv(channels=64, outputs=128)
    weights_bytes = 128 * 64 * 9 + 128 * 10
    artifact = emit(model, tmp_path)
    stored = (tmp_path / "artifacts/model.bin").stat().st_size
    assert weights_bytes <= stored < 1.2 * weights_bytes
    assert artifact.bytes < 2 * weights_bytes


def test_metadata_survives_with_every_character(tmp_path):
    artifact = emit(linear(METADATA), tmp_path)
    ir = ov.Core().read_model(tmp_path / artifact.path)
    kept = {key: ir.get_rt_info(["framework", key]).astype(str) for key in METADATA}
    assert kept == METADATA


def test_metadata_goes_into_an_ir_that_a_pass_has_made(tmp_path):
    plain = emit(linear(), tmp_path / "plain")
    model = linear(METADATA)
    artifact = emit(model, tmp_path / "out", source=tmp_path / "plain" / plain.path)
    ir = ov.Core().read_model(tmp_path / "out" / artifact.path)
    assert ir.get_rt_info(["framework", "character"]).astype(str) == METADATA["character"]


def test_equal_models_give_equal_bytes_anywhere_and_tell_no_path(tmp_path, monkeypatch):
    first = emit(qdq_conv(), tmp_path / "a")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.chdir(tmp_path)
    second = emit(qdq_conv(), Path("b"))
    assert first == second
    for file in first.files:
        content = (tmp_path / "a" / file).read_bytes()
        assert content == (tmp_path / "b" / file).read_bytes()
        assert str(tmp_path).encode() not in content
        assert b"edgecompile-" not in content


def test_half_precision_constants_on_request(tmp_path):
    full, half = (
        emit(linear(), tmp_path / str(wanted), compress_to_fp16=wanted) for wanted in (False, True)
    )
    sizes = [(tmp_path / str(w) / "artifacts/model.bin").stat().st_size for w in (False, True)]
    assert sizes[1] < 0.6 * sizes[0]
    assert full.sha256 != half.sha256
    assert half.notes == ("float constants in FP16",)


def test_another_model_as_source_is_refused(tmp_path):
    other = emit(models.mlp(), tmp_path / "other")
    with pytest.raises(EdgecompileError) as caught:
        emit(linear({"k": "v"}), tmp_path / "out", source=tmp_path / "other" / other.path)
    messages = [d.message for d in caught.value.diagnostics]
    assert {d.code for d in caught.value.diagnostics} == {"EC-603"}
    assert any("no input 'tokens'" in message for message in messages)
    assert caught.value.exit_code is ExitCode.REJECTED
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("port", "reason"),
    [
        ({"dtype": "f16", "shape": [None, 3]}, "is f16 instead of f32"),
        ({"dtype": "f32", "shape": [1, 3]}, "has shape [1, 3] instead of ['?', 3]"),
        ({"dtype": "f32", "shape": [None, 4]}, "has shape ['?', 4] instead of ['?', 3]"),
        ({"dtype": "f32", "shape": [None, 3, 1]}, "has shape ['?', 3, 1] instead of ['?', 3]"),
    ],
)
def test_every_change_of_the_interface_is_told(port, reason):
    b = Builder()
    model = b.build({b.node("Relu", [b.input("x", ["N", 3])]): ["N", 3]})
    output = {"names": ["relu_0_out"], "dtype": "f32", "shape": [None, 3]}
    report = {"inputs": [{"names": ["x"], **port}], "outputs": [output]}
    (problem,) = emitter_module._interface(model, report)
    assert reason in problem.message


def test_inflated_weights_and_lost_metadata_are_refused():
    model = qdq_conv()
    (problem,) = emitter_module._weights(model, {"constants": {"f32": 40000, "i8": 64}})
    assert problem.code == "EC-605"
    assert "only 64 of 9376 bytes" in problem.message
    (problem,) = emitter_module._metadata({"a": "1", "b": "2"}, {"metadata": {"a": "1"}})
    assert problem.message == "the artifact lost the metadata 'b'"


def test_what_the_importer_refuses_leaves_nothing_behind(tmp_path):
    b = Builder(opset=13)
    x = scaler(b, b.input("x", [1, 4]))
    model = b.build({x: [1, 4]})
    with pytest.raises(EdgecompileError) as caught:
        emit(model, tmp_path / "out")
    assert caught.value.diagnostics[0].code == "EC-510"
    assert "Scaler" in caught.value.diagnostics[0].message + caught.value.details
    assert not (tmp_path / "out").exists()


def supports(model: Model, target=TARGET) -> list[tuple[str, str]]:
    return [(d.code, d.message) for d in OpenVinoIr().supports(model, target)]


def test_a_usual_model_is_supported():
    for build in models.ALL.values():
        assert supports(build()) == []


def test_every_refusal_is_told_before_any_work():
    b = Builder(opset=22)
    x = b.input("x", [1, 4])
    square = b.node("Reshape", [scaler(b, x), b.constant(np.array([2, 2]))])
    old = TARGET.model_copy(update={"opset": Opsets(min=7, max=21)})
    found = supports(b.build({b.node("Det", [square]): []}), old)
    assert [code for code, _ in found] == ["EC-608", "EC-600", "EC-602"]
    assert "opset 22" in found[0][1]
    assert "'Det' (node 'det_2')" in found[1][1]
    assert "'ai.onnx.ml' (node 'scaler_0')" in found[2][1]


def test_text_inputs_are_refused():
    b = Builder()
    x = b.input("words", ["N"], np.dtype(object))
    model = b.build({b.node("StringNormalizer", [x]): ["N"]}, dtype=np.dtype(object))
    codes = [code for code, _ in supports(model)]
    assert codes.count("EC-607") == 2


def _without(monkeypatch, op, entries=()):
    """The table of OpenVINO with other entries for one operator."""
    known = operator_table("openvino-onnx")
    changed = {"ai.onnx": {**known.operators["ai.onnx"], op: tuple(entries)}}
    monkeypatch.setattr(
        operators, "operator_table", lambda name: known.model_copy(update={"operators": changed})
    )


def test_the_installed_importer_has_the_last_word(monkeypatch):
    _without(monkeypatch, "Gemm")
    assert supports(models.mlp()) == []
    monkeypatch.setattr(emitter_module, "_importer_accepts", lambda model: False)
    assert [code for code, _ in supports(models.mlp())] == ["EC-600"]


def test_a_limited_operator_is_a_warning(monkeypatch):
    _without(monkeypatch, "Relu", [Entry(limitation="only on Tuesdays")])
    (found,) = OpenVinoIr().supports(models.residual(), TARGET)
    assert (found.code, found.severity.value) == ("EC-601", "warning")
    assert "only on Tuesdays (2 nodes, the first is" in found.message


def test_emitters_are_found_by_their_file():
    assert all_emitters()["openvino-ir"] is OpenVinoIr
    with pytest.raises(EdgecompileError) as caught:
        emitter_for("openvno-ir")
    assert "'openvino-ir'" in caught.value.diagnostics[0].hints[0]
