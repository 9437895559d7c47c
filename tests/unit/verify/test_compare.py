"""Figures of fidelity, against their definitions in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecompile.diagnostics import EdgecompileError
from edgecompile.verify.compare import Comparison, compare

FINITE = st.floats(-100, 100, width=32)
RNG = np.random.default_rng(3)


def one(reference: list[np.ndarray], actual: list[np.ndarray]):
    return compare({"y": reference}, {"y": actual})["y"]


def test_figures_follow_their_definitions():
    want = [RNG.normal(size=(1, 5)).astype(np.float32) * scale for scale in (1, 10, 3)]
    got = [w + RNG.normal(size=w.shape).astype(np.float32) * 0.1 for w in want]
    found = one(want, got)
    a, b = (np.stack(x).astype(np.float64).reshape(3, -1) for x in (want, got))
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert found.cosine == pytest.approx(cosines.mean(), rel=1e-5)
    assert found.sqnr_db == pytest.approx(10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()), 1e-5)
    assert found.max_abs == pytest.approx(np.abs(a - b).max(), rel=1e-5)
    assert found.top1_agreement == pytest.approx((a.argmax(1) == b.argmax(1)).mean(), rel=1e-5)


@given(arrays(np.float32, (3, 4), elements=FINITE))
def test_a_copy_has_no_error(values):
    found = one([values], [values.copy()])
    assert found.cosine == pytest.approx(1.0)
    assert (found.sqnr_db, found.max_abs, found.top1_agreement) == (math.inf, 0.0, 1.0)


@given(arrays(np.float32, (2, 3), elements=FINITE), arrays(np.float32, (2, 3), elements=FINITE))
def test_samples_one_by_one_are_the_same_as_all_at_once(a, b):
    streamed = Comparison()
    for _ in range(3):
        streamed.add({"y": a}, {"y": b})
    assert streamed.fidelity()["y"] == one([a] * 3, [b] * 3)


def test_silence_against_noise_is_no_likeness():
    silent, loud = np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)
    assert one([silent], [silent]).cosine == 1.0
    found = one([silent], [loud])
    assert (found.cosine, found.sqnr_db) == (0.0, -math.inf)


def test_nan_and_infinity_are_counted_and_never_averaged_away():
    want = [np.ones((1, 4), np.float32)] * 3
    got = [*want[:2], np.array([[1, np.nan, 1, np.inf]], np.float32)]
    comparison = Comparison()
    for w, g in zip(want, got, strict=True):
        comparison.add({"y": w}, {"y": g})
    assert comparison.not_finite() == {"y": 1}
    found = comparison.fidelity()["y"]
    assert (found.cosine, found.sqnr_db) == (0.0, -math.inf)


def test_infinity_in_the_reference_is_no_error():
    masked = np.array([[1.0, -np.inf, 2.0]], np.float32)
    comparison = Comparison()
    comparison.add({"y": masked}, {"y": masked})
    assert comparison.not_finite() == {}
    assert comparison.reference_nan() == {}
    assert comparison.fidelity()["y"].sqnr_db == math.inf


def test_nan_in_the_reference_is_told():
    comparison = Comparison()
    comparison.add({"y": np.array([np.nan])}, {"y": np.array([1.0])})
    assert comparison.reference_nan() == {"y": 1}


def test_top1_is_for_class_scores_only():
    rows = RNG.normal(size=(1, 4, 6)).astype(np.float32)
    assert one([rows], [rows]).top1_agreement is None
    chances = np.exp(rows) / np.exp(rows).sum(-1, keepdims=True)
    assert one([chances], [chances]).top1_agreement == 1.0
    assert one([rows[0, 0]], [rows[0, 0]]).top1_agreement is None


def test_equal_scores_agree_whichever_is_first():
    want = np.array([[1.0, 1.0, 0.0]])
    assert one([want], [np.array([[0.9, 1.0, 0.0]])]).top1_agreement == 1.0
    assert one([want], [np.array([[0.9, 0.8, 1.0]])]).top1_agreement == 0.0


def test_integers_are_compared_without_wrapping_around():
    found = one([np.array([255], np.uint8)], [np.array([0], np.uint8)])
    assert found.max_abs == 255


def test_what_cannot_be_compared_is_told():
    y = np.zeros((1, 3), np.float32)
    with pytest.raises(EdgecompileError, match=r"EC-603: .*output 'y' has shape \[1, 2\]"):
        one([y], [y[:, :2]])
    with pytest.raises(EdgecompileError, match=r"EC-603: .*no output 'z'"):
        Comparison().add({"z": y}, {"y": y})
    with pytest.raises(EdgecompileError, match=r"has 1 samples instead of 2"):
        one([y, y], [y])
