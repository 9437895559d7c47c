"""`calibrate` writes ranges, whole or not at all, and says beforehand when it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecompile.calibration.ranges import Ranges
from edgecompile.diagnostics import EdgecompileError
from edgecompile.driver.calibrate import calibrate
from edgecompile.driver.observed import float_activations
from tests.support.builds import DIGITS, DIGITS_DATA, RememberingSink
from tests.support.models import Builder


def run(output: Path, **changes: Any) -> tuple[Ranges, RememberingSink]:
    sink = RememberingSink()
    options: dict[str, Any] = {
        "calibration": str(DIGITS_DATA / "calibration.npz"),
        "method": "minmax",
        "output": output,
        "samples": 20,
        "sink": sink,
    }
    return calibrate(DIGITS, **{**options, **changes}), sink


def test_ranges_are_written_and_read_back(tmp_path: Path) -> None:
    ranges, sink = run(tmp_path / "ranges.json")
    document = json.loads((tmp_path / "ranges.json").read_text())
    assert Ranges.from_json(document) == ranges
    assert ranges.samples == 20
    assert sink.steps_in_progress == {"calibrate"}
    first = (tmp_path / "ranges.json").read_bytes()
    run(tmp_path / "ranges.json")
    assert (tmp_path / "ranges.json").read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["ranges.json"]


def test_a_target_narrows_what_is_observed(tmp_path: Path) -> None:
    every, _ = run(tmp_path / "a.json")
    some, _ = run(tmp_path / "b.json", target="intel-nuc")
    assert set(some.tensors) < set(every.tensors)


def test_what_runtimes_fuse_away_is_observed_on_demand() -> None:
    b = Builder(0)
    x = b.input("x", ["N", 3, 8, 8])
    conv = b.conv(x, 3, 4)
    relu = b.node("Relu", [conv])
    both = b.conv(relu, 4, 4)
    gate = b.node("Mul", [b.node("Sigmoid", [both]), both])
    add = b.node("Add", [gate, relu])
    clip = b.node("Clip", [add, "", b.constant(3.0)])
    flat = b.node("Flatten", [clip])
    product = b.node("MatMul", [flat, b.constant(np.zeros((256, 2), np.float32))])
    biased = b.node("Add", [product, b.constant(np.zeros(2, np.float32))])
    shown = b.conv(clip, 4, 4)
    last = b.node("Relu", [shown])
    model = b.build({biased: ["N", 2], shown: None, last: None})
    every, some = (float_activations(model, fused=fused) for fused in (True, False))
    assert {conv, add, product} == set(every) - set(some)
    assert {x, relu, both, gate, clip, flat, biased, shown, last} <= set(some)


def test_blas_gets_as_many_threads_as_asked_for(tmp_path: Path, monkeypatch) -> None:
    from threadpoolctl import threadpool_info

    seen: list[int] = []
    monkeypatch.setattr(
        RememberingSink,
        "progress",
        lambda *_: seen.extend(p["num_threads"] for p in threadpool_info()),
    )
    run(tmp_path / "ranges.json", threads=1)
    assert seen
    assert set(seen) == {1}


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for output in (tmp_path, tmp_path / "file" / "ranges.json", tmp_path / "no" / "ranges.json"):
        sink = RememberingSink()
        with pytest.raises(EdgecompileError, match="EC-740"):
            run(output, sink=sink)
        assert sink.started == []


def test_failing_leaves_old_ranges_alone(tmp_path: Path) -> None:
    (tmp_path / "ranges.json").write_text("old")
    with pytest.raises(EdgecompileError, match="EC-301"):
        run(tmp_path / "ranges.json", calibration=str(tmp_path / "no.npz"))
    assert (tmp_path / "ranges.json").read_text() == "old"
