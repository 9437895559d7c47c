"""The emulator runs what was compiled; the kit runs the same on a device, and only there."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import stat
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from edgecompile.calibration.session import run_session
from edgecompile.diagnostics import EdgecompileError
from edgecompile.emitters.qnn_built import check_built
from edgecompile.emitters.qnn_context_binary import QnnContextBinary
from edgecompile.emitters.qnn_dlc import QnnDlc
from edgecompile.targets.catalogue import load_target
from edgecompile.vendor.qnn.system import describe_binary
from edgecompile.verify.runtimes.qnn_context_binary import QnnContextRuntime
from tests.support import models
from tests.support.qdq import whole_graph

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime_qnn") is None, reason="needs onnxruntime-qnn"
)
GEN2 = load_target("snapdragon-8-gen2")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Path:
    """The wrapper of a quantized model."""
    directory = tmp_path_factory.mktemp("compiled")
    return directory / QnnContextBinary().emit(whole_graph(), GEN2, directory, None).path


def samples(count: int = 2) -> list[dict[str, np.ndarray]]:
    model = whole_graph()
    return [models.feeds(model, batch=1, seed=seed) for seed in range(count)]


def test_the_emulator_computes_the_quantized_model(compiled, tmp_path):
    model, feeds = whole_graph(), samples()
    session = run_session(model, threads=1, exact=True)
    with QnnContextRuntime().open(compiled, GEN2, tmp_path, threads=1) as opened:
        (stage,) = opened.stages
        assert stage.emulated
        assert stage.judged
        found = opened.run(feeds)
        assert opened.run([]) == []
        assert opened.latency(compiled, feeds[0]) is None
    step = 4 / 255
    for sample, got in zip(feeds, found, strict=True):
        want = session.run(sample)
        (name,) = want
        assert np.abs(want[name]).max() > 5 * step
        np.testing.assert_allclose(got["artifact"][name], want[name], atol=1.01 * step)


def test_a_binary_that_is_cut_off_is_one_error(compiled, tmp_path):
    folder = tmp_path / "cut"
    folder.mkdir()
    for file in compiled.parent.iterdir():
        data = file.read_bytes()
        (folder / file.name).write_bytes(data if file.suffix == ".onnx" else data[:4096])
    with pytest.raises(EdgecompileError) as caught:
        runtime = QnnContextRuntime().open(folder / compiled.name, GEN2, tmp_path, threads=1)
        runtime.__enter__()
    assert caught.value.diagnostics[0].code in {"EC-510", "EC-511"}


def kit_runner(emitter, folder: Path) -> types.ModuleType:
    """The runner of a kit, loaded from the file that the device gets."""
    scripts = emitter.kit(None, GEN2)
    for name, text in scripts.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    module = types.ModuleType("runner")
    module.__file__ = str(folder / "runner.py")
    exec(compile(scripts.files["runner.py"], module.__file__, "exec"), vars(module))
    module.kit_options = dict(scripts.options)
    return module


def test_the_kit_refuses_to_prove_anything_in_the_emulator(compiled, tmp_path):
    runner = kit_runner(QnnContextBinary(performance_profile="balanced"), tmp_path)
    assert runner.kit_options["provider"]["htp_performance_mode"] == "balanced"
    with pytest.raises(runner.ERRORS, match="only run the emulator"):
        runner.load(str(compiled), {"options": runner.kit_options})


def test_the_kit_runs_the_wrapper_where_the_provider_is(compiled, tmp_path, monkeypatch):
    runner = kit_runner(QnnContextBinary(), tmp_path)
    code = (
        "import json, platform, sys, types, numpy as np;"
        "platform.machine = lambda: 'aarch64';"
        "import runner;"
        "loaded = runner.load(sys.argv[1], json.loads(sys.argv[2]));"
        "out = loaded.run(dict(np.load(sys.argv[3])));"
        "print(json.dumps({k: v.tolist() for k, v in out.items()}))"
    )
    (feeds,) = samples(1)
    np.savez(tmp_path / "feeds.npz", **feeds)
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", code, str(compiled), json.dumps({"options": runner.kit_options}),
         str(tmp_path / "feeds.npz")],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip
    got = json.loads(done.stdout.splitlines()[-1])
    want = run_session(whole_graph(), threads=1, exact=True).run(feeds)
    for name, value in want.items():
        np.testing.assert_allclose(np.array(got[name]), value, atol=1.01 * 4 / 255)


TOOL = """#!/bin/sh
# what the SDK's tool does, as far as files are concerned: --input_list FILE --output_dir DIR
while [ $# -gt 0 ]; do
  case "$1" in --input_list) list=$2 ;; --output_dir) out=$2 ;; esac; shift
done
[ -n "$REFUSE" ] && { echo 'no such backend'; exit 7; }
mkdir -p "$out/Result_0"
sed 's/^x:=//' "$list" | xargs cat > "$out/Result_0/y.raw"
"""


@pytest.fixture
def sdk(tmp_path, monkeypatch) -> Path:
    """A folder laid out like the SDK, with a tool that copies its input."""
    machine = platform.machine().lower()
    for folder in ("aarch64-android", f"{machine}-linux", "x86_64-windows-msvc", "zarch-linux"):
        tool = tmp_path / "sdk" / "bin" / folder / "qnn-net-run"
        tool.parent.mkdir(parents=True)
        tool.write_text(TOOL if folder.startswith(machine) else "#!/bin/sh\nexit 9\n")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    tool = tmp_path / "sdk" / "bin" / f"{machine}-linux" / "qnn-net-run"
    monkeypatch.setenv("QAIRT_SDK_ROOT", str(tmp_path / "sdk"))
    return tool


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
def test_the_kit_of_a_dlc_finds_the_tool_and_reads_what_it_writes(sdk, tmp_path, monkeypatch):
    runner = kit_runner(QnnDlc(), tmp_path)
    value = np.arange(6, dtype=np.float32).reshape(1, 6)
    np.savez(tmp_path / "golden.npz", **{"float/0/y": value})
    kit = {"options": runner.kit_options, "outputs": ["y"], "golden": {"file": "golden.npz"}}
    loaded = runner.load("model.dlc", kit)
    np.testing.assert_array_equal(loaded.run({"x": value})["y"], value)
    assert loaded.runtime == "qnn-net-run"
    monkeypatch.setenv("REFUSE", "1")
    with pytest.raises(runner.ERRORS, match="no such backend"):
        loaded.run({"x": value})
    monkeypatch.delenv("QAIRT_SDK_ROOT")
    with pytest.raises(runner.ERRORS, match="neither on PATH nor below"):
        runner.load("model.dlc", kit)


def test_the_emulator_runs_binaries_of_other_chips_and_only_reading_back_tells(tmp_path):
    model, other = whole_graph(), load_target("snapdragon-8-gen3")
    artifact = QnnContextBinary().emit(model, other, tmp_path, None)
    with QnnContextRuntime().open(tmp_path / artifact.path, GEN2, tmp_path, threads=1) as opened:
        assert len(opened.run(samples(1))) == 1  # not a word about the chip
    told = describe_binary((tmp_path / artifact.files[1]).read_bytes())
    ports = {kind: told["graphs"][0][kind] for kind in ("inputs", "outputs")}
    assert GEN2.qnn is not None
    with pytest.raises(EdgecompileError) as caught:
        check_built(model, told, {"contexts": [], **ports}, GEN2.qnn.chips[0], 8)
    assert "SM8650 (57) v75 with 8 MiB instead of SM8550 (43) v73" in str(caught.value)
