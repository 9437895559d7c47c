"""Calibration stops early when ranges have converged, and only then; the ranges say why."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgecompile.calibration.collector import collect
from edgecompile.calibration.convergence import Watch, evenly_ordered
from edgecompile.calibration.dataset import open_dataset
from edgecompile.calibration.method import range_method
from edgecompile.calibration.ranges import Range, Ranges
from edgecompile.ir.facts import input_specs
from edgecompile.ir.load import load

COUNT = 512


@pytest.fixture
def model(tmp_path):
    """y = 2x, of x `[1, 64]`."""
    node = helper.make_node("Mul", ["x", "two"], ["y"])
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 64]) for n in "xy"]
    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], [two])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return load(path)


def _ranges(model, values, tmp_path, *, tolerance, method="minmax"):
    np.savez(tmp_path / "data.npz", x=values.astype(np.float32))
    data = open_dataset(str(tmp_path / "data.npz"), input_specs(model))
    return collect(model, ["y"], data, range_method(method), tolerance=tolerance)


def _uniform(count):
    return np.random.default_rng(0).uniform(-1, 1, (count, 64))


@pytest.mark.parametrize("method", ["minmax", "moving_average", "percentile", "entropy", "mse"])
def test_it_stops_where_doubling_moves_nothing(model, tmp_path, method):
    ranges = _ranges(model, _uniform(COUNT), tmp_path, tolerance=0.02, method=method)
    assert ranges.samples == 64
    assert ranges.convergence is not None
    assert ranges.convergence.reached
    assert ranges.convergence.available == COUNT
    assert ranges.convergence.tensor == "y"
    assert "converged within 2.00%" in str(ranges.convergence)
    whole = _ranges(model, _uniform(COUNT), tmp_path, tolerance=None, method=method)
    found, wanted = ranges.tensors["y"], whole.tensors["y"]
    assert abs(found.max - wanted.max) <= 0.02 * (wanted.max - wanted.min)


def test_it_does_not_stop_while_ranges_grow(model, tmp_path):
    growing = (
        _uniform(COUNT)
        * 1.5
        ** np.arange(9)[
            np.searchsorted(2 ** np.arange(9), np.argsort(evenly_ordered(COUNT)))[:, None] % 9
        ]
    )
    ranges = _ranges(model, growing, tmp_path, tolerance=0.02)
    assert ranges.samples == COUNT
    assert ranges.convergence is not None
    assert not ranges.convergence.reached
    assert "not converged" in str(ranges.convergence)


def test_a_phase_at_the_end_of_the_data_is_seen_at_once(model, tmp_path):
    values = _uniform(COUNT)
    values[-COUNT // 16 :] *= 10
    ranges = _ranges(model, values, tmp_path, tolerance=0.02)
    assert ranges.samples < COUNT
    assert ranges.tensors["y"].max > 19


def test_too_few_samples_say_so(model, tmp_path):
    ranges = _ranges(model, _uniform(40), tmp_path, tolerance=0.02)
    assert ranges.samples == 40
    assert ranges.convergence is not None
    assert ranges.convergence.drift is None
    assert "too few" in str(ranges.convergence)


def test_the_document_holds_the_evidence(model, tmp_path):
    ranges = _ranges(model, _uniform(COUNT), tmp_path, tolerance=0.02)
    assert Ranges.from_json(ranges.to_json()) == ranges
    assert "convergence" not in _ranges(model, _uniform(9), tmp_path, tolerance=None).to_json()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 100])
def test_every_beginning_of_the_order_is_spread_over_the_data(count):
    order = evenly_ordered(count)
    assert sorted(order) == list(range(count))
    for length in range(1, count + 1):
        gaps = np.diff([-1, *sorted(order[:length]), count])
        assert gaps.max() <= 4 * count / length + 1


def test_a_tensor_of_no_width_that_moves_has_not_converged():
    watch = Watch(0.1)
    assert not watch.enough({"a": Range(min=1, max=1, observed_min=1, observed_max=1)})
    assert not watch.enough({"a": Range(min=2, max=2, observed_min=2, observed_max=2)})
    assert watch.enough({"a": Range(min=2, max=2, observed_min=2, observed_max=2)})
