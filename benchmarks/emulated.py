"""`python -m benchmarks.emulated [MODEL ...]`: Qualcomm's NPU, ours and onnxruntime's own flow.

Both are compiled by the same compiler for the same chip and run in QNN's emulator, which takes
seconds per sample: `emulated` figures are of `--samples` inputs only. `metric` is the task metric
of the quantized ONNX model in exact arithmetic, over the evaluation data that `--limit` allows.
The NPU takes fixed shapes: lines of text are padded to 480 pixels and sentences to 32 tokens, for
the float model as well; longer lines are left out, longer sentences cut.

One chip of every other generation follows, `--others`: its facts of quantization are the same, so
it compiles and emulates the model that the first has quantized. The boards with an older DSP get
their own recipe; nothing emulates them, and their metric is that of the quantized model.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.measure import ROOT, ChildFailedError, Measured, run_command, run_function
from benchmarks.metrics import TASKS, cosine
from benchmarks.runtimes import Array, Run
from benchmarks.table import Table, write
from benchmarks.zoo.provide import provide
from benchmarks.zoo.samples import unpack_ragged

TARGET = "snapdragon-8-gen2"
OTHERS = (
    "rb3-gen2", "snapdragon-8-gen1", "snapdragon-8-gen3", "snapdragon-8-elite",
    "snapdragon-8-elite-gen5",
)  # fmt: skip
"""v68, v69, v75, v79 and v81 of the Tensor Processor; `TARGET` is v73."""
BOARDS = ("rb5", "rb6")
AS_IT_IS = "schema: edgecompile/recipe@1\nname: as-it-is\nsteps: [{pass: remove_dead}]\n"
HERE = Path(__file__).resolve().parent
COLUMNS = (
    "method", "metric float", "metric", "share of float", "emulated cosine", "emulated SQNR dB",
    "same answer", "NPU nodes", "NPU MACs", "size MB", "compile s", "CPU s", "peak MB",
)  # fmt: skip
Feeds = dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """How a model of the zoo gets fixed shapes."""

    axis: int
    """The axis of every input that is padded; -1 is the last."""
    size: int
    """Its size; 0 when the model's shapes are fixed already."""
    shapes: str
    """The option of `freeze_shapes`."""
    metric: str
    subset: Callable[[Mapping[str, Array], int], dict[str, Array]]
    cut: bool = False
    """Whether the end of longer inputs is cut off; else they are left out."""


