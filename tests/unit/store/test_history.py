"""`cache why` names what changed, and where it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecompile.store import key_of
from edgecompile.store.history import BuildRecord, History, StepRecord

SLOT = {"model": "/m.onnx", "target": "intel-nuc", "recipe": "openvino-int8"}


def step(label: str, *, hit: bool = False, makers: Any = None, **material: Any) -> StepRecord:
    return StepRecord(
        label=label, key=key_of(material), hit=hit, material=material, makers=makers or {}
    )


def build(*steps: StepRecord, output: str = "/out") -> BuildRecord:
    return BuildRecord(slot=SLOT, output=output, steps=steps)


def reasons(history: History, *steps: StepRecord) -> list[str]:
    return [s.reason for s in history.explained(build(*steps)).steps]


def test_reasons(tmp_path: Path) -> None:
    history = History(tmp_path)
    old = step("calibrate", options={"method": "minmax"}, inputs={"data": "1f" * 32, "model": "a"})
    assert reasons(history, old) == ["first build of this model for this target with this recipe"]
    history.record(build(old, step("quantize_static", inputs={"ranges": "x"})))

    changed = step("calibrate", options={"method": "mse"}, inputs={"data": "9a" * 32, "model": "a"})
    after = step("quantize_static", inputs={"ranges": "y"}, makers={"ranges": "calibrate"})
    assert reasons(history, changed, after) == [
        "data changed: 1f1f1f1f1f1f... -> 9a9a9a9a9a9a...; options.method changed: minmax -> mse",
        "its ranges changed (from calibrate)",
    ]
    assert reasons(history, old) == ["its cached result was removed or damaged"]
    assert reasons(history, step("new", a=1)) == ["the step is new in the recipe"]
    assert reasons(history, step("calibrate", hit=True, a=1)) == [""]


def test_the_last_build_of_all_or_of_one_directory(tmp_path: Path) -> None:
    history = History(tmp_path)
    assert history.last() is None
    history.record(build(step("a"), output=str(tmp_path / "one")))
    found = history.last(tmp_path / "one")
    assert found is not None
    assert found.steps[0].label == "a"
    assert history.last(tmp_path / "two") is None


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.record(build(step("a")))
    for place in tmp_path.iterdir():
        place.write_bytes(b"[]")
    assert history.last() is None
    assert reasons(history, step("a"))[0].startswith("first build")
