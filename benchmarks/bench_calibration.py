"""Calibration against plain inference of the same samples, and against ONNX Runtime's own.

Alone: `python -m benchmarks.bench_calibration [MODEL.onnx ...] [--samples N] [--memory N ...]`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import ChildFailedError, run_function
from benchmarks.nets import NETS
from benchmarks.table import Figure, Table

SAMPLES = 100
MEMORY_SAMPLES = (50, 200, 1000)
REPEATS = 3
GOALS = {"resnet18": 1.2, "mobilenet_v2": 1.5}
"""CPU seconds of a calibration over those of plain inference; for the nets of `benchmarks.nets`."""
MEMORY_GOAL_MIB = 500.0
MEMORY_GROWTH_GOAL = 1.1
METHODS = ("minmax", "moving_average", "percentile", "entropy", "mse")
PEERS = ("minmax", "percentile", "entropy")


def tables() -> list[Table]:
    """ResNet18 and MobileNetV2, random weights."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, build in NETS.items():
            paths.append(Path(folder) / f"{name}.onnx")
            build(paths[-1])
        return [t for p in paths for t in tables_of(p, SAMPLES, MEMORY_SAMPLES)]


def tables_of(model: Path, samples: int, memory_samples: Sequence[int]) -> list[Table]:
    """Speed on `samples` samples, and memory at each of `memory_samples`."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "samples.npz"
        run_function("benchmarks.bench_calibration:write_samples", model=str(model), n=samples,
                     path=str(data))  # fmt: skip
        speed = _speed(model, data, samples)
    return [speed, _memory(model, memory_samples)]


def _speed(model: Path, data: Path, samples: int) -> Table:
    contenders: dict[str, dict[str, str]] = {"plain": {"function": "plain"}}
    contenders |= {f"ours {m}": {"function": "ours", "method": m} for m in METHODS}
    # In turns, so that a busy spell of the machine does not fall on one of them alone.
    rounds = [
        {name: _work(model, data, **arguments) for name, arguments in contenders.items()}
        for _ in range(REPEATS)
    ]
    best = {name: min(measured[name] for measured in rounds) for name in contenders}
    peers = {m: _peer(model, data, function="onnxruntime_own", method=m) for m in PEERS}
    nncf = _peer(model, data, function="nncf_own")
    floor, goal = best["plain"], GOALS.get(model.stem)
    figures = [
        Figure(
            what=f"{model.stem}, {method}",
            unit="CPU s",
            ours=best[f"ours {method}"],
            goal=None if goal is None else goal * floor,
            floor=floor,
            peers=_known({"onnxruntime": peers.get(method), "NNCF": nncf}),
        )
        for method in METHODS
    ]
    notes = (
        f"{samples} samples, one thread on one core, least of {REPEATS} runs (peers: one), each in "
        "a process of its own",
        "the floor is inference of the same samples, already in memory, by ONNX Runtime; reading "
        "and checking the samples counts for ours and for the peer",
        "NNCF has one kind of statistics, on OpenVINO: the same figure in each row",
        "start-up (imports, loading, making sessions) is left out everywhere; choosing the ranges "
        "counts",
    )
    return Table(title=f"Calibration of {model.stem}: CPU seconds", figures=figures, notes=notes)


def _known(figures: Mapping[str, float | None]) -> dict[str, float]:
    return {name: figure for name, figure in figures.items() if figure is not None}


def _memory(model: Path, counts: Sequence[int]) -> Table:
    function = "benchmarks.bench_calibration:random_ours"
    peaks = {
        n: run_function(function, model=str(model), n=n, method="mse").peak_rss_bytes / 2**20
        for n in counts
    }
    first = peaks[counts[0]]
    figures = [
        Figure(
            what=f"{model.stem}, {n} samples",
            unit="MiB",
            ours=peak,
            goal=min(MEMORY_GOAL_MIB, first * MEMORY_GROWTH_GOAL) if n != counts[0] else None,
        )
        for n, peak in peaks.items()
    ]
    return Table(title=f"Calibration of {model.stem} by mse: peak memory", figures=figures)


def _work(model: Path, data: Path, *, function: str, **arguments: str) -> float:
    found = run_function(
        f"benchmarks.bench_calibration:{function}", model=str(model), data=str(data), **arguments
    )
    return float(found.result)


def _peer(model: Path, data: Path, **arguments: str) -> float | None:
    """None where the peer fails or is not installed."""
    try:
        return _work(model, data, **arguments)
    except ChildFailedError:
        return None


def write_samples(model: str, n: int, path: str) -> None:
    """Run in a child: `n` seeded random samples for the model's inputs as an `.npz`."""
    from edgecompile.calibration.dataset import open_dataset
    from edgecompile.ir import load
    from edgecompile.ir.facts import input_specs

    samples = list(open_dataset(f"random:{n}", input_specs(load(Path(model)))))
    names = samples[0].feeds
    np.savez(path, **{name: np.concatenate([s.feeds[name] for s in samples]) for name in names})


