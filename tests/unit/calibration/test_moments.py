"""Second moments: what they are, and how much of them is chance."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.calibration.moments import moments_of_both, second_moments
from edgecompile.passes.quantize.unfold import MatrixRows
from tests.support.models import Builder
from tests.support.samples import Samples


def identity(length: int = 12):
    b = Builder()
    return b.build({b.node("Relu", [b.input("x", ["N", length])]): ["N", length]})


def moments(arrays, rows_per_input: int = 10**6):
    rows = MatrixRows(tensor="x", length=arrays[0].shape[1])
    data = Samples(feeds=[{"x": a.astype(np.float32)} for a in arrays])
    model = identity(rows.length)
    return second_moments(model, {"y": rows}, data, rows_per_input=rows_per_input)["y"]


@pytest.mark.parametrize("counts", [(7,), (4, 9), (3, 3, 3, 50)])
def test_they_are_the_mean_of_all_outer_products(counts):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(n, 12)) for n in counts]
    every = np.concatenate(arrays)
    assert np.allclose(moments(arrays).matrix[0], every.T @ every / len(every), atol=1e-5)


def test_chance_falls_with_the_samples_and_is_all_of_white_noise():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(3, 12))

    def alike(count):
        inner = rng.normal(size=(2, count, 3))
        return list(inner @ mixed + 0.5 * rng.normal(size=(2, count, 12)))

    few, many = moments(alike(10)).chance[0], moments(alike(5000)).chance[0]
    assert many < 0.01 < few < 1
    assert moments(list(rng.normal(size=(2, 2000, 12)))).chance[0] > 0.3
    assert 0 < moments([rng.normal(size=(9, 12))]).chance[0] < 1


def test_what_is_taken_out_is_correlation_only():
    rng = np.random.default_rng(0)
    found = moments(list(rng.normal(size=(2, 6, 12))))
    shrunk = found.shrunk()
    keep = 1 - found.chance[0]
    diagonal = np.eye(12, dtype=bool)
    assert np.allclose(shrunk[0][diagonal], found.matrix[0][diagonal], rtol=1e-5)
    mean = np.outer(found.centre[0], found.centre[0])
    wanted = mean + keep * (found.matrix[0] - mean)
    assert np.allclose(shrunk[0][~diagonal], wanted[~diagonal], atol=1e-6)


def test_the_mean_of_the_inputs_is_no_chance():
    rng = np.random.default_rng(1)
    found = moments(list(rng.normal(loc=3.0, size=(2, 6, 12))))
    assert np.allclose(found.centre[0], 3.0, atol=1.5)
    vector = np.full(12, 1.0, np.float32)
    kept, before = (float(vector @ m[0] @ vector) for m in (found.shrunk(), found.matrix))
    assert found.chance[0] > 0.3
    assert kept > 0.9 * before
    damped = found.shrunk(0.5)[0] - found.matrix[0]
    level = np.trace(found.matrix[0]) / 12
    assert np.allclose(damped, 0.5 * level * np.eye(12), atol=1e-5)


def test_large_matrices_are_compared_strip_by_strip(monkeypatch):
    from edgecompile.calibration import outer_products as room

    arrays = list(np.random.default_rng(1).normal(size=(2, 30, 12)))
    whole = moments(arrays)
    monkeypatch.setattr(room, "STRIP", 5)
    strips = moments(arrays)
    assert np.allclose(whole.chance, strips.chance, rtol=1e-5)
    assert np.array_equal(whole.matrix, strips.matrix)


def test_of_two_models_the_products_of_what_should_be_with_what_is():
    rng = np.random.default_rng(0)
    b = Builder()
    x = b.input("x", ["N", 12])
    exact = b.build({b.node("Relu", [b.node("Add", [x, b.constant(np.ones(12))])]): ["N", 12]})
    b = Builder()
    x = b.input("x", ["N", 12])
    rough = b.build({b.node("Relu", [b.node("Mul", [x, b.constant(np.full(12, 2.0))])]): ["N", 12]})
    arrays = [rng.normal(size=(9, 12)).astype(np.float32) for _ in range(3)]
    names = [model.graph.graph.node(0).outputs[0].name for model in (exact, rough)]
    rows = tuple(MatrixRows(tensor=name, length=12) for name in names)
    data = Samples(feeds=[{"x": a} for a in arrays])
    found = moments_of_both(exact, rough, {"y": rows}, data)["y"]
    every = np.concatenate(arrays)
    should, is_ = every + 1, every * 2
    assert np.allclose(found.cross[0], should.T @ is_ / len(every), atol=1e-4)
    assert np.allclose(found.matrix[0], is_.T @ is_ / len(every), atol=1e-4)
