"""What people see, held still: plain text as in CI, and the terminal's own at 80 and 120 columns.

After a change on purpose: EDGECOMPILE_UPDATE_GOLDEN=1 python -m pytest tests/golden
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgecompile.artifacts.report import Report
from edgecompile.cli.page import Page, PlainPage
from edgecompile.cli.render.analysis import render_analysis
from edgecompile.cli.render.build import render_build
from edgecompile.cli.render.diagnostics import render_diagnostics
from edgecompile.cli.render.inspection import render_inspection
from edgecompile.cli.render.plan import render_plan
from edgecompile.cli.rich_page import RichPage
from edgecompile.diagnostics import Diagnostic, Severity, Where
from tests.support.cli import ROOT, run
from tests.support.golden import GOLDEN, check_golden

REPORT: dict[str, Any] = json.loads((GOLDEN / "documents/report.json").read_text(encoding="utf-8"))

PROBLEMS = (
    Diagnostic(
        code="EC-233",
        severity=Severity.ERROR,
        message="step 'calibrate' has no option 'metod'",
        where=Where(file="mine.yaml", line=7, column=5, step="calibrate"),
        why="A misspelt option that was ignored would build something else than what was asked.",
        hints=("did you mean 'method'?", "list the options with 'edgecompile passes calibrate'"),
    ),
    Diagnostic(
        code="EC-310",
        severity=Severity.ERROR,
        message="input 'x' is missing",
        hints=("name it",),
    ),
    Diagnostic(
        code="EC-310",
        severity=Severity.ERROR,
        message="input 'y' is missing",
        hints=("name it",),
    ),
    Diagnostic(
        code="EC-320",
        severity=Severity.WARNING,
        message="images are scaled to [0, 1], since nothing says how the model wants them",
        where=Where(tensor="image"),
    ),
)

PLAN = {
    "model": "model.onnx",
    "nodes": 51,
    "opset": 17,
    "target": "intel-nuc",
    "recipe": "openvino-int8",
    "steps": [
        {"step": "simplify", "id": "simplify", "options": {}, "cached": True},
        {
            "step": "calibrate",
            "id": "calibrate",
            "options": {"method": "mse", "samples": None, "options": {"bins": 2048}},
            "cached": False,
        },
    ],
    "artifacts": ["openvino-ir"],
    "budgets": ["cosine>=0.99"],
    "calibrate_samples": 184,
    "verify_samples": 16,
    "toolchain": {"numpy": "2.4.6", "openvino": "2026.4.1"},
    "output": "build/model-intel-nuc",
}

MODEL = {
    "kind": "model",
    "path": "model.onnx",
    "name": "model.onnx",
    "sha256": "42d77bfe" * 8,
    "bytes": 68048,
    "opset": 17,
    "opsets": {"": 17, "com.microsoft": 1},
    "ir_version": 8,
    "producer": "",
    "inputs": [{"name": "image", "dtype": "float32", "shape": ["N", 1, None, 28]}],
    "outputs": [{"name": "logits", "dtype": "float32", "shape": ["N", 10]}],
    "nodes": 51,
    "operators": {"Conv": 10, "Add": 1, "Constant": 18},
    "parameters": 14818,
    "weight_bytes": 59272,
    "weight_types": {"float": 14818},
    "macs": 4650000,
    "metadata": {"character": "0123456789" * 10},
}

ANALYSIS = {
    "model": "model.onnx",
    "target": "intel-nuc",
    "recipe": "openvino-int8",
    "steps": ["simplify", "calibrate", "quantize_static"],
    "samples": 4,
    "outputs": {"scores": {"cosine": 0.998, "sqnr_db": 24.02, "max_abs": 0.1}},
    "layers": [
        {
            "layer": "/stem/Conv",
            "operator": "Conv",
            "alone_db": 24.51,
            "measured": True,
            "widths": {"int8": 24.51, "int16": 61.0, "int4_weights": 12.3},
            "takes": ["int16"],
            "local_db": 37.8,
            "accumulated_db": 37.8,
            "noise_share": 0.93,
            "macs_share": 0.0412,
            "input": {"min": 0.0, "max": 412.5},
            "weights": {"min": -0.7, "max": 1.25},
            "why": [
                "narrow channels: the widest input channel has 91 times the median channel's range",
                "what follows amplifies its error",
            ],
            "helps": ["smooth_quant", "quantize_static.keep_float=[/stem/Conv]"],
        },
        {
            "layer": "/head/MatMul",
            "operator": "MatMul",
            "alone_db": float("inf"),
            "measured": False,
            "widths": {"int8": float("inf")},
            "takes": ["int8"],
            "local_db": 41.0,
            "accumulated_db": float("-inf"),
            "noise_share": 0.0,
            "macs_share": None,
            "input": None,
            "weights": None,
            "why": [],
            "helps": [],
        },
        {"layer": "/tail/MatMul"},
    ],
}

Scene = Callable[[Page], None]


def scene_build(page: Page) -> None:
    render_build(page, REPORT, Path("out"), good=True)


def scene_budget_missed(page: Page) -> None:
    render_build(page, REPORT, Path("out.failed"), good=False)


def scene_diagnostics(page: Page) -> None:
    render_diagnostics(page, PROBLEMS)


def scene_plan(page: Page) -> None:
    render_plan(page, PLAN)


def scene_analysis(page: Page) -> None:
    render_analysis(page, ANALYSIS, top=2)


def scene_inspect_model(page: Page) -> None:
    render_inspection(page, MODEL)


def scene_inspect_build(page: Page) -> None:
    manifest = {k: v for k, v in REPORT.items() if k not in ("judged", "latency", "integer_macs")}
    found = {"kind": "build", "path": "out", "manifest": manifest, "files": {}, "missing": []}
    render_inspection(page, found)


SCENES = {
    name.removeprefix("scene_"): f for name, f in globals().items() if name.startswith("scene_")
}


@pytest.mark.parametrize("name", SCENES)
def test_plain(name):
    stream = io.StringIO()
    SCENES[name](PlainPage(stream))
    check_golden(f"terminal/{name}.plain.txt", stream.getvalue())


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", SCENES)
def test_on_a_terminal(name, width):
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
    SCENES[name](RichPage(console))
    text = "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())
    assert max(map(len, text.splitlines())) <= width
    check_golden(f"terminal/{name}.{width}.txt", text)


def test_the_report_of_the_scenes_is_a_report():
    path = GOLDEN / "documents/report.json"
    assert Report.load(path).to_text() == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", ["EC-201", "EC-900"])
def test_explain(capsys, code):
    ran = run(capsys, "explain", code)
    assert ran.err == ""
    check_golden(f"terminal/explain-{code}.txt", ran.out)


def test_help(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    check_golden("terminal/help.txt", run(capsys, "--help").out)


def test_an_unknown_target(capsys, tmp_path):
    model = "examples/digits/model.onnx"
    ran = run(capsys, "build", ROOT / model, "--target", "intel-nux", "-o", tmp_path / "out")
    assert (ran.code, ran.out) == (2, "")
    check_golden("terminal/unknown-target.txt", ran.err.replace(str(ROOT), "."))
