"""A whole build of efficientnet-lite0 against the peers' quantization of the same 100 samples."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contest import NNCF, ORT, OURS, Made, make
from benchmarks.measure import run_function
from benchmarks.runtimes import open_artifact
from benchmarks.table import Figure, Table
from benchmarks.zoo.provide import provide
from benchmarks.zoo.samples import read_calibration

MODEL = "effnet_lite0"


def tables() -> list[Table]:
    """CPU seconds, wall seconds and peak memory, each method in a child process of its own."""
    model, data = provide(MODEL)
    floor = run_function("benchmarks.bench_build:inference", model=str(model), data=str(data))
    with tempfile.TemporaryDirectory() as folder:
        made = {
            way.name: make(way, MODEL, model, data, Path(folder) / str(i))
            for i, way in enumerate((OURS, NNCF, ORT))
        }
    costs = {name: _costs(one) for name, one in made.items()}
    ours, *peers = costs
    floors = (floor.cpu_s, floor.wall_s, floor.peak_rss_bytes / 1e6)
    figures = [
        Figure(
            what=what,
            ours=costs[ours][i],
            unit=unit,
            floor=floors[i],
            peers={name: costs[name][i] for name in peers},
        )
        for i, (what, unit) in enumerate((("CPU", "s"), ("wall", "s"), ("peak memory", "MB")))
    ]
    notes = (
        "ours is the whole of `edgecompile build` without a cache: passes, calibration, IR, and "
        "verification of float model, quantized ONNX and IR on held-out samples",
        "the peers only quantize and write; nobody checks their result",
        "the floor runs the 100 samples through the float model in ONNX Runtime, one thread",
    )
    return [Table(title="efficientnet-lite0, 100 samples", figures=figures, notes=notes)]


def inference(model: str, data: str) -> int:
    """Run in a child: all calibration samples through the float model, one at a time."""
    run = open_artifact(Path(model), threads=1)
    samples = read_calibration(Path(data))
    for sample in samples:
        run(sample)
    return len(samples)


def _costs(made: Made) -> Sequence[float]:
    return (made.cost.cpu_s, made.cost.wall_s, made.cost.peak_rss_bytes / 1e6)
