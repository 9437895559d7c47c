"""A DLC and the user's SDK: stand-ins for its tools, which show our side of the calls only.

No SDK was there to try: that its tools take our files is not shown here.
"""

from __future__ import annotations

import importlib.util
import platform
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from edgecompile.diagnostics import EdgecompileError, ExitCode
from edgecompile.emitters.qnn_dlc import QnnDlc
from edgecompile.ir import Model
from edgecompile.targets.catalogue import load_target
from edgecompile.verify.runtimes.qnn_dlc import QnnDlcRuntime
from tests.support.models import Builder
from tests.support.qdq import activation_pair

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("onnxruntime_qnn") is None, reason="needs onnxruntime-qnn"
    ),
    pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts"),
]
GEN2 = load_target("snapdragon-8-gen2")
PLATFORM = f"{platform.machine().lower()}-linux-clang"
INFO = """#!/bin/sh
[ "$1" = -i ] && [ -s "$2" ] || exit 2
head -c 2 "$2" | grep -q PK || { echo 'ERROR: not a DLC'; exit 1; }
echo "DLC info for: $2"
"""
NET_RUN = """#!/bin/sh
echo "$@" > "$(dirname "$0")/../../asked"
while [ $# -gt 0 ]; do
  case "$1" in
    --input_list) list=$2 ;; --output_dir) out=$2 ;; --dlc_path) dlc=$2 ;;
    --backend) backend=$2 ;; --model) reader=$2 ;;
  esac; shift
done
for file in "$dlc" "$backend" "$reader"; do [ -f "$file" ] || { echo "no $file"; exit 3; }; done
case ":$LD_LIBRARY_PATH:" in *":$(dirname "$backend"):"*) ;; *) echo 'no path'; exit 4 ;; esac
mkdir -p "$out/Result_0"
sed 's/^x:=//' "$list" | xargs cat > "$out/Result_0/y.raw"
"""


@pytest.fixture
def sdk(tmp_path, monkeypatch) -> Path:
    """The layout of the SDK, with a reader, a runner and the libraries by name."""
    root = tmp_path / "sdk"
    (root / "bin" / PLATFORM).mkdir(parents=True)
    (root / "lib" / PLATFORM).mkdir(parents=True)
    (root / "sdk.yaml").write_text("version: 2.51.0.260929\n")
    for name, text in (("qairt-dlc-info", INFO), ("qnn-net-run", NET_RUN)):
        tool = root / "bin" / PLATFORM / name
        tool.write_text(text)
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    for name in ("libQnnHtp.so", "libQnnModelDlc.so"):
        (root / "lib" / PLATFORM / name).write_text("")
    for name in ("QNN_SDK_ROOT", "SNPE_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QAIRT_SDK_ROOT", str(root))
    return root


@pytest.fixture(scope="module")
def dlc(tmp_path_factory) -> Path:
    """`y = Relu(x)` as a DLC: what a tool that copies its input computes for x >= 0."""
    directory = tmp_path_factory.mktemp("dlc")
    return directory / QnnDlc().emit(relu(), GEN2, directory, None).path


def relu() -> Model:
    b = Builder(opset=21)
    x = activation_pair(b, b.input("x", [1, 6]), 1 / 255, 0)
    y = activation_pair(b, b.node("Relu", [x]), 1 / 255, 0)
    model = b.build({y: [1, 6]})
    model.graph.graph.outputs[0].name = "y"
    return model


def test_the_sdk_reads_and_runs_it(sdk, dlc, tmp_path):
    samples = [{"x": np.full((1, 6), value, np.float32)} for value in (0.25, 0.75)]
    with QnnDlcRuntime().open(dlc, GEN2, tmp_path / "work", threads=1) as opened:
        (note,) = opened.notes
        assert note.code == "EC-633"
        assert "2.51.0.260929 has read the DLC (qairt-dlc-info)" in note.message
        (stage,) = opened.stages
        assert (stage.runtime, stage.emulated) == (
            "qnn-net-run of QAIRT 2.51.0.260929, emulator", True,
        )  # fmt: skip
        found = opened.run(samples)
        assert opened.run([]) == []
    for sample, got in zip(samples, found, strict=True):
        np.testing.assert_array_equal(got["artifact"]["y"], sample["x"])
    asked = (sdk / "asked").read_text().split()
    library = sdk / "lib" / PLATFORM
    assert asked[:6] == [
        "--backend", str(library / "libQnnHtp.so"),
        "--model", str(library / "libQnnModelDlc.so"), "--dlc_path", str(dlc),
    ]  # fmt: skip
    assert list((tmp_path / "work").glob("worker-*")) == []
    assert QnnDlcRuntime.host_tools() == {"QAIRT": "2.51.0.260929 qairt-dlc-info qnn-net-run"}


def test_what_the_sdk_refuses_is_one_error(sdk, tmp_path):
    (tmp_path / "model.dlc").write_bytes(b"no archive")
    with pytest.raises(EdgecompileError) as caught:
        QnnDlcRuntime().open(tmp_path / "model.dlc", GEN2, tmp_path / "w", threads=1).__enter__()
    assert caught.value.exit_code is ExitCode.TOOLCHAIN
    assert "QAIRT 2.51.0.260929 failed: qairt-dlc-info failed: ERROR: not a DLC" in str(
        caught.value
    )


def test_a_runner_that_fails_is_one_error(sdk, dlc, tmp_path):
    (sdk / "lib" / PLATFORM / "libQnnModelDlc.so").unlink()
    with (
        QnnDlcRuntime().open(dlc, GEN2, tmp_path / "work", threads=1) as opened,
        pytest.raises(EdgecompileError, match=r"no libQnnModelDlc\.so"),
    ):
        opened.run([{"x": np.zeros((1, 6), np.float32)}])


def test_a_dsp_has_no_emulator(sdk, dlc, tmp_path):
    with QnnDlcRuntime().open(dlc, load_target("rb5"), tmp_path / "w", threads=1) as opened:
        assert opened.stages == []
        assert [note.code for note in opened.notes] == ["EC-633", "EC-658"]


def test_without_an_sdk_it_is_only_parsed_back(dlc, tmp_path, monkeypatch):
    for name in ("QAIRT_SDK_ROOT", "QNN_SDK_ROOT", "SNPE_ROOT"):
        monkeypatch.delenv(name, raising=False)
    with QnnDlcRuntime().open(dlc, GEN2, tmp_path / "w", threads=1) as opened:
        assert opened.stages == []
        assert len(opened.notes) == 1
        assert opened.run([{}, {}]) == [{}, {}]
    assert QnnDlcRuntime.host_tools() == {}


def test_a_variable_that_names_no_sdk_is_told_with_the_artifact(dlc, tmp_path, monkeypatch):
    for name in ("QNN_SDK_ROOT", "SNPE_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QAIRT_SDK_ROOT", str(tmp_path / "none"))
    with QnnDlcRuntime().open(dlc, GEN2, tmp_path / "w", threads=1) as opened:
        assert [note.code for note in opened.notes] == ["EC-629", "EC-658"]
    assert list(QnnDlcRuntime.host_tools()) == ["QAIRT_SDK_ROOT"]  # figures are not those without
