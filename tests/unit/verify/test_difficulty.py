"""Why a layer is hard: the figures of known distributions, and what is said of them."""

import numpy as np
import pytest

from edgecompile.verify.difficulty import Spread, reasons, spread_of

RNG = np.random.default_rng(0)


def plain(**changes):
    values = {"min": -1.0, "max": 1.0, "outlier_ratio": 1.2, "channel_ratio": 1.5, "kurtosis": 0.0}
    return Spread(**{**values, **changes})


def test_figures_of_distributions_that_are_known():
    uniform = spread_of(RNG.uniform(-1, 1, (4, 50_000)).astype(np.float32), 0)
    assert uniform.kurtosis == pytest.approx(-1.2, abs=0.02)
    assert uniform.outlier_ratio == pytest.approx(1.0, abs=0.01)
    laplace = spread_of(RNG.laplace(size=(4, 200_000)), 0)
    assert laplace.kurtosis == pytest.approx(3.0, abs=0.3)


def test_a_wide_channel_is_found_along_its_axis():
    values = RNG.uniform(-1, 1, (2, 16, 500))
    values[:, 5] *= 100
    assert spread_of(values, 1).channel_ratio == pytest.approx(100, rel=0.01)
    assert spread_of(values, 2).channel_ratio < 2


def test_one_outlier_shows_in_the_ratio_to_the_percentile():
    values = RNG.uniform(-1, 1, 100_000)
    values[7] = -50
    found = spread_of(values, -1)
    assert found.outlier_ratio == pytest.approx(50, rel=0.01)
    assert (found.min, round(found.max)) == (-50.0, 1)


def test_constants_and_what_is_not_finite_have_an_answer():
    assert spread_of(np.zeros((3, 4), np.float32), 0) == Spread(
        min=0.0, max=0.0, outlier_ratio=1.0, channel_ratio=1.0, kurtosis=0.0
    )
    assert spread_of(np.full((3, 4), 7.0), 0).kurtosis == 0.0
    assert spread_of(np.array([1.0, np.inf]), 0) is None
    assert spread_of(np.zeros((0, 4)), 0) is None


@pytest.mark.parametrize(
    ("activation", "weights", "word", "help_"),
    [
        (plain(channel_ratio=30), plain(), "narrow channels", "smooth_quant"),
        (plain(channel_ratio=30, kurtosis=99), plain(), "narrow channels", "smooth_quant"),
        (plain(outlier_ratio=9), plain(), "outliers", "calibrate.method=percentile"),
        (plain(kurtosis=80), plain(), "long tail", "calibrate.method=percentile"),
        (plain(), plain(outlier_ratio=9), "largest weight", "equalize"),
        (None, plain(channel_ratio=30), "channel of weights", "equalize"),
    ],
)
def test_each_reason_is_said_with_what_helps(activation, weights, word, help_):
    why, helps = reasons(activation, weights, per_channel=False)
    assert len(why) == 1
    assert word in why[0]
    assert help_ in helps


def test_nothing_is_said_of_what_is_easy():
    assert reasons(plain(), plain(), per_channel=False) == ([], [])
    assert reasons(plain(), plain(channel_ratio=30), per_channel=True) == ([], [])
    assert reasons(None, None, per_channel=True) == ([], [])