def _images(arrays: Mapping[str, Array], limit: int) -> dict[str, Array]:
    step = max(1, len(arrays["images"]) // limit)
    return {name: values[::step][:limit] for name, values in arrays.items()}


def _lines(arrays: Mapping[str, Array], limit: int) -> dict[str, Array]:
    rows = unpack_ragged(arrays, "lines")
    short = [i for i, row in enumerate(rows) if row.shape[2] <= FIXED["ppocr_rec"].size][:limit]
    return {
        "text": arrays["text"][short],
        "lines_items": np.concatenate([rows[i] for i in short], axis=-1),
        "lines_lengths": np.array([rows[i].shape[2] for i in short]),
    }


def _sentences(arrays: Mapping[str, Array], limit: int) -> dict[str, Array]:
    """`limit` pairs of words of WordSim-353, and as many words with their glosses."""
    pairs = arrays["wordsim"][:limit].copy()
    chosen, at = np.unique(pairs[:, :2].astype(int), return_inverse=True)
    pairs[:, :2] = at.reshape(-1, 2)
    found = {"wordsim": pairs, "simlex": pairs}
    for name, rows in (("words", chosen), ("lemmas", range(limit)), ("glosses", range(limit))):
        ragged = unpack_ragged(arrays, name)
        kept = [ragged[row] for row in rows if row < len(ragged)]
        found[f"{name}_items"] = np.concatenate(kept, axis=-1)
        found[f"{name}_lengths"] = np.array([len(row) for row in kept])
    return found


FIXED = {
    "effnet_lite0": Fixed(axis=-1, size=0, shapes="", metric="top1", subset=_images),
    "ppocr_rec": Fixed(
        axis=3, size=480, shapes="{x: [1, 3, 48, 480]}", metric="exact", subset=_lines
    ),
    "minilm": Fixed(
        axis=1,
        size=32,
        shapes="{input_ids: [1, 32], attention_mask: [1, 32], token_type_ids: [1, 32]}",
        metric="wordsim_rho",
        subset=_sentences,
        cut=True,
    ),
}


def main() -> int:
    """Exit code 1 when one of ours failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.emulated", description=__doc__)
    parser.add_argument("model", nargs="*", help=f"of {', '.join(FIXED)}; default: all")
    parser.add_argument("--recipe", action="append", help="default: qnn-a16w8 and qnn-a8w8")
    parser.add_argument("--others", nargs="*", default=OTHERS, help="more chips")
    parser.add_argument("--boards", nargs="*", default=BOARDS, help="boards with a DSP")
    parser.add_argument("--samples", type=int, default=4, help="to emulate, default 4")
    parser.add_argument("--limit", type=int, default=100, help="of evaluation data, default 100")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    tables, failed = [], False
    for name in options.model or FIXED:
        recipes = options.recipe or ["qnn-a16w8", "qnn-a8w8"]
        more = [f"{recipes[0]} {target}" for target in options.others]
        ways = [*recipes, *more, *options.boards, "onnxruntime a16w8", "onnxruntime a8w8"]
        table, broken = compete(name, ways, options.samples, options.limit)
        print(table.markdown(), flush=True)
        tables.append(table)
        failed |= broken
    write(tables, options.results / "emulated", machine.describe())
    return int(failed)


def compete(name: str, ways: Sequence[str], samples: int, limit: int) -> tuple[Table, bool]:
    """All `ways` on one model, and whether one of ours failed."""
    model, data = provide(name)
    rows: list[list[Any]] = []
    notes, broken = [], False
    with tempfile.TemporaryDirectory() as folder:
        calibration = fixed_samples(name, data, Path(folder) / "calibration")
        common = {"name": name, "model": str(model), "data": str(data)}
        common |= {"samples": samples, "limit": limit}
        known: dict[str, float] = {}
        for way in ways:
            print(f"{name}: {way} ...", file=sys.stderr, flush=True)
            work = Path(folder) / way.replace(" ", "-")
            try:
                made = _make(way, name, model, calibration, work)
                asked = {"built": str(work), "target": _target(way)}
                asked |= {"known": known if _recompiled(way) else {}}
                found = run_function("benchmarks.emulated:evaluate", **asked, **common).result
            except ChildFailedError as error:
                notes.append(f"{way}: {str(error)[-300:]}")
                rows.append([way, *[None] * (len(COLUMNS) - 1)])
                broken |= not way.startswith("onnxruntime")
                continue
            known = known or found
            rows.append(_row(way, found, made, work))
    metric = FIXED[name].metric
    notes.append(f"metric: {metric} of up to {limit} inputs; emulated: {samples} inputs, {TARGET}")
    return Table(title=f"{name}, emulated", columns=list(COLUMNS), rows=rows, notes=notes), broken


def fixed_samples(name: str, data: Path, folder: Path) -> Path:
    """The calibration samples in the fixed shape, those that are too long left out."""
    folder.mkdir(parents=True)
    for file in sorted((data / "calibration").glob("*.npz")):
        with np.load(file) as stored:
            feeds = padded(name, {key: stored[key] for key in stored.files})
        if feeds is not None:
            np.savez(folder / file.name, **feeds)  # type: ignore[arg-type]
    return folder


def padded(name: str, feeds: Mapping[str, Array]) -> Feeds | None:
    """`feeds` with zeros up to the fixed size; None when they are longer."""
    fixed = FIXED[name]
    if not fixed.size:
        return dict(feeds)
    found = {}
    for key, value in feeds.items():
        missing = fixed.size - value.shape[fixed.axis]
        if missing < 0 and not fixed.cut:
            return None
        widths = [(0, max(0, missing) if at == fixed.axis else 0) for at in range(value.ndim)]
        kept = np.take(value, range(min(fixed.size, value.shape[fixed.axis])), fixed.axis)
        found[key] = np.pad(kept, widths)
    return found


def _make(way: str, name: str, model: Path, calibration: Path, work: Path) -> Measured:
    """A build directory with `model.onnx` and the compiled wrapper."""
    if way.startswith("onnxruntime"):
        arguments = {"model": str(model), "calibration": str(calibration), "work": str(work)}
        wide = "16" in way
        return run_function("benchmarks.peers_qnn:quantize", wide=wide, **arguments)
    command = [sys.executable, "-m", "edgecompile", "build", "--target", _target(way), "--no-cache"]
    if _recompiled(way):
        recipe = work.with_name("as-it-is.yaml")
        recipe.write_text(AS_IT_IS)
        built = work.with_name(way.split(maxsplit=1)[0]) / "model.onnx"
        return run_command([*command, str(built), "--recipe", str(recipe), "-o", str(work)],
                           directory=ROOT)  # fmt: skip
    if way not in BOARDS:
        command += ["--recipe", way]
    command += [str(model), "--calibration", str(calibration), "--set", "calibrate.samples=64"]
    if FIXED[name].shapes:
        command += ["--set", f"freeze_shapes.inputs={FIXED[name].shapes}"]
    return run_command([*command, "-o", str(work)], directory=ROOT, ok=(0, 1))


def _target(way: str) -> str:
    """Of a recipe, `RECIPE CHIP`, a board, or the peer."""
    if way in BOARDS:
        return way
    return way.split()[1] if _recompiled(way) else TARGET


def _recompiled(way: str) -> bool:
    """Whether `way` compiles for another chip what its recipe has quantized for `TARGET`."""
    return way.startswith("qnn") and " " in way


def _row(way: str, found: dict[str, Any], made: Measured, work: Path) -> list[Any]:
    directory = work if work.exists() else work.with_name(f"{work.name}.failed")
    report = json.loads((directory / "report.json").read_text())
    cover = report["coverage"]
    emit = next(s for s in report["steps"] if s["step"].startswith("emit"))
    size = sum(a["bytes"] for a in report["artifacts"]) / 1e6
    return [
        way, found["float"], found["metric"], found["metric"] / found["float"],
        *map(found.get, ("cosine", "sqnr_db", "same")),
        f"{cover['accelerated']} of {cover['nodes']}",
        cover["accelerated_macs"], size, emit["seconds"], made.cpu_s, made.peak_rss_bytes / 1e6,
    ]  # fmt: skip


def evaluate(
    name: str, model: str, data: str, built: str, *, target: str, known: dict[str, float],
    samples: int, limit: int,
) -> dict[str, float]:  # fmt: skip
    """In a child: metric of the float and of the quantized model, and the emulator's outputs.

    `known` is what the same quantized model gave before, where only the chip is another.
    """
    directory = Path(built) if Path(built).exists() else Path(f"{built}.failed")
    kept = Path(built).with_name("chosen.npz")
    scores = known or _scores(name, model, data, directory, kept, samples=samples, limit=limit)
    if target in BOARDS:
        return scores
    with np.load(kept) as stored:
        arrays = {key: stored[key] for key in stored.files}
    chosen = [_part(arrays, f"feed/{i}/") for i in range(samples)]
    wanted = [arrays[f"wanted/{i}"] for i in range(samples)]
    emulated = list(_emulate(directory, chosen, target))
    pairs = [(np.stack([a]), np.stack([b])) for a, b in zip(emulated, wanted, strict=True)]
    lost = sum(float(np.square(a.astype(np.float64) - b).sum()) for a, b in pairs)
    power = sum(float(np.square(b.astype(np.float64)).sum()) for _, b in pairs)
    return scores | {
        "cosine": float(np.mean([cosine(a, b) for a, b in pairs])),
        "sqnr_db": 10 * float(np.log10(power / lost)),
        "same": float(np.mean([(a.argmax(-1) == b.argmax(-1)).mean() for a, b in pairs])),
    }


def _scores(
    name: str, model: str, data: str, directory: Path, kept: Path, *, samples: int, limit: int
) -> dict[str, float]:
    """Metrics of the float and the quantized model. The inputs to emulate go into `kept`."""
    from benchmarks.zoo.samples import read_evaluation
    from edgecompile.calibration.session import run_session
    from edgecompile.ir import load

    fixed, task = FIXED[name], TASKS[name]
    arrays = fixed.subset(read_evaluation(Path(data)), limit)
    seen: list[Feeds] = []
    reference = run_session(load(Path(model)), threads=1)
    exact = run_session(load(directory / "model.onnx"), threads=1, exact=True)

    def runner(session: Any, fed: list[Feeds] | None = None) -> Run:
        def run(feeds: Mapping[str, Array]) -> list[Array]:
            whole = padded(name, feeds)
            assert whole is not None
            if fed is not None:
                fed.append(whole)
            outputs = session.run(whole).values()
            return [cropped(fixed, value, feeds) for value in outputs]

        return run

    results = [task.collect(runner(reference, seen), arrays, Path(model))]
    results.append(task.collect(runner(exact), arrays, Path(model)))
    found = [task.score(outputs, results[0], arrays)[fixed.metric] for outputs in results]
    chosen = [seen[i] for i in np.linspace(0, len(seen) - 1, samples).astype(int)]
    stored = {f"feed/{i}/{k}": v for i, feeds in enumerate(chosen) for k, v in feeds.items()}
    for i, feeds in enumerate(chosen):
        stored[f"wanted/{i}"] = next(iter(reference.run(feeds).values()))
    np.savez(kept, **stored)  # type: ignore[arg-type]
    return {"float": found[0], "metric": found[1]}


def _part(arrays: Mapping[str, Array], prefix: str) -> Feeds:
    return {
        key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)
    }


def cropped(fixed: Fixed, output: Array, feeds: Mapping[str, Array]) -> Array:
    """The part of an output that belongs to the input, without that of its padding."""
    if not fixed.size or output.ndim < 3:
        return output
    length = min(fixed.size, next(iter(feeds.values())).shape[fixed.axis])
    return output[:, : max(1, round(output.shape[1] * length / fixed.size))]


def _emulate(directory: Path, feeds: Sequence[Feeds], target: str) -> Iterator[Array]:
    from edgecompile.targets.catalogue import load_target
    from edgecompile.verify.runtimes.qnn_context_binary import QnnContextRuntime

    path = directory / "artifacts" / "model_ctx.onnx"
    with tempfile.TemporaryDirectory() as work:
        opening = QnnContextRuntime().open(path, load_target(target), Path(work), threads=1)
        with opening as opened:
            for found in opened.run(feeds):
                yield next(iter(found["artifact"].values()))


if __name__ == "__main__":
    sys.exit(main())