def plain(model: str, data: str) -> float:
    """Run in a child: CPU seconds of plain inference, samples in memory, start-up left out."""
    one_core()
    loaded, samples = _open(model, data)
    from edgecompile.calibration.session import run_session

    feeds = [sample.feeds for sample in samples]
    session = run_session(loaded)
    session.run(feeds[0])
    return _cpu(lambda: [session.run(feed) for feed in feeds] and None)


def ours(model: str, data: str, method: str) -> float:
    """Run in a child: CPU seconds of a calibration, start-up left out.

    Start-up ends with the first sample, which is then charged as much as each of the others.
    """
    one_core()
    loaded, samples = _open(model, data)
    marks: list[float] = []
    _calibrate(loaded, samples, method, lambda *_: marks.append(time.process_time()))
    finished = time.process_time()
    each = (marks[-1] - marks[0]) / (len(samples) - 1)
    return finished - marks[0] + each


def random_ours(model: str, n: int, method: str) -> None:
    """Run in a child: a calibration over `n` random samples, for its memory."""
    loaded, samples = _open(model, f"random:{n}")
    _calibrate(loaded, samples, method, None)


def onnxruntime_own(model: str, data: str, method: str) -> float:
    """Run in a child: CPU seconds of ONNX Runtime's calibrator, default options, as above."""
    one_core()
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator
    from onnxruntime.quantization.registry import QDQRegistry

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
    }
    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            model,
            list(QDQRegistry),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=methods[method],
        )
        _, samples = _open(model, data)
        feeds = iter(samples)

        class Reader:
            def get_next(self) -> dict[str, Any] | None:
                sample = next(feeds, None)
                return None if sample is None else dict(sample.feeds)

        def work() -> None:
            calibrator.collect_data(Reader())
            calibrator.compute_data()

        return _cpu(work)


def nncf_own(model: str, data: str) -> float:
    """Run in a child: CPU seconds of NNCF's pass over the samples, by default options.

    Counted from the first sample to the last, and one more at the average: what comes before is
    start-up, what follows is quantization.
    """
    one_core()
    import nncf
    import openvino as ov

    _, samples = _open(model, data)
    marks: list[float] = []

    def read(sample: Any) -> dict[str, Any]:
        marks.append(time.process_time())
        return dict(sample.feeds)

    count = len(samples)
    nncf.quantize(ov.Core().read_model(model), nncf.Dataset(samples, read), subset_size=count)
    return (marks[count - 1] - marks[0]) / (count - 1) * count


def one_core() -> None:
    """Keep this process on one core, so that every library has one thread."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _open(model: str, data: str) -> tuple[Any, Any]:
    from edgecompile.calibration.dataset import open_dataset
    from edgecompile.ir import load
    from edgecompile.ir.facts import input_specs

    loaded = load(Path(model))
    return loaded, open_dataset(data, input_specs(loaded))


def _calibrate(model: Any, samples: Any, method: str, progress: Any) -> None:
    """The tensors that an INT8 build for an Intel CPU would quantize."""
    from edgecompile.calibration.collector import collect
    from edgecompile.calibration.method import range_method
    from edgecompile.passes.quantize.placement import place
    from edgecompile.targets.catalogue import load_target

    style = load_target("intel-nuc").quantization
    assert style is not None
    collect(model, place(model, style).tensors, samples, range_method(method), progress=progress)


def _cpu(action: Callable[[], None]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def main() -> None:
    """Print the tables of the models given, or of the built-in nets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="*", type=Path)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--memory", type=int, nargs="*", default=list(MEMORY_SAMPLES))
    options = parser.parse_args()
    made = [t for m in options.model for t in tables_of(m, options.samples, options.memory)]
    for table in made if options.model else tables():
        print(table.markdown(), flush=True)


if __name__ == "__main__":
    main()
