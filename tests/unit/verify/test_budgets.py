"""Budgets hold the worst output in the worst judged arithmetic, and say why when they do not."""

from __future__ import annotations

import json
import math

import pytest

from edgecompile.artifacts.budget import parse
from edgecompile.artifacts.types import Latency, Metric, OutputFidelity, StageFidelity
from edgecompile.verify.budgets import check_budgets
from edgecompile.verify.results import VerifyResult


def stage(**cosines: float) -> StageFidelity:
    outputs = {
        name: OutputFidelity(
            cosine=c, sqnr_db=100 * c, max_abs=round(1 - c, 6), top1_agreement=None
        )
        for name, c in cosines.items()
    }
    return StageFidelity(arithmetic="runtime", runtime="test", outputs=outputs)


RESULT = VerifyResult(
    samples=8,
    stages={
        "quantized_onnx": stage(a=0.99, b=0.98),
        "artifact": stage(a=0.97, b=0.95),
        "artifact_exact": stage(a=0.99, b=0.98),
    },
    judged=("artifact_exact",),
    metrics={
        "top1": Metric(float=0.97, quantized=0.95, kind="accuracy", arithmetic="runtime"),
        "cer": Metric(float=0.01, quantized=0.03, kind="error"),
    },
    metric_samples=50,
)


@pytest.mark.parametrize(
    ("text", "actual", "met"),
    [
        ("cosine>=0.98", 0.98, True),
        ("cosine>=0.981", 0.98, False),
        ("cosine@a>=0.981", 0.99, True),
        ("sqnr_db>=98", 98.0, True),
        ("max_abs<=0.02", 0.02, True),
        ("max_abs<=0.01", 0.02, False),
        ("top1>=0.95", 0.95, True),
        ("top1_drop<=0.02", 0.02, True),
        ("top1_drop<=1%", 0.02, False),
        ("cer<=0.03", 0.03, True),
        ("cer_drop<=0.02", 0.02, True),
    ],
)
def test_the_figure_that_a_budget_means(text, actual, met):
    (result,), problems = check_budgets([parse(text)], RESULT)
    assert result.actual == pytest.approx(actual)
    assert result.met is met
    assert result.required == str(parse(text))
    assert [p.code for p in problems] == ([] if met else ["EC-650"])


def test_a_miss_names_required_actual_place_and_the_reason():
    judged = RESULT.model_copy(update={"judged": ("artifact", "artifact_exact")})
    _, (problem,) = check_budgets([parse("cosine>=0.99")], judged)
    assert problem.message == (
        "cosine is 0.95, the budget asks for cosine>=0.99 (artifact, output 'b')"
    )
    assert "the loss is the runtime's" in problem.hints[0]


def test_a_miss_of_few_labels_says_so():
    _, (problem,) = check_budgets([parse("top1>=0.96")], RESULT)
    assert problem.hints[0] == "only 50 labelled samples: one of them is a large step"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("top_1>=0.9", "did you mean 'top1'?"),
        ("top5>=0.9", "did you mean 'top1'?"),
        ("top1_agreement>=0.9", "for a task metric give labelled data: --eval DATASET"),
        ("cosine@c>=0.9", "for a task metric give labelled data: --eval DATASET"),
    ],
)
def test_what_was_not_measured_is_not_met(text, hint):
    (result,), (problem,) = check_budgets([parse(text)], RESULT)
    assert (result.actual, result.met, problem.code) == (None, False, "EC-651")
    assert problem.hints[0] == hint


def test_all_misses_are_told_and_no_budget_is_no_problem():
    assert check_budgets([], RESULT) == ([], [])
    _, problems = check_budgets([parse("cosine>=1"), parse("top1>=1"), parse("x>=1")], RESULT)
    assert [p.code for p in problems] == ["EC-650", "EC-650", "EC-651"]


def test_nan_meets_nothing():
    broken = RESULT.model_copy(update={"stages": {"artifact_exact": stage(a=math.nan)}})
    (result,), _ = check_budgets([parse("cosine>=0")], broken)
    assert not result.met


def test_results_survive_strict_json():
    perfect = OutputFidelity(cosine=1.0, sqnr_db=math.inf, max_abs=0.0)
    stages = {"artifact": StageFidelity(arithmetic="exact", runtime="r", outputs={"y": perfect})}
    latency = Latency(runtime="r", threads=1, float_ms=1.0, artifact_ms=0.5)
    result = RESULT.model_copy(update={"stages": stages, "latency": latency})
    text = json.dumps(result.to_json(), allow_nan=False)
    assert VerifyResult.from_json(json.loads(text)) == result


def test_every_figure_names_its_arithmetic():
    asked = ("cosine>=0.9", "top1>=0.9", "top1_drop<=0.5", "max_abs@nowhere<=1")
    results, _ = check_budgets([parse(text) for text in asked], RESULT)
    (worst,) = {RESULT.stages[name].arithmetic for name in RESULT.judged}
    assert [r.arithmetic for r in results] == [worst, "runtime", "runtime", None]
