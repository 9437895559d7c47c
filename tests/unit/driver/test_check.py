"""`check` lists every problem of a model for a target at once."""

from __future__ import annotations

import time
from pathlib import Path

import onnx
import onnx.helper as oh
import pytest

from edgecompile.diagnostics import EdgecompileError, ExitCode, Severity
from edgecompile.diagnostics.catalogue import exit_code_of
from edgecompile.diagnostics.catalogue.qnn import PRECISION_REFUSED, RANK_TOO_HIGH, VTCM_TOO_LARGE
from edgecompile.driver.check import check, check_all, check_model
from edgecompile.driver.check_stage import without_mended
from edgecompile.driver.loading import load_model
from edgecompile.emitters.registry import emitter_for
from edgecompile.ir.load import load
from edgecompile.ir.save import save
from edgecompile.recipes import load_recipe
from edgecompile.store.memo import Memo
from edgecompile.targets.catalogue import all_targets, load_target
from tests.support import models
from tests.support.builds import DIGITS
from tests.support.cli import run
from tests.support.toys import toy, write_toy

FLOAT = onnx.TensorProto.FLOAT


def branching(directory: Path) -> Path:
    """A model with an `If` and a free axis."""
    branches = {}
    for name, op in (("then_branch", "Relu"), ("else_branch", "Neg")):
        out = oh.make_tensor_value_info(f"{name}_out", FLOAT, ["N", 4])
        node = oh.make_node(op, ["x"], [f"{name}_out"], name=f"{op}_inside")
        branches[name] = oh.make_graph([node], name, [], [out])
    graph = oh.make_graph(
        [
            oh.make_node("ReduceSum", ["x"], ["sum"], name="sum", keepdims=0),
            oh.make_node("Cast", ["sum"], ["flag"], name="cast", to=onnx.TensorProto.BOOL),
            oh.make_node("If", ["flag"], ["y"], name="branch", **branches),
        ],
        "branching",
        [oh.make_tensor_value_info("x", FLOAT, ["N", 4])],
        [oh.make_tensor_value_info("y", FLOAT, ["N", 4])],
    )
    imports = [oh.make_opsetid("", 17)]
    onnx.save(oh.make_model(graph, opset_imports=imports, ir_version=9), directory / "if.onnx")
    return directory / "if.onnx"


def test_a_model_that_fits_has_no_problems() -> None:
    assert check(DIGITS, "intel-nuc") == []


def test_control_flow_is_a_warning(tmp_path: Path) -> None:
    found = [d for d in check(branching(tmp_path), "intel-nuc") if d.code == "EC-616"]
    assert [(d.severity, d.where.node) for d in found] == [(Severity.WARNING, "branch")]


def test_free_axes_matter_to_targets_with_fixed_shapes_only(tmp_path: Path) -> None:
    model = load(branching(tmp_path))
    target = load_target("intel-nuc")
    fixed = target.model_copy(update={"static_shapes": True})
    assert "EC-617" not in {d.code for d in check_model(model, target, [])}
    found = check_model(model, fixed, [])
    assert [d.code for d in found] == ["EC-617", "EC-616"]
    assert found[0].where.tensor == "x"


