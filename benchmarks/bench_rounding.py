"""Weights in 4 bits: each of our roundings beside the peers', on a transformer and on a CNN.

Alone: `python -m benchmarks.bench_rounding [MODEL ...]`. MiniLM has blocks of 32, the CNN a scale
per output channel in every layer; activations stay float and arithmetic is exact.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import contest
from benchmarks.contest import Way
from benchmarks.measure import ROOT, ChildFailedError, run_function
from benchmarks.metrics import cosine
from benchmarks.runtimes import open_artifact
from benchmarks.table import Table
from benchmarks.zoo import sentences, stamps
from benchmarks.zoo.provide import provide
from benchmarks.zoo.samples import read_evaluation, unpack_ragged
from edgecompile.calibration.split import spread

INPUTS = 64
SCORES = ("cosine", "sqnr_db", "agree")
BASE = ROOT / "recipes" / "openvino-int4-weights.yaml"
LAST = "  - pass: quantize_weights\n"
ALL_SAMPLES = "    samples: 128\n"
BLOCKS = f"{LAST}    bits: 4\n    group_size: 32\n"
CHANNELS = (
    f"{LAST}    bits: 4\n    kernels: int4\n    float_share: 0.0\n    min_elements: 1\n"
    "    min_sqnr_db_4bit: 0.0\n"
)
SCALES = f"  - pass: seq_mse\n{ALL_SAMPLES}"
SECOND_ORDER = f"  - pass: gptq\n{ALL_SAMPLES}"
LEARNED = f"  - pass: adaround\n{ALL_SAMPLES}"
AWARE = f"  - pass: awq\n    insert: true\n{ALL_SAMPLES}"
MADE_UP = "    inputs: quantized\n"
OURS = {
    "minilm": {
        "RTN": f"{BLOCKS}    clip: none\n",
        "RTN, clipped": BLOCKS,
        "HQQ": f"{BLOCKS}    clip: hqq\n",
        "AWQ": AWARE + BLOCKS,
        "SeqMSE": BLOCKS + SCALES,
        "GPTQ": BLOCKS + SECOND_ORDER,
        "AdaRound": BLOCKS + LEARNED,
        "GPTQ, quantized inputs": BLOCKS + SECOND_ORDER + MADE_UP,
    },
    "effnet_lite0": {
        "RTN": f"{CHANNELS}    clip: none\n",
        "RTN, clipped": CHANNELS,
        "HQQ": f"{CHANNELS}    clip: hqq\n",
        "SeqMSE": CHANNELS + SCALES,
        "GPTQ": CHANNELS + SCALES + SECOND_ORDER,
        "AdaRound": CHANNELS + SCALES + LEARNED,
        "GPTQ, quantized inputs": CHANNELS + SCALES + SECOND_ORDER + MADE_UP,
        "AdaRound, quantized inputs": CHANNELS + SCALES + LEARNED + MADE_UP,
    },
}
"""Steps behind the graph passes of the recipe for INT4 weights, by what the table calls them."""
PEERS = {
    "minilm": (
        Way(name="ORT MatMulNBits RTN", peer="ort_weights_4bit", suffix=".onnx", needs_data=False),
        Way(
            name="ORT MatMulNBits k-quant",
            peer="ort_weights_4bit",
            suffix=".onnx",
            needs_data=False,
            options={"algorithm": "k_quant"},
        ),
        Way(
            name="ORT MatMulNBits GPTQ",
            peer="ort_weights_4bit",
            suffix=".onnx",
            options={"algorithm": "gptq"},
        ),
        Way(
            name="ORT MatMulNBits HQQ",
            peer="ort_weights_4bit",
            suffix=".onnx",
            needs_data=False,
            options={"algorithm": "hqq"},
        ),
        Way(name="NNCF", peer="nncf_weights_4bit", needs_data=False),
        Way(name="NNCF, AWQ and scales", peer="nncf_weights_4bit", options={"aware": True}),
        Way(name="NNCF, GPTQ", peer="nncf_weights_4bit", options={"gptq": True}),
    ),
    "effnet_lite0": (),
}


def tables(names: Sequence[str] = tuple(OURS)) -> list[Table]:
    """One table per model."""
    return [_table(name) for name in names]


def _table(name: str) -> Table:
    model, data = provide(name)
    rows: list[list[Any]] = []
    notes = [
        f"over {INPUTS} evaluation inputs, spread evenly, in exact arithmetic",
        "samples are the zoo's; ours hold a part of them out to verify, as every build does",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for way in (*_ours(name, Path(folder)), *PEERS[name]):
            print(f"{name}: {way.name} ...", file=sys.stderr, flush=True)
            try:
                made = contest.make(way, name, model, data, Path(folder) / "artifact")
                scores = run_function(
                    "benchmarks.bench_rounding:fidelity",
                    name=name,
                    artifact=str(made.path),
                    model=str(model),
                    data=str(data),
                ).result
            except ChildFailedError as error:
                rows.append([way.name, *[None] * (len(SCORES) + 3)])
                notes.append(f"{way.name}: {str(error).strip().splitlines()[-1][-150:]}")
                continue
            peak = made.cost.peak_rss_bytes / 1e6
            rows.append(
                [way.name, *[scores[c] for c in SCORES], made.cost.cpu_s, peak, made.megabytes]
            )
            print(rows[-1], file=sys.stderr, flush=True)
    heads = ["4-bit weights", *SCORES, "CPU s", "peak MB", "size MB"]
    return Table(title=f"{name}, 4-bit weights", columns=heads, rows=rows, notes=notes)


def fidelity(name: str, artifact: str, model: str, data: str) -> dict[str, float]:
    """Run in a child: the answers of `artifact` beside those of the float model.

    An answer is a class score vector, or the embedding of a sentence (mean over tokens).
    """
    arrays = read_evaluation(Path(data))
    feeds = _feeds(name, arrays)
    found, wanted = (
        np.stack([_answer(name, run(one)[0]) for one in feeds])
        for run in (open_artifact(Path(artifact), exact=True), open_artifact(Path(model)))
    )
    lost = np.square(found - wanted, dtype=np.float64).sum()
    return {
        "cosine": cosine(found, wanted),
        "sqnr_db": float(10 * np.log10(np.square(wanted, dtype=np.float64).sum() / lost)),
        "agree": float((found.argmax(1) == wanted.argmax(1)).mean()),
    }


def _feeds(name: str, arrays: Any) -> list[dict[str, Any]]:
    if name == "minilm":
        items = unpack_ragged(arrays, "glosses")
        return [sentences.to_input(items[i]) for i in spread(len(items), INPUTS)]
    images = arrays["images"]
    return [{"input": stamps.to_input(images[i])} for i in spread(len(images), INPUTS)]


def _answer(name: str, output: Any) -> Any:
    if name == "minilm":
        mean = output[0].mean(0)
        return mean / np.linalg.norm(mean)
    return output.reshape(-1)


def _ours(name: str, folder: Path) -> list[Way]:
    """A recipe for each of our ways."""
    head = BASE.read_text(encoding="utf-8").split(LAST)[0]
    ways = []
    for number, (title, steps) in enumerate(OURS[name].items()):
        path = folder / f"way-{number}.yaml"
        path.write_text(head.replace(BASE.stem, path.stem) + steps, encoding="utf-8")
        ways.append(Way(name=f"edgecompile {title}", recipe=str(path)))
    return ways


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_rounding")
    parser.add_argument("model", nargs="*", choices=[[], *OURS])
    for table in tables(parser.parse_args().model or tuple(OURS)):
        print(table.markdown())
