"""`python -m benchmarks.targets [MODEL ...]`: real models through every target, in one table.

Each build is a process of its own with a time limit. What counts is that none ends in a traceback:
a target that cannot take a model says why, and the code of its error stands in the table.

`metric` is the task metric of the model that the artifact was made from, in exact arithmetic (what
integers compute on a device, whose kernels this machine need not have), beside that of the float
model, on the first `--limit` evaluation inputs, the same for all. Cosine and SQNR are those of the
build's own held-out samples, in exact arithmetic where this CPU's kernels saturate. `s` is the wall
time with the cache as it was: steps that targets have in common run once. Shapes are fixed: lines
of text are padded to 480 pixels, sentences to 32 tokens, for the float model too; longer lines are
left out, longer sentences cut.

Rows are kept beside the results as they are made, and made again only when edgecompile or this
program changes (or with `--again`): an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.emulated import FIXED, cropped, padded
from benchmarks.measure import ChildFailedError, run_function
from benchmarks.metrics import TASKS
from benchmarks.runtimes import Array
from benchmarks.table import Table, write
from benchmarks.zoo.provide import provide
from edgecompile.targets.catalogue import all_targets

HERE = Path(__file__).resolve().parent
SOURCES = (HERE.parent / "edgecompile", HERE.parent / "recipes", HERE)
SPINE = ("effnet_lite0", "minilm", "ppocr_rec")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
FITTED = {
    "minilm": ("L=32", {key: {"pad": 0, "crop": True} for key in INPUTS}),
    "ppocr_rec": ("x=1x3x48x480", {"x": {"pad": 0, "crop": True}}),
}
"""One shape for models of open ones, and how samples of other lengths are made to fit: both as
users of these models do it (both pad at the end with zeros)."""
COLUMNS = (
    "target", "artifact", "status", "metric float", "metric", "cosine", "SQNR dB", "MB", "s",
    "ended with",
)  # fmt: skip
EMPTY: tuple[Any, ...] = (None,) * (len(COLUMNS) - 3)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows that were made, in one folder, and the figures of models that several of them share."""

    folder: Path
    tree: str
    """Digest of what made them."""
    limit: int
    """Evaluation inputs."""
    limit_s: float
    """Time limit of one build."""

    def row(self, model: str, target: str, *, again: bool) -> tuple[list[Any], bool]:
        """One line of the table, and whether the build ended as it should."""
        place = self.folder / f"{model}-{target}.json"
        key = f"{self.tree} {self.limit}"
        if place.exists() and not again:
            kept = json.loads(place.read_text(encoding="utf-8"))
            if kept["key"] == key:
                return kept["row"], True
        row, sound = self._made(model, target)
        if sound:
            self._keep(place, {"key": key, "row": row})
        return row, sound

    def _made(self, model: str, target: str) -> tuple[list[Any], bool]:
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
                    command, capture_output=True, text=True, timeout=self.limit_s, check=False
                )
            except subprocess.TimeoutExpired:
                return [target, *EMPTY, f"> {self.limit_s:g}", "time limit"], False
            seconds = round(time.perf_counter() - began, 1)
            folder = out if out.is_dir() else out.with_name("out.failed")
            if not (folder / "manifest.json").is_file():
                ended = f"exit {ran.returncode} {_codes(ran.stdout)}".strip()
                return [target, *EMPTY, seconds, ended], ran.returncode in {1, 2, 3}
            metrics, problem = self._metrics(model, folder)
            ended = "ok" if not ran.returncode else f"exit {ran.returncode} {_codes(ran.stdout)}"
            row = _built(target, json.loads((folder / "manifest.json").read_text()), metrics)
            return [*row, seconds, problem or ended], ran.returncode in {0, 1} and not problem

    def _metrics(self, model: str, folder: Path) -> tuple[list[float | None], str]:
        """Of the float model and of the built one, measured once for all of the same bytes."""
        path, data = provide(model)
        found: list[float | None] = []
        for file in (path, folder / "model.onnx"):
            place = self.folder / f"{model}-{self.limit}-{_digest(file)[:32]}.json"
            if not place.exists():
                arguments = {"name": model, "model": str(path), "data": str(data)}
                try:
                    ran = run_function(
                        "benchmarks.targets:evaluate",
                        artifact=str(file), limit=self.limit, **arguments,
                    )  # fmt: skip
                except ChildFailedError as error:
                    return [None, None], f"no metric: {str(error).splitlines()[-1][:120]}"
                self._keep(place, ran.result)
            found.append(json.loads(place.read_text(encoding="utf-8"))["metric"])
        return found, ""

    def _keep(self, place: Path, document: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = place.with_suffix(".part")
        beside.write_text(json.dumps(document), encoding="utf-8")
        beside.replace(place)


def main() -> int:
    """Exit code 1 when a build ended in a traceback or beyond the time limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.targets", description=__doc__)
    parser.add_argument("model", nargs="*", help=f"of the zoo; default: {', '.join(SPINE)}")
    parser.add_argument("--target", action="append", default=[], help="only these")
    parser.add_argument("--limit", type=int, default=100, help="evaluation inputs, default 100")
    parser.add_argument("--limit-s", type=float, default=900.0, help="time limit of one build")
    parser.add_argument("--again", action="store_true", help="make rows anew that were kept")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    rows = Rows(
        folder=options.results / "targets-rows",
        tree=tree_digest(),
        limit=options.limit,
        limit_s=options.limit_s,
    )
    tables, broken = [], 0
    for model in options.model or SPINE:
        found = []
        for target in options.target or sorted(all_targets()):
            row, sound = rows.row(model, target, again=options.again)
            print(model, *row, flush=True)
            found.append(row)
            broken += not sound
        note = f"metric: {FIXED[model].metric} of up to {options.limit} evaluation inputs, in exact"
        notes = [f"{note} arithmetic; cosine and SQNR: held-out samples, as verified by the build"]
        tables.append(Table(title=model, columns=COLUMNS, rows=found, notes=notes))
        # after each model: a table is there however the rest ends
        write(tables, options.results / "targets", machine.describe())
    return 1 if broken else 0


def tree_digest() -> str:
    """Digest of all that a row depends on, the results themselves left out."""
    total = hashlib.sha256()
    for root in SOURCES:
        for file in sorted(root.rglob("*")):
            inside = file.relative_to(root)
            if file.is_file() and not {"__pycache__", "results"} & set(inside.parts):
                total.update(f"{root.name}/{inside.as_posix()} {_digest(file)}\n".encode())
    return total.hexdigest()


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def evaluate(name: str, artifact: str, model: str, data: str, *, limit: int) -> dict[str, float]:
    """In a child: the metric of `artifact`, ONNX, in exact arithmetic."""
    from benchmarks.zoo.samples import read_evaluation
    from edgecompile.calibration.session import run_session
    from edgecompile.ir import load

    fixed, task = FIXED[name], TASKS[name]
    arrays = fixed.subset(read_evaluation(Path(data)), limit)
    session = run_session(load(Path(artifact)), threads=1, exact=True)

    def run(feeds: Mapping[str, Array]) -> list[Array]:
        whole = padded(name, feeds)
        assert whole is not None
        return [cropped(fixed, value, feeds) for value in session.run(whole).values()]

    kept = task.collect(run, arrays, Path(model))
    return {"metric": task.score(kept, kept, arrays)[fixed.metric]}


def _samples(model: str, data: Path) -> Path:
    """A description of every eighth of the zoo's samples: that many tell status and fidelity."""
    names = [path.relative_to(data).as_posix() for path in (data / "calibration").glob("*.npz")]
    fit = FITTED[model][1] if model in FITTED else {}
    document = {"schema": "edgecompile/dataset@1", "files": sorted(names)[::8], "fit": fit}
    place = data / "targets.yaml"
    place.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    return place


def _built(target: str, manifest: dict[str, Any], metrics: list[float | None]) -> list[Any]:
    artifact = manifest["artifacts"][0]
    stages = manifest["fidelity"]["stages"] if manifest["fidelity"] else {}
    # the target's own arithmetic where this CPU's kernels saturate
    ran = stages.get("artifact_exact", stages.get("artifact"))
    stage = ran or stages.get("quantized_onnx", {"outputs": {}})
    worst = min(stage["outputs"].values(), key=lambda o: float(o["cosine"]), default={})
    return [
        target,
        artifact["format"],
        artifact["status"],
        *metrics,
        worst.get("cosine"),
        worst.get("sqnr_db"),
        round(manifest["size"]["artifact_bytes"] / 1e6, 2),
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
