"""`edgecompile build` from a real model to a verified OpenVINO IR, and what the cache does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgecompile.artifacts.manifest import Manifest
from edgecompile.diagnostics import EdgecompileError, ExitCode
from edgecompile.driver.plan import plan
from edgecompile.recipes import read_recipe
from edgecompile.store.history import History
from tests.support.builds import (
    DIGITS,
    DIGITS_DATA,
    REPORTS,
    ROOT,
    RememberingSink,
    digests,
    request,
    run_build,
)
from tests.support.cli import hear_interrupts

PASSES = [step.label for step in read_recipe("openvino-int8").steps]
LAST = ["write", "emit openvino-ir", "verify"]


def from_pass(label: str) -> list[str]:
    """The passes of the recipe from `label` on."""
    return PASSES[PASSES.index(label) :]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped model built in `out` and its cache; not to be written to."""
    directory = tmp_path_factory.mktemp("first")
    run_build(directory)
    return directory


@pytest.fixture
def built(first: Path, tmp_path: Path) -> Path:
    """A copy of `first` that a test may change."""
    shutil.copytree(first, tmp_path / "built")
    return tmp_path / "built"


def test_the_shipped_model_becomes_a_verified_artifact(first: Path) -> None:
    manifest = Manifest.load(first / "out" / "manifest.json")
    (artifact,) = manifest.artifacts
    assert (artifact.format, artifact.status) == ("openvino-ir", "verified")
    assert manifest.fidelity is not None
    assert manifest.fidelity.held_out
    assert manifest.fidelity.samples >= 10
    for stage in ("quantized_onnx", "artifact"):
        (output,) = manifest.fidelity.stages[stage].outputs.values()
        assert output.cosine > 0.99
    assert manifest.calibration is not None
    assert manifest.calibration.samples > 100
    assert manifest.coverage is not None
    assert manifest.coverage.precision["int8"] >= 10
    files = {p.relative_to(first / "out").as_posix() for p in (first / "out").rglob("*.*")}
    assert files >= {"manifest.json", "report.json", "report.html", "model.onnx", *artifact.files}
    report = json.loads((first / "out" / "report.json").read_text())
    steps = [step["step"] for step in report["steps"]]
    assert steps[:3] == ["load", "data", "check"]
    assert steps[-3:] == LAST
    assert set(PASSES) < set(steps)


def test_nothing_in_the_manifest_tells_when_or_where(first: Path) -> None:
    text = (first / "out" / "manifest.json").read_text()
    assert str(first) not in text
    assert str(ROOT) not in text
    assert "seconds" not in text


def described(directory: Path, text: str) -> str:
    """A dataset.yaml beside copies of the digits."""
    for name in ("calibration.npz", "evaluation.npz", "labels.npy"):
        shutil.copy(DIGITS_DATA / name, directory / name)
    (directory / "dataset.yaml").write_text(f"schema: edgecompile/dataset@1\n{text}")
    return str(directory / "dataset.yaml")


def test_labelled_evaluation_data_give_task_accuracy(built: Path, tmp_path: Path) -> None:
    evaluation = described(tmp_path, "inputs: {image: evaluation.npz}\nlabels: labels.npy\n")
    result, sink = run_build(built, eval=evaluation, budgets=("top1>=0.9", "top1_drop<=0.01"))
    metric = result.manifest.metrics["top1"]
    assert metric.float > 0.97
    assert metric.quantized > metric.float - 0.01
    assert result.manifest.evaluation is not None
    assert result.manifest.evaluation.samples == len(np.load(DIGITS_DATA / "labels.npy"))
    assert result.exit_code is ExitCode.OK
    assert "verify" in sink.steps_in_progress


