"""Every figure that a meter gives can be named in a budget."""

import numpy as np
import pytest

from edgecompile.artifacts.budget import TASK_METRICS, check_metric, parse
from edgecompile.calibration.meters import METERS
from edgecompile.calibration.sample import Task
from edgecompile.diagnostics import EdgecompileError


def test_every_meter_has_its_figures_among_the_known_metrics():
    names = set()
    for kind, meter in METERS.items():
        made = meter(Task(kind=kind))
        made.add({"scores": np.arange(10.0)}, (9,))
        names |= set(made.scores())
    assert names == set(TASK_METRICS)


@pytest.mark.parametrize("text", ["cosine>=0.9", "cosine@boxes>=0.9", "top1_drop<=1%", "top5>=0.9"])
def test_known_metrics(text):
    check_metric(parse(text))


@pytest.mark.parametrize("text", ["cosin>=0.9", "top1@boxes>=0.9", "cosine_drop<=1%"])
def test_unknown_metrics(text):
    with pytest.raises(EdgecompileError, match="no metric is called"):
        check_metric(parse(text))
