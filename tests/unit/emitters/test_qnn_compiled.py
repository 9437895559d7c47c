"""What Qualcomm's compiler really writes, and that each of its silent traps is caught."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import onnx
import pytest

from edgecompile.artifacts.types import Artifact
from edgecompile.diagnostics import EdgecompileError, ExitCode
from edgecompile.emitters.base import Emitter
from edgecompile.emitters.qnn_built import quantization_differences
from edgecompile.emitters.qnn_context_binary import QnnContextBinary
from edgecompile.emitters.qnn_dlc import QnnDlc
from edgecompile.ir import Model, save
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.schema import Target
from edgecompile.vendor.guarded import run_guarded
from edgecompile.vendor.qnn.dlc import contents_sha256, describe_dlc, members
from edgecompile.vendor.qnn.system import chip_of, describe_binary
from tests.support import models
from tests.support.models import Builder
from tests.support.qdq import whole_graph
from tests.unit.emitters.test_qnn_support import on_chip

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime_qnn") is None, reason="needs onnxruntime-qnn"
)
GEN2 = load_target("snapdragon-8-gen2")


def emit(emitter: Emitter, model: Model, directory: Path, target: Target = GEN2) -> Artifact:
    directory.mkdir(exist_ok=True)
    return emitter.emit(model, target, directory, None)


def compiled(model: Model, folder: Path, **options: str) -> dict:
    """What the worker reports for provider options of any kind."""
    save(model, folder / "model.onnx")
    payload = {
        "folder": str(folder),
        "models": [{"model": "model.onnx", "wrapper": "w.onnx", "metadata": {}}],
        "options": {"backend_type": "htp", **options},
        "embed": False,
        "binary": "w.bin",
    }
    function = "edgecompile.vendor.qnn.compile:compile_models"
    return run_guarded(function, payload, tool="qnn", workdir=folder / "process")


def refused(call) -> EdgecompileError:
    with pytest.raises(EdgecompileError) as caught:
        call()
    return caught.value


@pytest.fixture(scope="module")
def quantized(tmp_path_factory) -> tuple[Artifact, Path]:
    """A quantized model with metadata, compiled for SM8550."""
    directory = tmp_path_factory.mktemp("quantized")
    model = whole_graph()
    model.graph.metadata_props["character"] = "abc"
    return emit(QnnContextBinary(), model, directory), directory


def test_the_binary_says_what_was_built(quantized):
    artifact, directory = quantized
    assert artifact.files == ("artifacts/model_ctx.onnx", "artifacts/model_ctx_qnn.bin")
    assert artifact.reproducible
    told = describe_binary((directory / artifact.files[1]).read_bytes())
    chip = {name: told[name] for name in ("soc_model", "soc_type", "arch", "vtcm_mb")}
    assert chip == {"soc_model": 43, "soc_type": "SM8550", "arch": 73, "vtcm_mb": 8}
    (graph,) = told["graphs"]
    assert [(t["name"], t["dtype"], t["shape"]) for t in graph["inputs"]] == [
        ("x", "float32", [1, 8, 6, 6])
    ]
    assert artifact.toolchain["qnn"] == told["build_id"]
    assert artifact.coverage is not None
    assert (artifact.coverage.nodes, artifact.coverage.accelerated) == (5, 5)
    assert artifact.coverage.accelerated_macs == 1.0
    assert artifact.remarks == ()


def test_the_wrapper_keeps_interface_and_metadata(quantized):
    artifact, directory = quantized
    wrapper = onnx.load(directory / artifact.path, load_external_data=False)
    assert [node.op_type for node in wrapper.graph.node] == ["EPContext"]
    assert {p.key: p.value for p in wrapper.metadata_props}["character"] == "abc"
    assert str(directory) not in str(wrapper)


def test_equal_builds_give_equal_bytes(quantized, tmp_path):
    artifact, _ = quantized
    model = whole_graph()
    model.graph.metadata_props["character"] = "abc"
    assert emit(QnnContextBinary(), model, tmp_path / "elsewhere").sha256 == artifact.sha256


def test_quantization_outside_leaves_integers_at_the_border(tmp_path):
    options = QnnContextBinary(io_quantization="outside", wrapper="embedded")
    artifact = emit(options, whole_graph(), tmp_path)
    assert artifact.files == ("artifacts/model_ctx.onnx",)
    assert artifact.remarks == ()
    wrapper = onnx.load(tmp_path / artifact.path)
    ops = [node.op_type for node in wrapper.graph.node]
    assert sorted(ops) == ["DequantizeLinear", "EPContext", "QuantizeLinear"]
    node = wrapper.graph.node[ops.index("EPContext")]
    blob = next(a.s for a in node.attribute if a.name == "ep_cache_context")
    (graph,) = describe_binary(blob)["graphs"]
    (port,) = graph["inputs"]
    assert (port["dtype"], port["offset"]) == ("ufixed8", 0)
    assert port["scale"] == pytest.approx(1 / 255)
    (port,) = graph["outputs"]
    assert (port["dtype"], port["offset"]) == ("ufixed8", -127)
    assert port["scale"] == pytest.approx(4 / 255)


def test_other_scales_than_the_models_are_noticed(tmp_path):
    model = whole_graph()
    told = compiled(model, tmp_path, soc_model="43", offload_graph_io_quantization="1")
    graphs = told["binaries"]["w.bin"]["graphs"]
    assert quantization_differences(model, graphs) == []
    graphs[0]["inputs"][0]["scale"] *= 2
    graphs[0]["outputs"][0]["offset"] = 0
    first, second = quantization_differences(model, graphs)
    assert first.startswith("'x' has scale 0.00784314 and offset 0 instead of 0.00392157")
    assert second.endswith("instead of 0.0156863 and -127")


def test_options_change_the_binary(quantized, tmp_path):
    artifact, directory = quantized
    less = emit(QnnContextBinary(vtcm_mb=2), whole_graph(), tmp_path)
    blob = (tmp_path / less.files[1]).read_bytes()
    assert chip_of(blob)["vtcm_mb"] == 2
    assert blob != (directory / artifact.files[1]).read_bytes()


def test_the_provider_knows_every_option_that_we_give(quantized):
    import onnxruntime_qnn

    text = Path(onnxruntime_qnn.get_library_path()).read_bytes()
    assert GEN2.qnn is not None
    options = QnnContextBinary(vtcm_mb=4).provider_options(GEN2.qnn.chips[0])
    assert [name for name in options if name.encode() not in text] == []


def test_unknown_options_pass_the_compiler_without_a_word(tmp_path):
    told = compiled(whole_graph(), tmp_path, soc_model="43", htp_archh="75")
    assert told["binaries"]["w.bin"]["arch"] == 73


@pytest.mark.parametrize(
    ("options", "built"),
    [
        ({"soc_model": "21"}, ("SM8250", 68, 16)),
        ({"htp_arch": "99"}, ("UNKNOWN_SDM", 68, 4)),
        ({"htp_arch": "73"}, ("SM8550", 73, 4)),
        ({"soc_model": "43", "htp_arch": "75"}, ("SM8550", 73, 8)),
        ({"soc_model": "43", "vtcm_mb": "99"}, ("SM8550", 73, 99)),
    ],
    ids=["before-htp", "unknown-arch", "arch-alone", "contradiction", "vtcm"],
)
def test_the_compiler_replaces_silently_and_the_binary_tells(options, built, tmp_path):
    from edgecompile.emitters.qnn_built import check_built

    model = whole_graph()
    told = compiled(model, tmp_path, **options)
    binary, wrapper = told["binaries"]["w.bin"], told["models"][0]
    got = (binary["soc_type"], binary["arch"], binary["vtcm_mb"])
    if built[2] != 99:
        assert got == built
    assert GEN2.qnn is not None
    wanted = load_target("snapdragon-8-gen3").qnn.chips[0]
    error = refused(lambda: check_built(model, binary, wrapper, wanted, 8))
    assert error.diagnostics[0].code == "EC-625"
    assert "instead of SM8650 (57) v75 with 8 MiB" in error.diagnostics[0].message


def test_a_chip_that_does_not_exist_compiles_nothing_and_that_is_an_error(tmp_path):
    told = compiled(whole_graph(), tmp_path, soc_model="9999")
    assert "Unable to compile any nodes" in told["refused"]


def test_a_wrong_chip_in_the_target_leaves_nothing_behind(tmp_path):
    target = on_chip(soc_type="SM8650")
    error = refused(lambda: emit(QnnContextBinary(), whole_graph(), tmp_path, target))
    assert error.diagnostics[0].code == "EC-625"
    assert error.exit_code is ExitCode.TOOLCHAIN
    assert list(tmp_path.iterdir()) == []


def with_erf() -> Model:
    b = Builder()
    x = b.node("Relu", [b.conv(b.input("x", [1, 3, 8, 8]), 3, 4)])
    return b.build({b.conv(b.node("Erf", [x]), 4, 4): [1, 4, 8, 8]})


def test_what_stays_on_the_cpu_is_told_with_its_reason(tmp_path):
    artifact = emit(QnnContextBinary(), with_erf(), tmp_path)
    (remark,) = artifact.remarks
    assert remark.code == "EC-624"
    assert "the compiler has no operator Erf" in remark.message
    assert artifact.coverage is not None
    assert (artifact.coverage.nodes, artifact.coverage.accelerated) == (4, 3)
    assert artifact.coverage.accelerated_macs == 1.0
    assert "in 2 parts" in artifact.notes[0]


def test_a_model_of_which_nothing_is_taken_is_an_error_with_the_reasons(tmp_path):
    b = Builder()
    model = b.build({b.node("Erf", [b.input("x", [1, 4])]): [1, 4]})
    error = refused(lambda: emit(QnnContextBinary(), model, tmp_path))
    assert error.diagnostics[0].code == "EC-626"
    assert "Erf" in error.diagnostics[0].message
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_binary_is_not_read(quantized):
    artifact, directory = quantized
    blob = (directory / artifact.files[1]).read_bytes()
    with pytest.raises(ValueError, match="cannot read the context binary"):
        describe_binary(blob[: len(blob) // 2])


@pytest.fixture(scope="module")
def container(tmp_path_factory) -> tuple[Artifact, bytes]:
    """The same model as a DLC."""
    directory = tmp_path_factory.mktemp("container")
    artifact = emit(QnnDlc(), whole_graph(), directory)
    assert (directory / artifact.path).stat().st_mode & 0o777 == 0o644
    return artifact, (directory / artifact.path).read_bytes()


def test_a_dlc_is_parsed_back(container):
    artifact, data = container
    assert artifact.files == ("artifacts/model.dlc",)
    told = describe_dlc(data)
    (graph,) = told["graphs"]
    assert [t["name"] for t in graph["inputs"]] == ["x"]
    assert {"Conv2d", "FullyConnected"} <= {o["op"] for o in graph["operators"]}
    stored = {t["dtype"] for t in graph["static"]}
    assert {"sfixed8", "sfixed32"} <= stored
    assert told["weight_bytes"] >= 16 * 8 * 9 + 160


def test_a_dlc_differs_in_bytes_and_not_in_content(container, tmp_path):
    _, data = container
    again = emit(QnnDlc(), whole_graph(), tmp_path)
    assert not again.reproducible
    assert contents_sha256((tmp_path / again.path).read_bytes()) == contents_sha256(data)
    assert contents_sha256(data.replace(b"Conv2d", b"Conv3d")) != contents_sha256(data)


def test_a_dlc_that_is_cut_off_or_changed_is_not_read(container):
    _, data = container
    with pytest.raises(ValueError, match="not a DLC"):
        describe_dlc(data[: len(data) // 2])
    place = data.index(members(data)["model"])
    with pytest.raises(ValueError, match="another form"):
        describe_dlc(data[:place] + b"\0" + data[place + 1 :])


def test_a_dlc_of_a_part_of_the_model_is_refused(tmp_path):
    error = refused(lambda: emit(QnnDlc(), with_erf(), tmp_path))
    assert error.diagnostics[0].code == "EC-627"
    assert "Erf" in error.diagnostics[0].message
    assert list(tmp_path.iterdir()) == []


def test_weights_that_became_floats_are_noticed():
    from edgecompile.emitters.qnn_built import weights_problem

    model = whole_graph()
    assert weights_problem(model, 10_000) == []
    assert [d.code for d in weights_problem(model, 100)] == ["EC-605"]


def test_a_crash_of_the_compiler_is_one_error(tmp_path, monkeypatch):
    worker = tmp_path / "dies.py"
    worker.write_text("import os\n\ndef compile_models(payload, session):\n    os.abort()\n")
    monkeypatch.setattr("edgecompile.emitters.qnn_context_binary.WORKER", str(worker))
    error = refused(lambda: emit(QnnContextBinary(), models.mlp(), tmp_path / "out"))
    assert error.exit_code is ExitCode.TOOLCHAIN
    assert list((tmp_path / "out").iterdir()) == []
    assert error.diagnostics[0].code == "EC-511"


def test_half_precision_is_half_the_size(quantized, tmp_path):
    b = Builder()
    wide = b.build({b.linear(b.input("x", [1, 512]), 512, 512): [1, 512]})
    artifact = emit(QnnContextBinary(), wide, tmp_path)
    assert 512 * 512 * 2 < artifact.bytes < 512 * 512 * 3
