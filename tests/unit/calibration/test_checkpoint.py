"""An interrupted calibration continues, and ends as if it had never been interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from edgecompile.calibration import checkpoint as module
from edgecompile.calibration.checkpoint import Checkpoint
from edgecompile.calibration.collector import collect
from edgecompile.calibration.dataset import open_dataset
from edgecompile.calibration.method import range_method
from edgecompile.ir.facts import input_specs
from edgecompile.ir.load import load
from tests.support.builds import DIGITS, DIGITS_DATA
from tests.support.cli import child_environment

METHODS = ("minmax", "moving_average", "percentile", "entropy", "mse")
COUNT = 150


class StoppedError(Exception):
    """Stands for whatever ends a run."""


@pytest.fixture(autouse=True)
def _always_written(monkeypatch):
    monkeypatch.setattr(module, "_INTERVAL_S", 0.0)


@pytest.fixture(scope="module")
def digits():
    model = load(DIGITS)
    data = open_dataset(str(DIGITS_DATA / "calibration.npz"), input_specs(model))
    data = data.subset(range(COUNT))
    tensors = [v.name for node in model.graph.graph for v in node.outputs
               if node.op_type in {"Conv", "Relu", "Clip", "Gemm"}]  # fmt: skip
    return model, ["image", *tensors], data


def _collect(digits, method, checkpoint, *, stop_at=None, tolerance=None):
    ran: list[int] = []

    def progress(done: int, total: int) -> None:
        ran.append(done)
        if done == stop_at:
            raise StoppedError

    model, tensors, data = digits
    ranges = collect(model, tensors, data, range_method(method), progress=progress,
                     checkpoint=checkpoint, tolerance=tolerance)  # fmt: skip
    return ranges, ran


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_stopped_continues_to_equal_ranges(digits, tmp_path, method):
    whole, _ = _collect(digits, method, None)
    for stop_at in (100, 130):
        with pytest.raises(StoppedError):
            _collect(digits, method, Checkpoint(tmp_path / "partial", "k"), stop_at=stop_at)
    checkpoint = Checkpoint(tmp_path / "partial", "k")
    again, ran = _collect(digits, method, checkpoint)
    assert again == whole
    assert checkpoint.resumed == 128
    assert ran == list(range(129, COUNT + 1))
    assert not checkpoint.path.exists()


def test_early_stopping_remembers_what_it_had_compared(digits, tmp_path):
    whole, ran = _collect(digits, "minmax", None, tolerance=0.2)
    with pytest.raises(StoppedError):
        _collect(digits, "minmax", Checkpoint(tmp_path / "p", "k"), stop_at=50, tolerance=0.2)
    again, rest = _collect(digits, "minmax", Checkpoint(tmp_path / "p", "k"), tolerance=0.2)
    assert again == whole
    assert again.convergence == whole.convergence
    assert rest[-1] == ran[-1] < COUNT


@pytest.mark.parametrize("damage", ["key", "cut", "text", "form"])
def test_progress_that_does_not_fit_is_ignored(digits, tmp_path, damage):
    path = tmp_path / "partial"
    with pytest.raises(StoppedError):
        _collect(digits, "mse", Checkpoint(path, "k"), stop_at=70)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:2000])
    elif damage == "text":
        path.write_text("no arrays")
    elif damage == "form":
        with np.load(path) as arrays:
            kept = {name: arrays[name] for name in arrays if name != "meta"}
        np.savez(path.open("wb"), **kept)
    checkpoint = Checkpoint(path, "other" if damage == "key" else "k")
    again, ran = _collect(digits, "mse", checkpoint)
    assert checkpoint.resumed == 0
    assert len(ran) == COUNT
    assert again == _collect(digits, "mse", None)[0]


def test_progress_that_cannot_be_written_does_not_stop_the_run(digits, tmp_path):
    (tmp_path / "file").write_text("")
    again, _ = _collect(digits, "mse", Checkpoint(tmp_path / "file" / "partial", "k"))
    assert again == _collect(digits, "mse", None)[0]


SLOW = """
import sys, time
from edgecompile.calibration import checkpoint
from edgecompile.cli import main
from edgecompile.driver.sink import Sink
checkpoint._INTERVAL_S = 0.0
import edgecompile.calibration.observe as observe
see = observe.Observer.see
def slowly(self, sample):
    time.sleep(float(sys.argv[1]))
    return see(self, sample)
observe.Observer.see = slowly
sys.exit(main(sys.argv[2:]))
"""


def test_a_killed_process_is_continued_by_the_next(tmp_path):
    cache = tmp_path / "cache"
    environment = {**child_environment(), "EDGECOMPILE_CACHE_DIR": str(cache)}
    command = ["calibrate", str(DIGITS), "-c", str(DIGITS_DATA / "calibration.npz")]

    def run(name: str, wait_s: str) -> list[str]:
        return [sys.executable, "-c", SLOW, wait_s, *command, "-o", str(tmp_path / name)]

    killed = subprocess.Popen(run("killed.json", "0.02"), env=environment)
    deadline = time.monotonic() + 120
    while not list((cache / "partial").glob("*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed.json").exists()
    done = subprocess.run(
        run("again.json", "0"), env=environment, capture_output=True, text=True, check=True
    )
    assert "continued from sample" in done.stderr
    whole = {**environment, "EDGECOMPILE_CACHE_DIR": str(tmp_path / "other")}
    subprocess.run(run("whole.json", "0"), env=whole, capture_output=True, check=True)
    found = [json.loads((tmp_path / f"{n}.json").read_text()) for n in ("again", "whole")]
    assert found[0] == found[1]
    assert not list((cache / "partial").glob("*"))