def test_one_dataset_yaml_with_both_splits_will_do(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    splits = (
        "splits:\n"
        "  calibration: {inputs: {image: calibration.npz}}\n"
        "  evaluation: {inputs: {image: evaluation.npz}, labels: labels.npy}\n"
    )
    described(tmp_path / "data", splits)
    result, _ = run_build(tmp_path, calibration=str(tmp_path / "data"))
    assert result.manifest.metrics["top1"].quantized > 0.96
    assert result.manifest.calibration is not None
    assert result.manifest.calibration.samples == 200


def test_without_data_an_artifact_is_checked_and_no_more(tmp_path: Path) -> None:
    result, _ = run_build(tmp_path, calibration=None, recipe="openvino-fp16")
    assert [artifact.status for artifact in result.manifest.artifacts] == ["checked"]
    assert result.manifest.fidelity is None
    assert result.manifest.calibration is None
    with_samples, _ = run_build(tmp_path, recipe="openvino-fp16")
    assert [artifact.status for artifact in with_samples.manifest.artifacts] == ["verified"]
    assert with_samples.manifest.calibration is None


def test_a_model_is_checked_again_when_options_of_the_artifact_change(tmp_path: Path) -> None:
    asked = {"calibration": None, "recipe": "openvino-fp16"}
    for fp16, cached in ((True, False), (True, True), (False, False)):
        override = f"openvino-ir.compress_to_fp16={fp16}".lower()
        _, sink = run_build(tmp_path, overrides=(override,), **asked)
        assert sink.finished["check"] is cached


def test_a_second_build_is_all_cached_and_gives_the_same_bytes(built: Path) -> None:
    before = digests(built / "out", without=REPORTS)
    result, sink = run_build(built)
    assert sink.ran == []
    assert digests(built / "out", without=REPORTS) == before
    assert result.exit_code is ExitCode.OK


def test_an_output_that_was_tampered_with_is_made_good(built: Path) -> None:
    before = digests(built / "out", without=REPORTS)
    weights = built / "out" / "artifacts" / "model.bin"
    weights.write_bytes(weights.read_bytes()[::-1])
    _, sink = run_build(built)
    assert sink.ran == []
    assert digests(built / "out", without=REPORTS) == before


def test_copies_of_the_inputs_are_known_by_content(built: Path, tmp_path: Path) -> None:
    before = digests(built / "out", without=REPORTS)
    shutil.copy(DIGITS, tmp_path / "model.onnx")
    shutil.copy(DIGITS_DATA / "calibration.npz", tmp_path / "calibration.npz")
    _, sink = run_build(
        built,
        model=tmp_path / "model.onnx",
        calibration=str(tmp_path / "calibration.npz"),
        output=built / "other",
    )
    assert sink.ran == []
    assert digests(built / "other", without=REPORTS) == before


def test_the_history_of_a_replayed_build_says_that_all_was_cached(built: Path) -> None:
    run_build(built)
    last = History(built / "cache" / "history").last(built / "out")
    assert last is not None
    assert all(step.hit for step in last.steps)
    assert {"check", *PASSES, *LAST} <= {step.label for step in last.steps}


HEAVY = {"onnxruntime", "openvino", "nncf", "onnxscript", "PIL"}


def modules_of_a_cached_build(built: Path, **changes: str) -> set[str]:
    """Names of all modules in a fresh process after a build whose steps were all cached."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.support.builds import run_build\n"
        f"_, sink = run_build(Path({str(built)!r}), **{changes!r})\n"
        "assert not sink.ran, sink.ran\n"
        "print(*sys.modules)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_cached_build_loads_nothing_heavy(built: Path) -> None:
    loaded = modules_of_a_cached_build(built)
    assert loaded & (HEAVY | {"onnx", "onnx_ir", "numpy", "edgecompile.passes.pipeline"}) == set()


def test_nor_does_one_that_is_cached_step_by_step(built: Path) -> None:
    loaded = modules_of_a_cached_build(built, recipe="openvino-int8")
    assert "edgecompile.passes.pipeline" in loaded
    assert loaded & HEAVY == set()


def test_another_directory_and_hash_seed_give_the_same_bytes(first: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "some" / "other place"
    elsewhere.mkdir(parents=True)
    shutil.copy(DIGITS, elsewhere / "model.onnx")
    shutil.copy(DIGITS_DATA / "calibration.npz", elsewhere / "calibration.npz")
    done = subprocess.run(
        [sys.executable, "-m", "edgecompile", "build", "model.onnx", "--target", "intel-nuc",
         "--calibration", "calibration.npz", "-o", "out", "--no-cache"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert digests(elsewhere / "out", without=REPORTS) == digests(first / "out", without=REPORTS)


def test_one_sample_runs_exactly_the_steps_behind_it(built: Path, tmp_path: Path) -> None:
    with np.load(DIGITS_DATA / "calibration.npz") as stored:
        (name,) = stored.files
        samples = stored[name].copy()
    samples[0] = samples[0] * 0.5 + 20.0
    np.savez(tmp_path / "calibration.npz", **{name: samples})
    _, sink = run_build(built, calibration=str(tmp_path / "calibration.npz"))
    assert sink.ran == ["data", *from_pass("smooth_quant"), *LAST]
    last = History(built / "cache" / "history").last(built / "out")
    assert last is not None
    why = {step.label: step.reason for step in last.steps}
    assert why["simplify"] == ""
    assert why["calibrate"].startswith("data changed: ")
    assert why["quantize_static"] == "its ranges changed (from calibrate)"
    assert why["emit openvino-ir"] == "its model changed (from bias_correction)"


def test_one_option_runs_exactly_the_steps_behind_it(built: Path) -> None:
    _, sink = run_build(built, overrides=("quantize_static.activations=int8",))
    assert sink.ran == [*from_pass("quantize_static"), *LAST]
    last = History(built / "cache" / "history").last(built / "out")
    assert last is not None
    why = {step.label: step.reason for step in last.steps}
    assert why["quantize_static"] == "options.activations changed: none -> int8"


def test_a_damaged_cache_is_noticed_and_mended(built: Path) -> None:
    before = digests(built / "out", without=REPORTS)
    for path in (built / "cache" / "objects").rglob("*"):
        if path.is_file() and path.name != "meta.json":
            path.write_bytes(path.read_bytes()[::-1])
    _, sink = run_build(built)
    assert {d.code for d in sink.diagnostics} >= {"EC-702"}
    assert digests(built / "out", without=REPORTS) == before
    _, sink = run_build(built)
    assert sink.ran == []


def test_a_budget_that_plain_quantization_misses_raises_layers(built: Path) -> None:
    budget = "sqnr_db>=60"
    result, sink = run_build(built, budgets=(budget,))
    assert result.exit_code is ExitCode.OK
    assert sink.ran == ["keep_precision", "drop_islands", *LAST]
    assert [(b.required, b.met) for b in result.manifest.budgets] == [(budget, True)]
    step = next(step for step in result.report.steps if step.step == "keep_precision")
    raised = [note for note in step.notes if note.node]
    assert raised
    assert all("raised to float for sqnr_db>=61.5490195999" in n.message for n in raised)


def test_a_missed_budget_keeps_the_old_output_and_the_failed_build_beside_it(built: Path) -> None:
    before = digests(built / "out")
    result, _ = run_build(built, budgets=("cosine<=0.5",))
    assert result.exit_code is ExitCode.REJECTED
    assert result.directory == built / "out.failed"
    assert digests(built / "out") == before
    failed = Manifest.load(built / "out.failed" / "manifest.json")
    assert [(b.metric, b.met) for b in failed.budgets] == [("cosine", False)]
    assert "EC-650" in {d.code for d in failed.diagnostics}
    run_build(built)
    assert not (built / "out.failed").exists()


def test_an_interrupted_build_leaves_the_old_output(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(built)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgecompile.driver.story.emit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_build(built, overrides=("quantize_static.activations=int8",))
    after = digests(built)
    assert {k: after[k] for k in before if k.startswith("out/")} == {
        k: before[k] for k in before if k.startswith("out/")
    }
    assert sorted(p.name for p in built.iterdir()) == ["cache", "out"]


def test_ctrl_c_ends_with_130_and_leaves_nothing(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "edgecompile", "build", DIGITS, "--target", "intel-nuc",
        "--calibration", DIGITS_DATA / "calibration.npz", "-o", tmp_path / "out", "--no-cache",
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        preexec_fn=hear_interrupts,  # noqa: PLW1509  no threads here
    )
    while process.poll() is None and not list(tmp_path.iterdir()):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == ExitCode.INTERRUPTED
    assert list(tmp_path.iterdir()) == []


def test_builds_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "edgecompile", "build", DIGITS, "--target", "intel-nuc", "--quiet",
        "--calibration", DIGITS_DATA / "calibration.npz", "-o", tmp_path / "out",
        "--cache-dir", tmp_path / "cache",
    ]  # fmt: skip
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "out"]
    before = digests(tmp_path / "out", without=REPORTS)
    _, sink = run_build(tmp_path)
    assert sink.ran == []
    assert digests(tmp_path / "out", without=REPORTS) == before


def test_locked_repeats_a_build_or_says_what_differs(built: Path, tmp_path: Path) -> None:
    before = digests(built / "out", without=REPORTS)
    run_build(built, locked=True)
    assert digests(built / "out", without=REPORTS) == before
    with pytest.raises(EdgecompileError) as caught:
        run_build(built, locked=True, overrides=("calibrate.samples=50",))
    told = {d.code: d.message for d in caught.value.diagnostics}
    assert set(told) == {"EC-721"}
    whats = " ".join(d.message for d in caught.value.diagnostics)
    assert "recipe.sha256" in whats
    assert "calibration.samples is '50'" in whats
    with pytest.raises(EdgecompileError) as caught:
        run_build(tmp_path, locked=True)
    assert caught.value.diagnostics[0].code == "EC-720"


def test_dry_run_builds_nothing_and_tells_what_is_cached(built: Path, tmp_path: Path) -> None:
    planned = plan(request(built), RememberingSink())
    assert all(step.cached for step in planned.steps)
    assert planned.calibrate_samples > 100
    assert planned.artifacts == ("openvino-ir",)
    fresh = plan(request(tmp_path, overrides=("calibrate.samples=50",)), RememberingSink())
    assert not any(step.cached for step in fresh.steps)
    assert fresh.calibrate_samples == 50
    assert not (tmp_path / "out").exists()


def test_looking_inside(built: Path, tmp_path: Path) -> None:
    _, sink = run_build(built, dump_ir=tmp_path / "ir", verify_each=True)
    assert sink.ran == []
    names = sorted(p.name for p in (tmp_path / "ir").glob("*.txt"))
    assert names[0] == "00-input.txt"
    assert names[-1].endswith(f"-{PASSES[-1]}.txt")
