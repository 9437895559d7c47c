"""Task metrics, against scikit-learn's definition of top-k on small cases."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.artifacts.types import Metric
from edgecompile.calibration.meters import Classification, metrics
from edgecompile.calibration.sample import Task
from edgecompile.diagnostics import EdgecompileError

RNG = np.random.default_rng(5)


def meter(rows: np.ndarray, labels: list[tuple[int, ...]], **task) -> Classification:
    found = Classification(Task(**task))
    for row, label in zip(rows, labels, strict=True):
        found.add({"logits": row[None], "other": np.zeros((1, 2))}, label)
    return found


def test_top1_and_top5_count_any_accepted_class():
    rows = RNG.normal(size=(200, 12))
    labels = [tuple(RNG.integers(0, 12, RNG.integers(1, 4)).tolist()) for _ in rows]
    order = np.argsort(-rows, axis=1)
    top1 = np.mean([row[0] in label for row, label in zip(order, labels, strict=True)])
    top5 = np.mean([bool(set(row[:5]) & set(lab)) for row, lab in zip(order, labels, strict=True)])
    assert meter(rows, labels).scores() == {"top1": top1, "top5": top5}


def test_few_classes_have_no_top5():
    assert meter(np.eye(4), [(0,), (1,), (2,), (0,)]).scores() == {"top1": 0.75}


def test_of_equal_scores_the_first_counts():
    assert meter(np.zeros((2, 3)), [(0,), (1,)]).scores() == {"top1": 0.5}


def test_float_and_quantized_side_by_side():
    good, poor = meter(np.eye(2), [(0,), (1,)]), meter(np.eye(2), [(0,), (0,)])
    assert metrics(good, poor) == {"top1": Metric(float=1.0, quantized=0.5, kind="accuracy")}


def test_nothing_counted_is_no_metric():
    assert metrics(Classification(Task()), Classification(Task())) == {}


@pytest.mark.parametrize(
    ("shape", "label", "task", "reason"),
    [
        ((1, 3), (3,), {}, "label 3 is not one of 3 classes"),
        ((1, 3), (-1,), {}, "label -1 is not one of 3 classes"),
        ((2, 3), (0,), {}, r"shape \[2, 3\] is not one row"),
        ((1, 3), (0,), {"output": "scores"}, "no such output, only 'logits', 'other'"),
        ((1, 3), (0,), {"output": "single"}, "no such output"),
    ],
)
def test_labels_that_do_not_fit_are_told(shape, label, task, reason):
    outputs = {"logits": np.zeros(shape), "other": np.zeros((1, 2))}
    with pytest.raises(EdgecompileError, match=f"EC-659: .*{reason}"):
        Classification(Task(**task)).add(outputs, label)


def test_the_named_output_is_taken():
    found = Classification(Task(output="other"))
    found.add({"logits": np.zeros((4, 4)), "other": np.array([[0.0, 1.0]])}, (1,))
    assert found.scores() == {"top1": 1.0}
