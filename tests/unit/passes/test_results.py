"""The line that tells what a step did."""

from __future__ import annotations

from typing import Any

from edgecompile.passes.base import Note
from edgecompile.passes.results import StepResult


def step(*notes: Note, changed: bool = False, after: int = 3) -> StepResult:
    facts: dict[str, Any] = dict.fromkeys(("id", "key", "input_digest", "output_digest"), "x")
    facts |= {"cached": False, "seconds": 0.0, "cpu_seconds": 0.0, "label": "x"}
    ops = {"ops_before": {"Conv": 3}, "ops_after": {"Conv": after}}
    return StepResult(changed=changed, notes=notes, **facts, **ops)


def test_why_a_step_left_a_node_alone_is_no_headline():
    why = Note(message="this is Gelu, which needs opset 20", node="mul_3")
    assert step(why).summary == "nothing to do"
    assert step().summary == "nothing to do"


def test_what_a_step_says_of_itself_is():
    skipped = Note(message="not finite", tensor="x")
    told = Note(message="24 tensors calibrated by mse")
    assert step(skipped, told).summary == "24 tensors calibrated by mse"


def test_a_step_that_changed_the_model_counts_nodes():
    assert step(changed=True, after=5).summary == "3 -> 5 nodes"
    assert step(changed=True).summary == "3 nodes, rewritten"
