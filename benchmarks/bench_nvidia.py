"""NVIDIA: INT8 shown in the plans of three real models, and what their numbers keep of accuracy.

Nothing here runs on a GPU. Plans are read back; accuracy is that of the quantized ONNX in exact
arithmetic, which is what both a plan and a Jetson's engine are made from.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, run_command, run_function
from benchmarks.table import Table
from benchmarks.zoo.provide import provide

PEER = "onnxruntime quantize_static"
KEPT = 0.99
"""The share of the float metric that has to be left."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model of the zoo, the score that is compared, and ranges of its open dimensions."""

    name: str
    score: str
    shapes: Mapping[str, Any]
    error: bool = False
    """Whether the score is an error, such as that of characters: less is better."""


TOKENS = [[1, 4], [1, 64], [1, 256]]
CASES = (
    Case(name="effnet_lite0", score="top1", shapes={}),
    Case(
        name="minilm",
        score="wordsim_rho",
        shapes=dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), TOKENS),
    ),
    Case(
        name="ppocr_rec",
        score="cer",
        shapes={"x": [[1, 3, 48, 80], [1, 3, 48, 320], [1, 3, 48, 1280]]},
        error=True,
    ),
)
TARGETS = {"rtx-pc": "tensorrt-rtx-engine", "jetson-orin": "tensorrt-bundle"}


def tables() -> list[Table]:
    """One row for each model and target."""
    rows = []
    for case in CASES:
        model, data = provide(case.name)
        with tempfile.TemporaryDirectory() as folder:
            rows += _rows(case, model, data, Path(folder))
    columns = (
        "model",
        "target",
        "artifact MB",
        "layers INT8",
        "same bytes twice",
        "metric",
        "FP32",
        "ours",
        PEER,
        "keeps 99 %",
        "build CPU s",
    )
    notes = (
        "layers INT8: products that the plan multiplies in INT8, of those that it has (rtx-pc); "
        "expected by the bundle (jetson-orin)",
        "the peer is quantized to the same form: signed, symmetric, per channel, no bias pairs",
        "metrics in exact arithmetic, in ONNX Runtime; FP32 is the floor of any error",
    )
    return [Table(title="NVIDIA, without a GPU", columns=columns, rows=rows, notes=notes)]


def _rows(case: Case, model: Path, data: Path, folder: Path) -> list[list[Any]]:
    common = {"name": case.name, "model": str(model), "data": str(data)}
    reference = str(folder / "reference.npz")

    def score(path: Path, *, exact: bool) -> float:
        arguments = {**common, "artifact": str(path), "reference": reference, "exact": exact}
        found = run_function("benchmarks.contest:evaluate", **arguments)
        return float(found.result["scores"][case.score])

    plain = score(model, exact=False)
    theirs = folder / "peer.onnx"
    run_function(
        "benchmarks.peers:ort_static",
        model=str(model),
        output=str(theirs),
        calibration=str(data / "calibration"),
        tensorrt=True,
    )
    peer_score = score(theirs, exact=True)
    rows = []
    for target, kind in TARGETS.items():
        out = folder / target
        command = [sys.executable, "-m", "edgecompile", "build", str(model), "--target", target]
        command += ["--calibration", str(data / "calibration"), "--no-cache", "-o", str(out)]
        if case.shapes:
            command += ["--set", f"{kind}.shapes={json.dumps(dict(case.shapes))}"]
        cost = run_command(command, directory=ROOT)
        manifest = json.loads((out / "manifest.json").read_text())
        ours = score(out / "model.onnx", exact=True)
        (artifact,) = manifest["artifacts"]
        rows.append(
            [
                case.name,
                target,
                round(artifact["bytes"] / 1e6, 2),
                _integers(manifest, out),
                artifact["reproducible"],
                case.score,
                plain,
                ours,
                peer_score,
                _keeps(plain, ours, error=case.error),
                round(cost.cpu_s, 1),
            ]
        )
    return rows


def _integers(manifest: Mapping[str, Any], out: Path) -> str:
    coverage = manifest["coverage"]
    if coverage is not None:
        return f"{coverage['precision'].get('int8', 0)} of {coverage['nodes']}"
    expected = json.loads((out / "artifacts/expected.json").read_text()).values()
    return f"{sum(kind == 'int8' for kind in expected)} of {len(expected)}"


def _keeps(plain: float, ours: float, *, error: bool) -> bool:
    """For an error, what is right must be kept: 1 minus it."""
    left, before = (1 - ours, 1 - plain) if error else (ours, plain)
    return left >= KEPT * before
