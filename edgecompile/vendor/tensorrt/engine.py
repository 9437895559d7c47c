"""Worker: load and run an engine on this machine's GPU, with the runner that devices get.

`open_engine` first, then `run` for samples, and `layers` and `latency` as wanted.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.vendor.tensorrt.builder import build
from edgecompile.vendor.tensorrt.inspected import inspected_layers
from edgecompile.vendor.worker import Session

_RUNS = (3, 25)
_BUDGET_S = 1.5


def open_engine(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Load `payload["engine"]`, whose SHA-256 must be `sha256`, by the file `runner`.

    `module` is the library's package. Answers `runtime`, a text. Raises what the runner raises.
    """
    spec = importlib.util.spec_from_file_location("edgecompile_runner", payload["runner"])
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load '{payload['runner']}'")
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    kit = {
        "options": {"library": payload["module"], "build": False},
        "artifact": {"sha256": payload["sha256"]},
    }
    loaded = runner.load(payload["engine"], kit)
    session.kept.update(runner=runner, loaded=loaded)
    return {"runtime": f"{loaded.runtime} on {loaded.device}"}


def run(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Run the samples of the .npz `feeds`, and save their outputs to the .npz `results`.

    `feeds` holds `0/0`, `0/1`, ... for the inputs named in `inputs`, then `1/0` and so on for the
    next of `samples` samples; `results` holds the outputs in the same way, in the order of the
    names that are answered as `outputs`.
    """
    found: dict[str, np.ndarray] = {}
    names: list[str] = []
    with np.load(payload["feeds"]) as stored:
        for at in range(payload["samples"]):
            got = session.kept["loaded"].run(_feeds(stored, at, payload["inputs"]))
            names = sorted(got)
            found |= {f"{at}/{i}": got[name] for i, name in enumerate(names)}
    np.savez(payload["results"], **found)  # type: ignore[arg-type]
    return {"outputs": names}


def layers(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """The engine's own account of its layers, by its inspector."""
    del payload
    return {"layers": inspected_layers(session.kept["loaded"].inspect())}


def latency(payload: dict[str, Any], session: Session) -> dict[str, float]:
    """Median milliseconds of the engine, and of one in FP32 that is built here from `float`.

    Their runs alternate, so that a change of clock or load meets both alike.
    """
    plain = Path(payload["workdir"]) / "float.engine"
    options = {"library": payload["library"], "model": payload["float"], "engine": str(plain)}
    build({**options, "shapes": payload["shapes"]}, session)
    kept = session.kept
    other = kept["runner"].Loaded(plain.read_bytes(), payload["module"])
    with np.load(payload["feeds"]) as stored:
        feeds = _feeds(stored, 0, payload["inputs"])
    times: tuple[list[float], list[float]] = ([], [])
    for one in (other, kept["loaded"]):
        one.run(feeds)
    began, (least, most) = time.perf_counter(), _RUNS
    for done in range(most):
        if done >= least and time.perf_counter() - began > _BUDGET_S:
            break
        for one, taken in zip((other, kept["loaded"]), times, strict=True):
            start = time.perf_counter()
            one.run(feeds)
            taken.append(time.perf_counter() - start)
    return {
        "float_ms": statistics.median(times[0]) * 1e3,
        "artifact_ms": statistics.median(times[1]) * 1e3,
    }


def _feeds(stored: Any, at: int, inputs: list[str]) -> dict[str, Any]:
    return {name: stored[f"{at}/{i}"] for i, name in enumerate(inputs)}
