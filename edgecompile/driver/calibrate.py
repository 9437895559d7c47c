"""`edgecompile calibrate`: only the ranges, as one JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.calibration.ranges import Ranges
from edgecompile.diagnostics import EdgecompileError
from edgecompile.diagnostics.catalogue.store import RANGES_UNWRITABLE
from edgecompile.driver.sink import Sink
from edgecompile.store.files import write_atomically

if TYPE_CHECKING:
    from edgecompile.calibration.checkpoint import Checkpoint
    from edgecompile.calibration.dataset import Dataset
    from edgecompile.ir.model import Model

STEP = "calibrate"


def calibrate(
    model_path: Path,
    *,
    calibration: str,
    method: str,
    output: Path,
    sink: Sink,
    options: dict[str, Any] | None = None,
    samples: int | None = None,
    target: str | None = None,
    every_tensor: bool = False,
    threads: int = 1,
    tolerance: float | None = None,
) -> Ranges:
    """Measure the ranges of `model_path` on `calibration` and write them to `output`.

    With `target` only tensors that it would quantize are observed, else every float activation;
    what runtimes fuse away only with `every_tensor`. With `tolerance` it stops once ranges have
    converged. A run that was interrupted is continued.
    Raises EC-1xx and EC-3xx, EC-344 for an unknown method, EC-740 when `output` cannot be written.
    """
    from edgecompile.calibration.collector import collect
    from edgecompile.calibration.method import range_method
    from edgecompile.driver.observed import observed_tensors
    from edgecompile.ir.load import load
    from edgecompile.passes.instruments import Stopwatch

    watch = Stopwatch()
    chosen = range_method(method, options or {})
    _check_writable(output)
    model = load(model_path)
    tensors = observed_tensors(model, target, every=every_tensor)
    data = _samples(model, calibration, samples, sink)
    sink.step_started(STEP)
    checkpoint = _checkpoint(
        model=model.digest,
        tensors=tensors,
        data=data.sha256,
        method=chosen.describe(),
        run={"threads": threads, "tolerance": tolerance},
    )
    ranges = collect(
        model,
        tensors,
        data,
        chosen,
        threads=threads,
        progress=lambda done, total: sink.progress(STEP, done, total),
        checkpoint=checkpoint,
        tolerance=tolerance,
    )
    write_ranges(ranges, output)
    summary = _summary(ranges, checkpoint.resumed)
    sink.step_finished(STEP, seconds=watch.seconds, cached=False, summary=summary)
    return ranges


def _samples(model: Model, calibration: str, samples: int | None, sink: Sink) -> Dataset:
    from edgecompile.calibration.dataset import open_dataset
    from edgecompile.calibration.split import spread
    from edgecompile.ir.facts import input_specs

    data = open_dataset(calibration, input_specs(model))
    for diagnostic in data.diagnostics:
        sink.diagnostic(diagnostic)
    return data.subset(spread(len(data), samples))


def _summary(ranges: Ranges, resumed: int) -> str:
    text = f"{len(ranges.tensors)} tensors on {ranges.samples} samples"
    return f"{text}, continued from sample {resumed}" if resumed else text


def _checkpoint(**inputs: Any) -> Checkpoint:
    """Progress under all that the ranges depend on, in the cache."""
    from edgecompile.calibration.checkpoint import Checkpoint
    from edgecompile.store.code import code_sha256
    from edgecompile.store.keys import key_of
    from edgecompile.store.location import cache_root
    from edgecompile.store.store import Store

    store = Store(cache_root())
    key = key_of({"code": code_sha256(("calibration", "ir"), store.memo), **inputs})
    return Checkpoint(store.partial(key), key)


def write_ranges(ranges: Ranges, output: Path) -> None:
    """Write `ranges` to `output`, whole or not at all. Raises EC-740."""
    text = json.dumps(ranges.to_json(), indent=2, ensure_ascii=False) + "\n"
    try:
        write_atomically(output, text.encode())
    except OSError as error:
        raise _unwritable(output, error) from error


def _check_writable(output: Path) -> None:
    """Find out before the work that the result has nowhere to go."""
    if output.is_dir():
        raise RANGES_UNWRITABLE.error(path=output, reason="it is a directory")
    try:
        existed = output.exists()
        with output.open("ab"):
            pass
        if not existed:
            output.unlink()
    except OSError as error:
        raise _unwritable(output, error) from error


def _unwritable(output: Path, error: OSError) -> EdgecompileError:
    return RANGES_UNWRITABLE.error(path=output, reason=error.strerror or str(error))
