"""Several chips in one DLC, and several models in one context binary."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from edgecompile.artifacts.link import LinkManifest
from edgecompile.diagnostics import EdgecompileError, ExitCode
from edgecompile.driver.link import link
from edgecompile.driver.together import load_targets
from edgecompile.ir import save
from edgecompile.targets.catalogue import load_target
from edgecompile.vendor.qnn.dlc import describe_dlc
from edgecompile.vendor.qnn.system import describe_binary
from tests.support.builds import digests, run_build
from tests.support.cli import run
from tests.support.models import Builder

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime_qnn") is None, reason="needs onnxruntime-qnn"
)
PAIR = "snapdragon-8-gen2,snapdragon-8-gen3"


def code_of(call) -> tuple[str, str]:
    with pytest.raises(EdgecompileError) as caught:
        call()
    return caught.value.diagnostics[0].code, caught.value.diagnostics[0].message


def test_targets_together_have_what_all_of_them_have():
    both = load_targets("snapdragon-8-gen2,rb3-gen2")
    assert both.id == "snapdragon-8-gen2,rb3-gen2"
    assert [chip.soc_type for chip in both.qnn.chips] == ["SM8550", "QCS6490"]
    assert "fp16" not in both.precisions["npu"]
    assert [rule.format for rule in both.artifacts] == ["qnn-dlc"]
    assert load_targets("snapdragon") is load_target("snapdragon-8-gen3")


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ("snapdragon-8-gen2,intel-nuc", "no format has room"),
        ("snapdragon-8-gen2,rb5", "no chip that is compiled for"),
        ("snapdragon-x-elite,snapdragon-x-plus", "the same chip"),
    ],
)
def test_targets_that_do_not_go_together(names, problem):
    code, message = code_of(lambda: load_targets(names))
    assert code == "EC-630"
    assert problem in message
    assert code_of(lambda: load_targets("snapdragon-8-gen2,snapdragn"))[0] == "EC-201"


def test_one_file_holds_a_graph_for_each_chip(tmp_path):
    result, _ = run_build(tmp_path, target=PAIR)
    assert result.exit_code is ExitCode.OK
    (artifact,) = result.manifest.artifacts
    assert (artifact.format, artifact.status) == ("qnn-dlc", "checked")
    assert artifact.files == ("artifacts/model_ctx.onnx", "artifacts/model.dlc")
    assert "SM8550, SM8650" in artifact.notes[0]
    told = describe_dlc((tmp_path / "out" / "artifacts" / "model.dlc").read_bytes())
    built = {(c["soc_type"], c["arch"], c["vtcm_mb"]) for c in told["caches"].values()}
    assert built == {("SM8550", 73, 8), ("SM8650", 75, 8)}
    kit = json.loads((tmp_path / "out" / "artifacts" / "device" / "kit.json").read_text())
    assert kit["options"] == {"provider": {"backend_type": "htp"}}
    assert kit["artifact"]["path"] == "model_ctx.onnx"


def two_heads(folder: Path) -> list[Path]:
    """Two models with the same convolutions and different heads."""
    found = []
    for name, head in (("first", 3), ("second", 5)):
        b = Builder()
        x = b.input("x", [1, 3, 16, 16])
        for channels in (3, 64, 64):
            x = b.node("Relu", [b.conv(x, channels, 64)])
        x = b.node("Flatten", [b.node("GlobalAveragePool", [x])])
        y = b.linear(x, 64, head)
        save(b.build({y: [1, head]}), folder / f"{name}.onnx")
        found.append(folder / f"{name}.onnx")
    return found


@pytest.fixture(scope="module")
def builds(tmp_path_factory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("builds")
    made = []
    for model in two_heads(directory):
        out = directory / model.stem
        run_build(
            directory, model=model, target="snapdragon-8-gen2", calibration="random:4", output=out
        )
        made.append(out)
    return made[0], made[1]


def test_linked_models_share_their_weights_and_compute_what_they_did(builds, tmp_path):
    done = link(builds, tmp_path / "app")
    manifest = LinkManifest.load(tmp_path / "app" / "manifest.json")
    assert manifest == done.manifest
    (artifact,) = manifest.artifacts
    ran = all(member.samples for member in manifest.members)
    assert artifact.status == ("simulated" if ran else "checked")
    assert artifact.files == (
        "artifacts/first_ctx.onnx", "artifacts/second_ctx.onnx", "artifacts/shared_qnn.bin",
    )  # fmt: skip
    assert artifact.bytes < 0.8 * sum(member.alone_bytes for member in manifest.members)
    for member in manifest.members:
        assert all(figures.cosine > 0.999 for figures in member.outputs.values())
    told = describe_binary((tmp_path / "app" / artifact.files[2]).read_bytes())
    assert (told["soc_model"], len(told["graphs"])) == (43, 2)
    assert sorted(g["outputs"][0]["shape"] for g in told["graphs"]) == [[1, 3], [1, 5]]
    before = digests(tmp_path / "app")
    link(builds, tmp_path / "app")
    assert digests(tmp_path / "app") == before


def test_the_command_prints_the_wrappers(builds, tmp_path, capsys):
    ran = run(capsys, "link", str(builds[0]), str(builds[1]), "-o", str(tmp_path / "app"))
    assert ran.code == 0
    assert ran.out.splitlines() == [
        str(tmp_path / "app" / "artifacts" / f"{name}_ctx.onnx") for name in ("first", "second")
    ]
    assert "together" in ran.err


def test_builds_that_cannot_be_linked_are_refused(builds, tmp_path):
    for given, problem in (
        ((builds[0],), "two builds or more"),
        ((builds[0], tmp_path / "none"), "holds no build"),
    ):
        code, message = code_of(lambda given=given: link(given, tmp_path / "app"))
        assert code == "EC-634"
        assert problem in message
    other = tmp_path / "other"
    shutil.copytree(builds[1], other)
    text = (other / "manifest.json").read_text().replace("snapdragon-8-gen2", "snapdragon-8-gen3")
    (other / "manifest.json").write_text(text)
    code, message = code_of(lambda: link((builds[0], other), tmp_path / "app"))
    assert code == "EC-634"
    assert "another device" in message
    assert not (tmp_path / "app").exists()
