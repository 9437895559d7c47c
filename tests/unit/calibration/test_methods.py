"""Range methods where the right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.calibration.histogram import Histogram
from edgecompile.calibration.method import all_methods, range_method
from edgecompile.calibration.methods import entropy
from edgecompile.plugins.described import field_docs
from tests.support.data import problems


def histogram(*samples: np.ndarray) -> Histogram:
    found = Histogram()
    for values in samples:
        found.see_samples([float(values.min())], [float(values.max())])
        found.add(values.astype(np.float32))
    return found


def measured(values: np.ndarray, low: float, high: float, bits: int = 8) -> float:
    """Mean squared error of quantizing the values themselves."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (2**bits - 1)
    lowest = np.rint(low / scale)
    steps = np.clip(np.rint(values / scale), lowest, lowest + 2**bits - 1)
    return float(np.mean((values - steps * scale) ** 2))


NORMAL = np.random.default_rng(0).normal(size=200_000).astype(np.float32)


def test_every_method_names_its_source_and_documents_its_options() -> None:
    methods = all_methods()
    assert list(methods) == ["entropy", "minmax", "moving_average", "mse", "percentile"]
    for method in methods.values():
        assert method.source and method.__doc__
        assert set(method.model_fields) <= set(field_docs(method))


def test_minmax_and_moving_average() -> None:
    found = histogram(np.array([-1.0, 3.0]), np.array([-3.0, 1.0]), np.array([0.0, 2.0]))
    assert range_method("minmax").pick(found) == (-3.0, 3.0)
    assert range_method("moving_average").pick(found) == pytest.approx((-4 / 3, 2.0))


def test_percentile_cuts_half_of_the_rest_at_either_end() -> None:
    found = histogram(NORMAL)
    low, high = range_method("percentile", {"cut": 99.0}).pick(found)
    expected = np.quantile(NORMAL, [0.005, 0.995])
    np.testing.assert_allclose([low, high], expected, atol=found.width)
    low, high = range_method("percentile", {"cut": 99.0}).pick(found, symmetric=True)
    assert low == -high
    assert high == pytest.approx(np.quantile(np.abs(NORMAL), 0.99), abs=2 * found.width)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("values", [NORMAL, np.abs(NORMAL), np.maximum(NORMAL, 0), NORMAL**3])
def test_mse_is_near_the_best_of_an_exhaustive_search(values: np.ndarray, bits: int) -> None:
    found = histogram(values)
    low, high = range_method("mse").pick(found, bits=bits)
    errors = [
        measured(values, max(found.min, -t), min(found.max, t), bits)
        for t in np.linspace(0.05, 1.0, 96) * max(abs(found.min), found.max)
    ]
    assert measured(values, low, high, bits) <= 1.02 * min(errors)


def test_mse_cuts_each_end_by_itself() -> None:
    values = np.concatenate([NORMAL[:50_000], [-60.0], np.full(4000, 9.0)])
    low, high = range_method("mse").pick(histogram(values), bits=8)
    assert high == pytest.approx(9.0, abs=0.3) and -58 < low < -4


def test_symmetric_mse_knows_that_the_empty_side_costs_levels() -> None:
    values = np.abs(NORMAL)
    one_sided = range_method("mse").pick(histogram(values), bits=4)[1]
    symmetric = range_method("mse").pick(histogram(values), bits=4, symmetric=True)[1]
    assert symmetric < one_sided


def test_entropy_cuts_a_thin_tail_and_keeps_a_flat_range() -> None:
    tailed = np.concatenate([NORMAL, [40.0, -45.0]])
    low, high = range_method("entropy").pick(histogram(tailed))
    assert -8 < low < -2.5 and 2.5 < high < 8
    flat = np.random.default_rng(1).uniform(0, 1, 200_000)
    low, high = range_method("entropy").pick(histogram(flat))
    assert low == pytest.approx(0, abs=1e-4) and high > 0.95


def plain_divergence(found: Histogram, reach: float, levels: int) -> float:
    """KL(P || Q) bin by bin, as the slides of TensorRT tell it."""
    counts = entropy.without_zero_spike(found)
    low, high = max(-reach, min(found.min, 0.0)), min(reach, max(found.max, 0.0))
    ends = low + (high - low) * np.arange(levels + 1) / levels
    at = entropy._edges_near(ends / found.width, found.first, counts.size)
    left, right = at[0], at[-1]
    p, q = counts[left:right].copy(), np.zeros(right - left)
    for i, j in zip(at[:-1] - left, at[1:] - left, strict=True):
        filled = p[i:j] > 0
        q[i:j][filled] = p[i:j].sum() / max(filled.sum(), 1)
    p[0] += counts[:left].sum()
    p[-1] += counts[right:].sum()
    p, q = p / p.sum(), q / q.sum()
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


@pytest.mark.parametrize("levels", [16, 256])
def test_entropy_measures_the_divergence_of_the_slides(levels: int) -> None:
    values = np.clip(NORMAL * 3, -1.0, 6.0)
    found = histogram(values)
    reach = np.linspace(0.5, 6.0, 12)
    expected = [plain_divergence(found, t, levels) for t in reach]
    np.testing.assert_allclose(
        entropy._divergence(found, reach, levels, False), expected, rtol=1e-9
    )


def test_entropy_is_not_drawn_to_the_zeros_after_relu() -> None:
    values = np.maximum(NORMAL, 0)
    high = range_method("entropy").pick(histogram(values))[1]
    assert high > 2.5
    assert measured(values, 0, high) < 2 * measured(values, 0, float(values.max()))


def test_with_more_levels_than_bins_entropy_cuts_nothing() -> None:
    found = histogram(NORMAL)
    assert range_method("entropy").pick(found, bits=16) == (found.min, found.max)


@pytest.mark.parametrize("method", ["entropy", "minmax", "mse", "percentile"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_with_16_bits_outliers_are_kept(method: str, symmetric: bool) -> None:
    """A hundred times the spread costs 16 bits next to nothing, and clipping costs the outlier."""
    values = np.concatenate([NORMAL, [100.0, -40.0]])
    found = histogram(values)
    low, high = range_method(method).pick(found, bits=16, symmetric=symmetric)
    ends = (min(low, -high), max(high, -low)) if symmetric else (low, high)
    error = measured(values, *ends, bits=16)
    assert error <= 1.05 * measured(values, -100.0 if symmetric else -40.0, 100.0, bits=16)
    if method != "minmax":
        narrow = range_method(method).pick(found, bits=8, symmetric=symmetric)
        assert narrow[1] < 0.8 * high


@pytest.mark.parametrize("method", all_methods())
@pytest.mark.parametrize("value", [0.0, 3.7, -2.5, 1e-30, 3e38])
def test_constants_have_a_range_of_one_value(method: str, value: float) -> None:
    found = histogram(np.full(100, value))
    exact = float(np.float32(value))
    assert range_method(method).pick(found) == pytest.approx((exact, exact))


def test_unknown_methods_and_options() -> None:
    (found,) = problems(lambda: range_method("entropi"))
    assert found.code == "EC-344" and "did you mean 'entropy'?" in found.message
    (found,) = problems(lambda: range_method("percentile", {"cut": 101}))
    assert found.code == "EC-345" and "'cut'" in found.message
    assert [p.code for p in problems(lambda: range_method("mse", {"bins": 3}))] == ["EC-345"]


def test_methods_are_told_with_what_differs_from_the_default() -> None:
    assert range_method("percentile").describe() == "percentile"
    assert range_method("percentile", {"cut": 99.9}).describe() == "percentile(cut=99.9)"
