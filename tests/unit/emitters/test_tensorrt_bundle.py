"""The bundle for a Jetson: its files, and that `build.sh` takes the options of each TensorRT.

`trtexec` is played by a stand-in that writes its arguments down: this tests the logic of the script
and nothing of TensorRT.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from edgecompile.diagnostics import Severity
from edgecompile.emitters.base import KITS
from edgecompile.emitters.tensorrt_bundle import TensorRtBundle
from edgecompile.ir import Model, load
from edgecompile.ir.facts import op_census
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.stacks import with_release
from tests.support import models
from tests.support.qdq import float_twin
from tests.support.tensorrt import arguments, qdq_net, stand_in

ORIN = load_target("jetson-orin")
OLD_DLA = with_release(load_target("jetson-xavier-nx"), "jetpack", "5.1")
needs_sh = pytest.mark.skipif(os.name == "nt", reason="build.sh runs on Linux")


def bundle(model: Model, folder: Path, target=ORIN, **options) -> Path:
    """The folder `artifacts` of a build."""
    emitter = TensorRtBundle(**options)
    assert not [d for d in emitter.supports(model, target) if d.severity is Severity.ERROR]
    artifact = emitter.emit(model, target, folder, None)
    assert artifact.path == "artifacts/model.onnx"
    assert all((folder / name).is_file() for name in artifact.files)
    return folder / "artifacts"


def build(artifacts: Path, version: str, **options) -> subprocess.CompletedProcess[str]:
    """Run `build.sh` with a stand-in of that version."""
    program = stand_in(artifacts.parent / "bin", version, **options)
    environment = {**os.environ, "TRTEXEC": str(program)}
    return subprocess.run(
        ["sh", str(artifacts / "build.sh")],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def called(artifacts: Path, version: str) -> list[str]:
    done = build(artifacts, version)
    assert done.returncode == 0, done.stderr
    return arguments(artifacts.parent / "bin")


def test_the_bundle_holds_the_model_and_what_is_expected_of_it(tmp_path):
    folder = bundle(qdq_net(), tmp_path)
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.onnx", "build.sh", "settings.sh", "expected.json"}
    assert op_census(load(folder / "model.onnx"))["QuantizeLinear"] == 2
    assert set(json.loads((folder / "expected.json").read_text()).values()) == {"int8"}


def test_equal_models_give_equal_bundles(tmp_path):
    digests = [
        {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in bundle(qdq_net(), f).iterdir()}
        for f in (tmp_path / "a", tmp_path / "b")
    ]
    assert digests[0] == digests[1]


@needs_sh
@pytest.mark.parametrize(
    ("version", "present", "absent"),
    [
        ("8201", ["--workspace=", "--int8", "--fp16"], ["--memPoolSize", "--stronglyTyped"]),
        ("8502", ["--memPoolSize=workspace:", "--int8", "--fp16"], ["--workspace", "--strongly"]),
        ("100300", ["--memPoolSize=workspace:", "--stronglyTyped"], ["--int8", "--fp16"]),
        ("110401", ["--memPoolSize=workspace:"], ["--int8", "--fp16", "--stronglyTyped"]),
    ],
)
def test_build_takes_the_options_of_the_version_that_is_there(tmp_path, version, present, absent):
    given = called(bundle(qdq_net(), tmp_path), version)
    always = ["--onnx=", "--saveEngine=", "--timingCacheFile=", "--profilingVerbosity=detailed",
              "--exportLayerInfo=", "--exportProfile="]  # fmt: skip
    for start in (*always, *present):
        assert any(text.startswith(start) for text in given), start
    for start in (*absent, "--best"):
        assert not any(text.startswith(start) for text in given), start


def half_with_a_single() -> Model:
    """`exp_3` is in single precision between halves."""
    b = models.Builder(opset=13)
    half = b.node("Relu", [b.node("Cast", [b.input("x", [1, 4])], to=10)])
    single = b.node("Exp", [b.node("Cast", [half], to=1)])
    last = b.node("Relu", [b.node("Cast", [single], to=10)])
    return b.build({b.node("Cast", [last], to=1): [1, 4]})


def float_tail() -> Model:
    """The INT8 net, and `matmul_13` behind it in float."""
    return qdq_net(opset=13, tail=True)


@needs_sh
@pytest.mark.parametrize(
    ("model", "rule", "layers"),
    [(half_with_a_single(), "obey", ["exp_3:fp32"]), (float_tail(), "prefer", [":fp16"])],
    ids=["half", "integers"],
)
def test_tensorrt_8_is_told_the_precision_of_single_layers(tmp_path, model, rule, layers):
    """Its networks are not strongly typed: with --fp16 any float layer may be FP16."""
    folder = bundle(model, tmp_path, with_release(ORIN, "jetpack", "5.1"))
    given = called(folder, "8502")
    (text,) = [t.partition("=")[2] for t in given if t.startswith("--layerPrecisions=")]
    assert [part for part in layers if part in text] == layers
    assert text.count(":") == 1
    assert f"--precisionConstraints={rule}" in given
    assert any(t.startswith("--layerOutputTypes=") for t in given) == (rule == "obey")
    for version in ("8201", "100300", "110401"):
        (folder.parent / "bin/arguments").unlink()
        assert not [t for t in called(folder, version) if "recision" in t and "layer" in t]


@needs_sh
def test_a_model_all_in_integers_needs_no_such_flags(tmp_path):
    folder = bundle(qdq_net(opset=13), tmp_path, with_release(ORIN, "jetpack", "5.1"))
    assert not [t for t in called(folder, "8502") if "Constraints" in t or "layerP" in t]


@needs_sh
def test_build_writes_down_what_it_built(tmp_path):
    folder = bundle(qdq_net(), tmp_path)
    called(folder, "100300")
    built = json.loads((folder / "device/built.json").read_text())
    engine = (folder / "device/model.engine").read_bytes()
    assert built["engine_sha256"] == hashlib.sha256(engine).hexdigest()
    assert built["model_sha256"] == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert built["facts"] == {"tensorrt_number": "100300", "gpu_median_ms": 1.25}


@needs_sh
def test_float_engines_are_timed_in_turns_when_asked_for(tmp_path):
    shapes = {"x": [[1, 16, 8, 8], [2, 16, 8, 8], [4, 16, 8, 8]]}
    folder = bundle(qdq_net(batch="N"), tmp_path, shapes=shapes, compare=True)
    plain = load(folder / "float.onnx")
    assert not {"QuantizeLinear", "DequantizeLinear"} & op_census(plain).keys()
    given = called(folder, "100300")
    times = json.loads((folder / "device/built.json").read_text())["facts"]["times_ms"]
    assert times == {"artifact": 1.25, "fp16": 2.5, "fp32": 3.5}
    loaded = [Path(t.partition("=")[2]).name for t in given if t.startswith("--loadEngine=")]
    assert loaded == ["model.engine", "fp32.part", "fp16.part"] * 3
    assert given.count("--shapes=x:2x16x8x8") == 9
    assert given.count("--stronglyTyped") == 1
    assert given.count("--fp16") == 1
    assert not list((folder / "device").glob("*.part"))


@needs_sh
def test_what_trtexec_cannot_build_is_not_compared(tmp_path):
    """TensorRT 11 takes half precision from the graph alone."""
    folder = bundle(qdq_net(), tmp_path, compare=True)
    assert "--fp16" not in called(folder, "110401")
    facts = json.loads((folder / "device/built.json").read_text())["facts"]
    assert facts["times_ms"] == {"artifact": 1.25, "fp32": 3.5}


@needs_sh
def test_a_failed_build_leaves_no_engine_and_says_why(tmp_path):
    folder = bundle(qdq_net(), tmp_path)
    done = build(folder, "100300", fails=True)
    assert done.returncode == 3
    assert "no kernel" in done.stderr
    assert not list((folder / "device").glob("model.engine*"))
    assert not (folder / "device/built.json").exists()


@needs_sh
def test_a_stale_timing_cache_is_thrown_away(tmp_path):
    """One that another version has written may end the build."""
    folder = bundle(qdq_net(), tmp_path)
    cache = folder / "device/timing.cache"
    cache.parent.mkdir()
    cache.write_bytes(b"of another version")
    done = build(folder, "100300", stale=True)
    assert done.returncode == 0, done.stderr
    assert "again without the timing cache" in done.stdout
    assert not cache.exists()
    assert (folder / "device/model.engine").read_bytes() == b"engine"
    cache.write_bytes(b"of another version")
    assert build(folder, "100300", fails=True).returncode == 3


@needs_sh
def test_an_old_or_unknown_version_is_refused(tmp_path):
    folder = bundle(qdq_net(), tmp_path)
    assert "8.2 is the oldest" in build(folder, "8001").stderr
    if (
        shutil.which("python3")
        and subprocess.run(
            ["python3", "-c", "import tensorrt"], capture_output=True, check=False
        ).returncode
    ):
        assert "cannot be told" in build(folder, "", silent=True).stderr


@needs_sh
def test_open_shapes_and_limits_reach_trtexec(tmp_path):
    shapes = {"x": [[1, 16, 8, 8], [2, 16, 8, 8], [4, 16, 8, 8]]}
    folder = bundle(qdq_net(batch="N"), tmp_path, shapes=shapes, workspace_mib=77)
    given = called(folder, "100300")
    assert "--minShapes=x:1x16x8x8" in given
    assert "--optShapes=x:2x16x8x8" in given
    assert "--maxShapes=x:4x16x8x8" in given
    assert "--memPoolSize=workspace:77" in given


@needs_sh
def test_a_name_in_the_model_cannot_run_anything(tmp_path):
    marker = tmp_path / "ran"
    name = f"x'; touch {marker}; echo '$(touch {marker})`touch {marker}`\""
    b = models.Builder()
    x = b.input(name, ["N", 4])
    folder = bundle(b.build({b.node("Relu", [x]): ["N", 4]}), tmp_path / "out")
    given = called(folder, "100300")
    assert any(name in text for text in given)
    assert not marker.exists()


def test_open_dimensions_without_a_range_are_refused():
    b = models.Builder()
    x = b.input("x", ["N", "L"])
    found = TensorRtBundle().supports(b.build({b.node("Relu", [x]): ["N", "L"]}), ORIN)
    assert [d.code for d in found] == ["EC-683"]


def test_what_the_dla_cannot_take_is_refused():
    dla = TensorRtBundle(dla_core=0)

    def problems(model, target=ORIN, emitter=dla):
        return [d.message for d in emitter.supports(model, target) if d.code == "EC-699"]

    assert problems(qdq_net()) == []
    assert "EC-617" in {d.code for d in dla.supports(qdq_net(batch="N"), ORIN)}
    assert "batch of 5000" in problems(qdq_net(batch=5000))[0]
    assert "no core 7" in problems(qdq_net(), emitter=TensorRtBundle(dla_core=7))[0]
    assert "has none" in problems(qdq_net(), load_target("jetson-orin-nano"))[0]
    assert "10.13" in problems(qdq_net(), with_release(ORIN, "jetpack", "7.1"))[0]


@needs_sh
def test_an_old_dla_gets_a_float_model_and_a_calibration_cache(tmp_path):
    model = qdq_net(opset=17)
    folder = bundle(model, tmp_path, OLD_DLA, dla_core=1)
    plain = load(folder / "model.onnx")
    assert not {"QuantizeLinear", "DequantizeLinear"} & op_census(plain).keys()
    given = called(folder, "8502")
    assert {"--useDLACore=1", "--allowGPUFallback", "--int8", "--fp16"} <= set(given)
    lines = (folder / "device/calibration.cache").read_text().splitlines()
    assert lines[0] == "TRT-8502-EntropyCalibration2"
    scales = dict(line.split(": ") for line in lines[1:])
    assert struct.unpack(">f", bytes.fromhex(scales["x"]))[0] == pytest.approx(0.05)
    # the weights are the numbers that the integers stood for
    feed = models.feeds(model, 1)
    unpaired = float_twin(model)
    np.testing.assert_allclose(models.run(plain, feed)[0], models.run(unpaired, feed)[0], rtol=1e-6)


def runner():
    """The runner of the kit as a module, as the device imports it."""
    spec = spec_from_file_location("kit_runner", KITS / "tensorrt" / "runner.py")
    assert spec is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_sh
def test_the_runner_loads_no_engine_but_the_one_that_was_built(tmp_path, monkeypatch):
    folder = bundle(qdq_net(), tmp_path)
    module = runner()
    shutil.copy(KITS / "tensorrt" / "runner.py", folder / "runner.py")
    for name, file in {
        "HERE": "device",
        "ENGINE": "device/model.engine",
        "BUILT": "device/built.json",
    }.items():
        monkeypatch.setattr(module, name, folder / file)
    called(folder, "100300")
    data, built = module.built_engine(folder / "model.onnx")
    assert data == b"engine"
    (folder / "device/model.engine").write_bytes(b"other")
    with pytest.raises(module.EngineError, match="not the engine that was built"):
        module.built_engine(folder / "model.onnx")
    assert built["engine_sha256"] == hashlib.sha256(b"engine").hexdigest()
    with pytest.raises(module.EngineError, match="not the engine"):
        kit = {
            "options": {"build": False, "library": "tensorrt_rtx"},
            "artifact": {"sha256": "0" * 64},
        }
        module.load(str(folder / "device/model.engine"), kit)
