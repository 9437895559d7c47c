"""The command line from end to end, in processes of its own: what scripts and people rely on."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.cli import ROOT, Ran, child_environment, hear_interrupts, run_process

MODEL = ROOT / "examples/digits/model.onnx"
DATA = ROOT / "calibration_data/digits/calibration.npz"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("command-line")


def build(place: Path, *options: object, output: str = "out") -> Ran:
    return run_process(
        *("build", MODEL, "--target", "intel-nuc", "--calibration", DATA),
        *("-o", place / output, "--cache-dir", place / "cache", *options),
    )


@pytest.fixture(scope="module")
def first(place) -> Ran:
    return build(place)


def contents(directory: Path) -> dict[str, str]:
    """Digests of what must not differ from build to build; reports hold times."""
    files = (p for p in directory.rglob("*") if p.is_file() and p.stem != "report")
    return {
        p.relative_to(directory).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(files)
    }


def test_standard_output_is_the_path_and_nothing_else(first, place):
    assert first.code == 0, first.err
    assert first.out == f"{place / 'out/artifacts/model.xml'}\n"
    assert Path(first.out.strip()).is_file()


def test_the_table_tells_what_a_person_wants_to_know(first):
    for what in (
        "openvino-ir, verified",
        "size",
        "Fidelity to the float model",
        "held-out samples",
        "cosine",
        "dB",
        "quantized ONNX",
        "exact",
        "multiply-accumulates run in integers",
        "quantize_static",
        "report.html",
    ):
        assert what in first.err
    assert "\x1b" not in first.err


def test_a_second_build_is_cached_and_gives_the_same_bytes(first, place):
    before = contents(place / "out")
    again = build(place)
    assert again.code == 0
    steps = again.err.split("\n\n")[0].splitlines()[1:]
    assert len(steps) > 5
    assert all(" cached " in f"{line} " for line in steps)
    assert contents(place / "out") == before


def test_quiet_says_nothing_but_the_path(first, place):
    quiet = build(place, "-q")
    assert (quiet.code, quiet.out) == (0, first.out)
    assert "Fidelity" not in quiet.err


def test_verbose_adds_the_notes_of_the_steps(first, place):
    verbose = build(place, "-v")
    assert "Notes of the steps" in verbose.err
    assert "Notes of the steps" not in first.err


def test_the_document_has_what_the_table_has(first, place):
    ran = build(place, "--format", "json")
    assert (ran.code, ran.err) == (0, "")
    result = ran.document["result"]
    report = json.loads((place / "out/report.json").read_text(encoding="utf-8"))
    assert result["artifacts"] == [first.out.strip()]
    assert result["report"]["artifacts"] == report["artifacts"]
    assert result["report"]["schema"] == "edgecompile/report@1"


def test_a_missed_budget_fails_and_leaves_the_output(first, place):
    before = contents(place / "out")
    ran = build(place, "--budget", "cosine<=0.5")
    assert (ran.code, ran.out) == (1, "")
    assert "error[EC-650]" in ran.err
    assert "missed" in ran.err
    assert contents(place / "out") == before
    assert (place / "out.failed/report.html").is_file()


def test_a_dry_run_builds_nothing(first, place):
    ran = build(place, "--dry-run", output="planned")
    assert ran.code == 0
    assert "quantize_static" in ran.out
    assert "calibrate " not in ran.err
    assert not (place / "planned").exists()


def test_why_tells_what_changed(first, place):
    assert build(place, "--set", "calibrate.method=minmax", output="other").code == 0
    ran = run_process("cache", "why", place / "other", "--cache-dir", place / "cache")
    rows = {row.split()[0]: row for row in ran.out.splitlines()[1:]}
    assert " cached" in rows["simplify"]
    assert "mse -> minmax" in rows["calibrate"] or "minmax" in rows["calibrate"]
    assert " ran " in rows["quantize_static"]


def test_inspect_shows_the_build_and_notices_a_changed_file(first, place):
    assert "openvino-ir, verified" in run_process("inspect", place / "out").out
    copy = place / "copy"
    subprocess.run([sys.executable, "-c", COPY, str(place / "out"), str(copy)], check=True)
    (copy / "artifacts/model.bin").unlink()
    assert "model.bin is missing" in run_process("inspect", copy).out


COPY = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2])"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_an_interrupted_build_leaves_the_output_and_nothing_beside_it(first, place):
    before, beside = contents(place / "out"), sorted(p.name for p in place.iterdir())
    command = [
        *(sys.executable, "-m", "edgecompile", "build", str(MODEL), "--target", "intel-nuc"),
        *("--calibration", str(DATA), "-o", str(place / "out"), "--no-cache"),
    ]
    process = subprocess.Popen(
        command,
        env=child_environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,  # noqa: PLW1509  no threads here
    )
    assert process.stderr is not None
    while not process.stderr.readline().startswith("quantize_static"):
        assert process.poll() is None
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "EC-901" in err
    assert contents(place / "out") == before
    assert sorted(p.name for p in place.iterdir()) == beside
