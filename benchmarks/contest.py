"""Ways to quantize a model, ours and the peers': made in one child process, evaluated in others."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, ChildFailedError, Measured, run_command, run_function
from benchmarks.metrics import TASKS
from benchmarks.peers import artifact_bytes, clean
from benchmarks.runtimes import cpu_ms, open_artifact
from benchmarks.zoo.samples import read_evaluation

TARGET = "intel-nuc"
TRANSFORMERS = frozenset({"minilm"})
"""Models for which NNCF's user has to say that they are transformers."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """A method: its name in tables, and how to make an artifact with it."""

    name: str
    recipe: str | None = None
    """Ours: the recipe, or `default`."""
    peer: str | None = None
    """A peer's: the function in `benchmarks.peers`."""
    suffix: str = ".xml"
    options: dict[str, Any] = field(default_factory=dict)
    needs_data: bool = True

    @property
    def ours(self) -> bool:
        """Whether it is ours."""
        return self.peer is None


OURS = Way(name="edgecompile", recipe="default")
NNCF = Way(name="NNCF OpenVINO default", peer="nncf_openvino")
ORT = Way(name="ORT static minmax", peer="ort_static", suffix=".onnx")
ORT_REDUCED = Way(
    name="ORT static reduce_range",
    peer="ort_static",
    suffix=".onnx",
    options={"reduce_range": True},
)
STATIC = (OURS, NNCF, ORT, ORT_REDUCED)
WEIGHTS_4BIT = (
    Way(name="edgecompile INT4 weights", recipe="openvino-int4-weights"),
    Way(
        name="NNCF INT4, group 32",
        peer="nncf_weights_4bit",
        needs_data=False,
    ),
    Way(
        name="ORT MatMulNBits INT4 RTN, group 32",
        peer="ort_weights_4bit",
        suffix=".onnx",
        needs_data=False,
    ),
)
WEIGHTS_8BIT = (Way(name="edgecompile INT8 weights", recipe="openvino-int8-weights"),)


@dataclass(frozen=True, kw_only=True)
class Made:
    """An artifact and what making it cost."""

    path: Path
    cost: Measured
    proof_s: float | None = None
    """CPU seconds of `cost` that went into verifying the artifact."""
    note: str = ""

    @property
    def megabytes(self) -> float:
        """Size of all its files, 10^6 bytes."""
        return artifact_bytes(self.path) / 1e6


def make(way: Way, name: str, model: Path, data: Path, directory: Path) -> Made:
    """Quantize in a child process. Raises `ChildFailedError`."""
    clean(directory)
    if way.ours:
        return _build(way, model, data, directory)
    output = directory / f"model{way.suffix}"
    arguments: dict[str, Any] = {"model": str(model), "output": str(output), **way.options}
    if way.needs_data:
        arguments["calibration"] = str(data / "calibration")
    if way.peer == "nncf_openvino":
        arguments["transformer"] = name in TRANSFORMERS
    cost = run_function(f"benchmarks.peers:{way.peer}", **arguments)
    return Made(path=output, cost=cost, note=cost.result.get("note", ""))


def _build(way: Way, model: Path, data: Path, directory: Path) -> Made:
    command = [sys.executable, "-m", "edgecompile", "build", str(model), "--target", TARGET]
    command += ["--calibration", str(data / "calibration"), "--no-cache", "--format", "json"]
    if way.recipe != "default":
        command += ["--recipe", str(way.recipe)]
    # exit code 1 with a manifest is a missed budget: the artifact is there and is measured
    cost = run_command([*command, "-o", str(directory / "out")], directory=ROOT, ok=(0, 1))
    file = directory / "out" / "manifest.json"
    problems = [d["message"] for d in _diagnostics(cost.stdout) if d["severity"] == "error"]
    if not file.exists():
        raise ChildFailedError("; ".join(problems) or "no manifest was written")
    manifest = json.loads(file.read_text())
    (artifact,) = (a["path"] for a in manifest["artifacts"])
    steps = json.loads((directory / "out" / "report.json").read_text())["steps"]
    proof = sum(step["cpu_seconds"] for step in steps if step["step"] == "verify")
    note = "; ".join([f"recipe {manifest['recipe']['name']}", *problems])
    return Made(path=directory / "out" / artifact, cost=cost, proof_s=proof, note=note)


def _diagnostics(document: str) -> list[dict[str, Any]]:
    """What `--format json` told."""
    found: list[dict[str, Any]] = json.loads(document)["diagnostics"]
    return found


def evaluate(
    name: str, artifact: str, model: str, data: str, reference: str, *, exact: bool = False
) -> dict[str, Any]:
    """Run in a child: metrics against the outputs kept in `reference`, and CPU ms per inference.

    Where `reference` is not there yet, `artifact` is the float model, and its outputs are kept.
    """
    import numpy as np

    task, arrays, store = TASKS[name], read_evaluation(Path(data)), Path(reference)
    kept = task.collect(open_artifact(Path(artifact), exact=exact), arrays, Path(model))
    if not store.exists():
        store.parent.mkdir(parents=True, exist_ok=True)
        np.savez(store, **{key: np.asarray(value) for key, value in kept.items()})
    with np.load(store) as stored:
        known = {key: stored[key] for key in stored.files}
    scores = task.score(kept, known, arrays)
    milliseconds = None
    if not exact:
        run = open_artifact(Path(artifact), threads=1)
        milliseconds = cpu_ms(run, task.example(arrays))
    finite = {key: value if np.isfinite(value) else None for key, value in scores.items()}
    return {"scores": finite, "cpu_ms": milliseconds}
