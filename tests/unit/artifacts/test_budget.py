"""Budgets: what is read, what is refused, and when one is met."""

import math

import pytest
from pydantic import ValidationError

from edgecompile.artifacts.budget import Budget, parse
from edgecompile.diagnostics import EdgecompileError


@pytest.mark.parametrize(
    ("text", "metric", "at_least", "at_most"),
    [
        ("cosine>=0.99", "cosine", 0.99, None),
        ("sqnr_db>=20", "sqnr_db", 20.0, None),
        ("top1>=97%", "top1", 0.97, None),
        (" top1_drop <= 0.01 ", "top1_drop", None, 0.01),
        ("max_abs<=1e-3", "max_abs", None, 0.001),
        ("map@0.5>=0.4", "map@0.5", 0.4, None),
        ("word-error<=-1", "word-error", None, -1.0),
    ],
)
def test_forms(text, metric, at_least, at_most):
    budget = parse(text)
    assert budget == Budget(metric=metric, at_least=at_least, at_most=at_most)
    assert parse(str(budget)) == budget


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cosine", "form"),
        ("", "form"),
        (">=0.9", "form"),
        ("cosine>0.99", "'>'"),
        ("cosine==0.99", "'=='"),
        ("cosine=>0.99", "'=>'"),
        ("cosine>=high", "'high' is not a number"),
        ("cosine>=nan", "finite"),
        ("cosine>=inf", "finite"),
        ("cosine>=0.9 0.8", "form"),
        ("cosine>=%", "not a number"),
    ],
)
def test_refused(text, says):
    with pytest.raises(EdgecompileError) as caught:
        parse(text)
    (problem,) = caught.value.diagnostics
    assert problem.code == "EC-250"
    assert says in problem.message
    assert caught.value.exit_code == 2


def test_a_budget_needs_a_bound_that_something_can_keep():
    for bounds in ({}, {"at_least": 2, "at_most": 1}, {"at_least": math.nan}):
        with pytest.raises(ValidationError):
            Budget(metric="cosine", **bounds)


@pytest.mark.parametrize(
    ("actual", "met"),
    [(0.99, True), (1.0, True), (0.9899, False), (None, False), (math.nan, False), (1.01, False)],
)
def test_bounds_are_inclusive_and_the_unknown_never_meets_them(actual, met):
    assert Budget(metric="cosine", at_least=0.99, at_most=1.0).is_met(actual) is met