def test_shapes_close_what_the_recipe_leaves_open(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    save(models.attention(), path)
    left = check(path, "core-ultra-mtl-npu")
    assert "EC-617" in {d.code for d in left}, "the recipe freezes the batch and no more"
    assert "--shape L=128" in next(d for d in left if d.code == "EC-617").hints[0]
    for shape in ("L=6", "ids=1x6", "ids=[2, 6]"):
        assert "EC-617" not in {d.code for d in check(path, "core-ultra-mtl-npu", shapes=[shape])}
    verdicts = {v.target: v for v in check_all(path, shapes=["L=6"])}
    codes = {d.code for d in verdicts["cloud-ai-100-pro"].diagnostics}
    assert "EC-646" not in codes, "its recipe has no freeze_shapes: it gets one"
    with pytest.raises(EdgecompileError, match="EC-423"):
        check(path, "intel-nuc", shapes=["M=6"])


def test_options_of_an_artifact_change_what_is_checked() -> None:
    """The DLA is asked only where it is to run the model; what the recipe freezes is no problem."""
    assert check(DIGITS, "jetson-orin") == []
    found = check(DIGITS, "jetson-orin", overrides=("tensorrt-bundle.dla_core=0",))
    assert {d.code for d in found} == {"EC-696"}
    assert all(d.severity is Severity.WARNING for d in found)
    with pytest.raises(EdgecompileError, match="EC-242"):
        check(DIGITS, "jetson-orin", overrides=("tensorrt-bundle.dla=0",))


def test_an_unknown_target_and_a_missing_model(tmp_path: Path) -> None:
    with pytest.raises(EdgecompileError, match="EC-201"):
        check(DIGITS, "intel-nux")
    with pytest.raises(EdgecompileError, match="EC-101"):
        check(tmp_path / "no.onnx", "intel-nuc")


def test_a_known_model_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_toy(tmp_path / "toy.onnx")
    later_ns = time.time_ns() + 10_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later_ns)
    memo = Memo(tmp_path / "memo")
    first = load_model(path, memo)
    again = load_model(path, memo)
    assert not again.model.made
    assert (again.inputs, again.bytes, again.nodes) == (first.inputs, path.stat().st_size, 2)
    assert again.model.digest == first.model.digest == again.model.get().digest
    recipe = load_recipe("openvino-int8", load_target("intel-nuc"))
    assert again.specs(recipe)[0].shape == (1, 4)


def test_external_data_counts(tmp_path: Path) -> None:
    path = write_toy(tmp_path / "toy.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="toy.bin", size_threshold=0)
    before = load_model(path, Memo(None))
    assert before.bytes == path.stat().st_size + (tmp_path / "toy.bin").stat().st_size
    (tmp_path / "toy.bin").write_bytes(bytes(16))
    assert load_model(path, Memo(None)).model.digest != before.model.digest


def test_what_the_recipe_mends_is_no_problem(tmp_path: Path) -> None:
    target = load_target("intel-nuc")
    older = target.opset.model_copy(update={"max": 16})
    emitters = [emitter_for(rule.format)() for rule in target.artifacts]
    found = check_model(toy(tmp_path), target.model_copy(update={"opset": older}), emitters)
    assert [d.code for d in found] == ["EC-608"]
    assert without_mended(found, load_recipe("openvino-int8", target), models.mlp) == []
    assert without_mended(found, load_recipe("openvino-fp16", target), models.mlp) == found


def test_every_target_answers_about_one_model() -> None:
    verdicts = {verdict.target: verdict for verdict in check_all(DIGITS)}
    assert verdicts.keys() == all_targets().keys()
    assert verdicts["intel-nuc"].accepted
    assert verdicts["windows-directml"].diagnostics == ()


def test_a_wrong_option_is_a_matter_of_usage_and_a_refused_model_is_not(capsys) -> None:
    vtcm = VTCM_TOO_LARGE.at(asked=99, chip="SM8550", has=8)
    rank = RANK_TOO_HIGH.at(tensor="x", rank=6, max=5, severity=Severity.ERROR)
    refused = PRECISION_REFUSED.at(chip="SM8550", precision="fp16", nodes="12 nodes")
    assert exit_code_of([refused]) is ExitCode.REJECTED
    assert exit_code_of([refused, vtcm]) is ExitCode.USAGE
    assert exit_code_of([rank]) is ExitCode.REJECTED  # whose rule, of a warning, says 0
    asked = ("--target", "snapdragon-8-gen2", "--set", "qnn-context-binary.vtcm_mb=99")
    assert run(capsys, "check", DIGITS, *asked).code == ExitCode.USAGE
