"""Budgets of `keep_precision`: what is judged, how it is measured, and what an error uses up."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from edgecompile.artifacts.budget import parse
from edgecompile.calibration.sample import Sample, Task
from edgecompile.passes.quantize.gauge import Figures, Gauge
from edgecompile.passes.quantize.observed import observed
from edgecompile.passes.quantize.precision import (
    EVEN,
    HEALTHY,
    STEADY,
    PrecisionBudget,
    automatic,
    excess,
    of_build,
    tighter,
)
from tests.support.data import npz_for
from tests.support.models import Builder


def scores(width=4):
    """`y [N, width]`, the input itself after a Relu."""
    b = Builder(opset=17)
    return b.build({b.node("Relu", [b.input("x", ["N", width])]): ["N", width]})


def samples(rows, labels=None):
    """One sample for each row."""
    labels = labels or [None] * len(rows)
    return [
        Sample(feeds={"x": np.array([row], np.float32)}, label=label, name=str(number))
        for number, (row, label) in enumerate(zip(rows, labels, strict=True))
    ]


def figures(rows, error, labels=None, task=None):
    """Of a model whose output is off by `error` in every sample."""
    model = scores(len(rows[0]))
    (name,) = (value.name for value in model.graph.graph.outputs)
    gauge = Gauge(model, samples(rows, labels), task)
    return gauge.figures(lambda s: {name: s.feeds["x"] + np.array(error, np.float32)})


def test_parts_of_a_joined_output_are_judged_each():
    b = Builder()
    x = b.input("x", ["N", 4, 8])
    boxes = b.node("Mul", [x, b.constant(np.float32(640))])
    scored = b.node("Sigmoid", [x])
    joined = b.node("Transpose", [b.node("Concat", [boxes, scored], axis=1)], perm=[0, 2, 1])
    assert observed(b.build({joined: None})) == (boxes, scored)


def test_what_is_picked_is_judged_by_what_it_is_picked_from():
    b = Builder()
    x = b.input("x", ["N", 10])
    logits = b.node("Relu", [x])
    chosen = b.node("Cast", [b.node("ArgMax", [logits], axis=1)], to=1)
    top = b.node("TopK", [logits, b.constant(np.array([3]))], 2, axis=1)
    assert observed(b.build({chosen: None, top[0]: None})) == (logits,)


def test_a_plain_output_stands_for_itself_behind_reshapes():
    b = Builder()
    flat = b.node("Flatten", [b.node("Relu", [b.input("x", ["N", 4, 4])])])
    assert observed(b.build({flat: None})) == (flat,)


def test_what_all_samples_have_in_common_is_no_signal():
    rows = [[100.0, 3.0], [100.0, 5.0], [100.0, 4.0]]
    found = figures(rows, [0.0, 1.0])
    assert found.of("cosine") > 0.999
    # the second number varies by one, and is off by one; one percent of the power is signal anyhow
    assert found.of("correlation") < math.sqrt(0.991)
    assert excess(HEALTHY, figures(rows, [0.0, 4.0])) > 1
    assert excess(HEALTHY, figures(rows, [0.0, 0.0])) == 0


def test_correlation_is_that_of_numpy():
    rng = np.random.default_rng(3)
    rows = rng.uniform(1, 9, (2000, 1)).tolist()
    noise = {str(n): rng.normal(scale=0.5) for n in range(len(rows))}
    model = scores(1)
    (name,) = (value.name for value in model.graph.graph.outputs)
    gauge = Gauge(model, samples(rows), None)
    got = gauge.figures(lambda s: {name: s.feeds["x"] + np.float32(noise[s.name])})
    values = np.array(rows)[:, 0]
    wanted = np.corrcoef(values, values + np.array(list(noise.values())))[0, 1]
    assert got.of("correlation") == pytest.approx(wanted, abs=0.002)


def test_labels_make_task_metrics_and_their_drop():
    rows = [[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 2.0, 1.9], [2.0, 0.0, 0.0]]
    labels = [(0,), (2,), (1,), (1,)]
    found = figures(rows, [0.0, -0.2, 0.0], labels, Task())
    assert found.of("top1") == 0.5
    assert found.of("top1_drop") == 0.25
    assert found.of("top1_agreement") == 0.75
    assert found.of("top5") is None


def test_without_labels_changed_decisions_bound_the_drop():
    found = figures([[2.0, 1.0, 0.0], [0.0, 2.0, 1.9]], [0.0, -0.2, 0.0])
    assert found.of("top1") is None
    assert found.of("top1_drop") == 0.5


def test_probabilities_are_told_by_their_values():
    assert figures([[0.1, 0.9], [0.3, 0.7]], [0.0, 0.05]).probability_error == pytest.approx(0.05)
    assert figures([[0.1, 1.9], [0.3, 0.7]], [0.0, 0.05]).probability_error is None


@pytest.mark.parametrize(
    ("text", "half"),
    [
        ("cosine>=0.99", "cosine>=0.995"),
        ("sqnr_db>=20", "sqnr_db>=23.0103"),
        ("max_abs<=0.5", "max_abs<=0.25"),
        ("top1_drop<=0.01", "top1_drop<=0.005"),
        ("top1_agreement>=1", "top1_agreement>=1"),
        ("top1>=0.75", "top1>=0.75"),
    ],
)
def test_a_share_of_an_allowed_error(text, half):
    budget = PrecisionBudget(**parse(text).model_dump())
    found, wanted = tighter(budget, 0.5), parse(half)
    assert found.metric == wanted.metric
    assert found.at_least == pytest.approx(wanted.at_least)
    assert found.at_most == pytest.approx(wanted.at_most)


def test_excess_is_one_where_the_budget_is_used_up():
    plain = Figures(outputs={}, correlation={"y": 0.98}, probability_error=0.05)
    assert excess(HEALTHY, plain) == pytest.approx(2)
    assert excess(STEADY, plain) == pytest.approx(2)
    assert excess(PrecisionBudget(metric="cosine", at_least=0.9), plain) == math.inf
    exact = Figures(outputs={}, correlation={"y": 0.99}, probability_error=0.025)
    assert excess(HEALTHY, exact) == pytest.approx(1)
    assert excess(STEADY, exact) <= 1


def test_budgets_of_a_build_are_held_with_a_reserve():
    (cosine, drop) = of_build([parse("cosine>=0.999"), parse("top1_drop<=0.01")])
    assert cosine.at_least == pytest.approx(0.9993)
    assert drop.at_most == pytest.approx(0.007)
    assert of_build([parse("cosine<=0.5"), parse("max_abs>=1")]) == ()


def test_a_metric_that_nothing_measures_is_refused():
    with pytest.raises(ValidationError, match="nothing measures 'f1'"):
        PrecisionBudget(metric="f1", at_least=0.9)


def test_recurrent_models_keep_probabilities_too(tmp_path):
    b = Builder()
    x = b.input("x", [3, 1, 2])
    gates = [b.random(1, 8, 2), b.random(1, 8, 2)]
    y = b.node("LSTM", [x, *gates], 1, hidden_size=2)
    model, plain = b.build({y: None}), scores()
    data = npz_for(plain, tmp_path / "data.npz")
    assert automatic(plain, data) == (HEALTHY, *EVEN)
    assert automatic(model, data) == (HEALTHY, *EVEN, STEADY)


def of_errors(rows, errors):
    """Figures of a model that is off by one of `errors` in each sample."""
    model = scores(len(rows[0]))
    (name,) = (value.name for value in model.graph.graph.outputs)
    gauge = Gauge(model, samples(rows), None)
    return gauge.figures(lambda s: {name: s.feeds["x"] + np.float32(errors[int(s.name)])})


def test_a_sample_that_collapses_is_found_and_named_behind_a_good_mean():
    rng = np.random.default_rng(1)
    rows = rng.uniform(0, 4, (64, 8)).tolist()
    signal = 8 * np.array(rows).var(axis=0).mean()
    errors = [0.02] * len(rows)
    errors[17] = math.sqrt(0.5 * signal / 8)  # half of what varies in a sample
    found = of_errors(rows, errors)
    assert excess(HEALTHY, found) < 1
    low, single = EVEN
    assert excess(low, found) < 1 < excess(single, found)
    assert found.worst_sample == "17"
    assert found.of("worst_correlation") == pytest.approx(1 / math.sqrt(1.5), abs=0.03)
    many = of_errors(rows, [errors[17] if number % 8 == 1 else 0.0 for number in range(64)])
    assert excess(low, many) > 1


def test_a_sample_without_signal_of_its_own_is_measured_by_the_others():
    rows = [[0.0, 0.0], [9.0, 1.0], [1.0, 8.0], [8.0, 9.0]]
    found = of_errors(rows, [0.2, 0.0, 0.0, 0.0])  # all that the first says, and little to others
    assert excess(EVEN[1], found) < 1
    assert found.worst_sample == "0"
