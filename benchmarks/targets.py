"""`python -m benchmarks.targets [MODEL ...]`: real models through every target, in one table.

Each build is a process of its own with a time limit. What counts is that none ends in a traceback:
a target that cannot take a model says why, and the code of its error stands in the table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.table import Table, write
from benchmarks.zoo.provide import provide
from edgecompile.targets.catalogue import all_targets

HERE = Path(__file__).resolve().parent
SPINE = ("effnet_lite0", "minilm", "ppocr_rec")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
FITTED = {
    "minilm": ("L=64", {key: {"pad": 0, "crop": True} for key in INPUTS}),
    "ppocr_rec": ("x=1x3x48x320", {"x": {"pad": 0, "crop": True}}),
}
"""One shape for models of open ones, and how samples of other lengths are made to fit: both as
users of these models do it (both pad at the end with zeros)."""
COLUMNS = ("target", "artifact", "status", "cosine", "SQNR dB", "metric", "MB", "s", "ended with")


def main() -> int:
    """Exit code 1 when a build ended in a traceback or beyond the time limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.targets", description=__doc__)
    parser.add_argument("model", nargs="*", help=f"of the zoo; default: {', '.join(SPINE)}")
    parser.add_argument("--target", action="append", default=[], help="only these")
    parser.add_argument("--limit-s", type=float, default=900.0, help="time limit of one build")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    tables, broken = [], 0
    for model in options.model or SPINE:
        rows = []
        for target in options.target or sorted(all_targets()):
            row, sound = _row(model, target, options.limit_s)
            print(model, *row, flush=True)
            rows.append(row)
            broken += not sound
        tables.append(Table(title=model, columns=COLUMNS, rows=rows))
    write(tables, options.results / "targets", machine.describe())
    return 1 if broken else 0


def _row(model: str, target: str, limit_s: float) -> tuple[list[Any], bool]:
    """One line of the table, and whether the build ended as it should."""
    path, data = provide(model)
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        out = Path(scratch) / "out"
        command = [
            *(sys.executable, "-m", "edgecompile", "build", str(path), "--target", target),
            *("--calibration", str(_samples(model, data)), "-o", str(out), "--format", "json"),
        ]
        if model in FITTED:
            command += ["--shape", FITTED[model][0]]
        began = time.perf_counter()
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired:
            return [target, "", "", "", "", "", "", f"> {limit_s:g}", "time limit"], False
        seconds = round(time.perf_counter() - began, 1)
        folder = out if out.is_dir() else out.with_name("out.failed")
        if not (folder / "manifest.json").is_file():
            ended = f"exit {ran.returncode} {_codes(ran.stdout)}".strip()
            return [target, "", "", "", "", "", "", seconds, ended], ran.returncode in {1, 2, 3}
        manifest = json.loads((folder / "manifest.json").read_text())
        return _built(target, manifest, seconds, ran), ran.returncode in {0, 1}


def _samples(model: str, data: Path) -> Path:
    """A description of every eighth of the zoo's samples: that many tell status and fidelity."""
    names = [path.relative_to(data).as_posix() for path in (data / "calibration").glob("*.npz")]
    fit = FITTED[model][1] if model in FITTED else {}
    document = {"schema": "edgecompile/dataset@1", "files": sorted(names)[::8], "fit": fit}
    place = data / "targets.yaml"
    place.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    return place


def _built(
    target: str, manifest: dict[str, Any], seconds: float, ran: subprocess.CompletedProcess[str]
) -> list[Any]:
    artifact = manifest["artifacts"][0]
    stages = manifest["fidelity"]["stages"] if manifest["fidelity"] else {}
    stage = stages.get("artifact", stages.get("quantized_onnx", {"outputs": {}}))
    worst = min(stage["outputs"].values(), key=lambda o: float(o["cosine"]), default={})
    metrics = ", ".join(f"{n} {m['quantized']:.4f}" for n, m in manifest["metrics"].items())
    return [
        target,
        artifact["format"],
        artifact["status"],
        worst.get("cosine", ""),
        worst.get("sqnr_db", ""),
        metrics,
        round(manifest["size"]["artifact_bytes"] / 1e6, 2),
        seconds,
        "ok" if ran.returncode == 0 else f"exit {ran.returncode} {_codes(ran.stdout)}",
    ]


def _codes(document: str) -> str:
    """The codes of the errors in a reply; nothing in it is a bug."""
    try:
        found = json.loads(document)["diagnostics"]
    except (ValueError, KeyError):
        return "no reply"
    return " ".join(dict.fromkeys(d["code"] for d in found if d["severity"] == "error"))


if __name__ == "__main__":
    sys.exit(main())
