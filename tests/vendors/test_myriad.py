"""Movidius for real: blobs by OpenVINO 2021.4.2, and IR that OpenVINO 2022.3 loads and computes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgecompile.emitters.myriad import OpenVinoBlobMyriad
from edgecompile.targets.catalogue import load_target
from edgecompile.vendor.toolchains.isolated import task, worker
from edgecompile.vendor.toolchains.place import demand
from tests.support import models
from tests.support.cli import ROOT, run_process
from tests.support.models import Builder

DATA = ROOT / "calibration_data/digits"
MODEL = ROOT / "examples/digits/model.onnx"
TARGET = load_target("ncs2")


@pytest.fixture(scope="module", autouse=True)
def toolchains():
    for name in ("myriad", "openvino-2022"):
        installed = run_process("toolchain", "install", name, timeout_s=1200)
        assert installed.code == 0, installed.err


@pytest.mark.timeout(600)
def test_the_digits_become_a_blob_and_the_same_one_again(tmp_path):
    blobs = []
    for name in ("one", "two"):
        out = tmp_path / name
        built = run_process(
            *("build", MODEL, "--target", "ncs2", "--eval", DATA, "-o", out, "--no-cache"),
            timeout_s=300,
        )
        assert built.code == 0, built.err
        manifest = json.loads((out / "manifest.json").read_text())
        (artifact,) = manifest["artifacts"]
        assert (artifact["format"], artifact["status"]) == ("openvino-blob-myriad", "checked")
        assert artifact["toolchain"] == {"openvino": "2021.4.2"}
        assert manifest["fidelity"]["stages"]["quantized_onnx"]["outputs"]["logits"]["sqnr_db"] > 50
        blobs.append((out / artifact["path"]).read_bytes())
    assert blobs[0] == blobs[1]
    assert len(blobs[0]) < 160_000


def _static(op: str, **attributes) -> models.Model:
    b = Builder(opset=13)
    x = b.conv(b.input("x", [1, 3, 8, 8]), 3, 4)
    y = b.node("Sub", [b.node(op, [x], **attributes), b.random(1, 4, 1, 1)])
    return b.build({y: [1, 4, 8, 8]})


@pytest.mark.timeout(300)
def test_the_plugin_itself_says_which_node_it_refuses():
    (found,) = OpenVinoBlobMyriad().supports(_static("HardSigmoid"), TARGET)
    assert (found.code, found.where.node) == ("EC-600", "hardsigmoid_1")


@pytest.mark.timeout(300)
def test_a_layer_that_the_plugin_rewrites_is_not_refused():
    assert OpenVinoBlobMyriad().supports(_static("Relu"), TARGET) == []


@pytest.mark.timeout(600)
def test_the_ir_loads_and_computes_in_the_last_openvino_that_drives_the_device(
    tmp_path, monkeypatch
):
    there = demand("openvino-2022")
    monkeypatch.setenv("EDGECOMPILE_TOOLCHAINS_DIR", str(tmp_path / "none"))
    out = tmp_path / "out"
    built = run_process(
        *("build", MODEL, "--target", "ncs2", "--eval", DATA, "-o", out, "--no-cache"),
        timeout_s=300,
    )
    assert built.code == 0, built.err
    assert "EC-641" in built.err
    (artifact,) = json.loads((out / "manifest.json").read_text())["artifacts"]
    assert (artifact["format"], artifact["status"]) == ("openvino-ir", "needs-device-build")
    with np.load(out / "artifacts/device/golden.npz") as golden:
        np.savez(tmp_path / "feeds.npz", image=golden["input/0/image"])
        want = golden["float/0/logits"]
    payload = {
        "model": str(out / artifact["path"]),
        "feeds": str(tmp_path / "feeds.npz"),
        "results": str(tmp_path / "results.npz"),
    }
    with worker(there, workdir=tmp_path / "work") as process:
        told = process.call(task("openvino_2022.py", "run"), payload)
    assert told["version"].startswith("2022.3")
    with np.load(tmp_path / "results.npz") as got:
        np.testing.assert_allclose(got["logits"], want, atol=0.05)
