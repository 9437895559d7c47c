"""ONNX's own back-end tests survive loading and saving: same bytes, same digest, same outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecompile.ir import load, save
from tests.support.onnx_corpus import Case, node_cases, reference, run_model, runnable, same

LEAST_MODELS = 2024
LEAST_RUNNABLE = 1861


def _round_trip(case: Case, directory: Path) -> str | None:
    """What is wrong after load -> save -> load -> save, or None."""
    first, second = directory / "first.onnx", directory / "second.onnx"
    model = load(case.model_path)
    save(model, first)
    again = load(first)
    save(again, second)
    if first.read_bytes() != second.read_bytes():
        return "the second save differs from the first"
    if model.digest != again.digest:
        return "the digest changes"
    if runnable(case):
        actual = run_model(second, case)
        if isinstance(actual, str):
            return f"no longer runs: {actual}"
        if not same(reference(case), actual, exact=case.repeatable):
            return "the outputs change"
    return None


def test_every_model_round_trips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = node_cases()
    run = sum(runnable(case) for case in cases)
    with capsys.disabled():
        refused = len(cases) - run
        print(f"\n{len(cases)} models, {run} run by ORT, {refused} not runnable", end=" ")
    wrong = {case.name: reason for case in cases if (reason := _round_trip(case, tmp_path))}
    assert wrong == {}
    assert len(cases) >= LEAST_MODELS
    assert run >= LEAST_RUNNABLE
