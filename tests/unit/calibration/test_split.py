"""Calibration and verification samples never overlap, by content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecompile.calibration.dataset import Dataset, open_dataset
from edgecompile.calibration.split import split, spread
from tests.support.data import codes, spec

X = spec("x", ["N", 2])


def data(path: Path, values: list[int]) -> Dataset:
    """One sample per value."""
    np.savez(path, x=np.array([[v, v] for v in values], np.float32))
    return open_dataset(str(path), [X])


def values(samples: Dataset) -> list[int]:
    return [int(sample.feeds["x"][0, 0]) for sample in samples]


def test_a_fifth_is_held_out_spread_over_the_data(tmp_path: Path) -> None:
    found = split(data(tmp_path / "a.npz", list(range(50))), None)
    assert values(found.held_out) == list(range(2, 50, 5))
    assert sorted(values(found.calibrate) + values(found.held_out)) == list(range(50))
    assert not found.diagnostics


def test_limits_of_both_sides(tmp_path: Path) -> None:
    found = split(data(tmp_path / "a.npz", list(range(100))), None, calibrate_n=10, verify_n=4)
    assert len(found.calibrate) == 10 and len(found.held_out) == 4
    assert not set(values(found.calibrate)) & set(values(found.held_out))


def test_equal_samples_stay_on_one_side(tmp_path: Path) -> None:
    found = split(data(tmp_path / "a.npz", [1, 2, 1, 3, 1, 2, 4, 5, 6, 1]), None)
    assert not set(values(found.calibrate)) & set(values(found.held_out))


def test_evaluation_samples_that_calibrate_are_left_out_with_a_count(tmp_path: Path) -> None:
    calibration = data(tmp_path / "a.npz", list(range(20)))
    evaluation = data(tmp_path / "b.npz", [3, 100, 7, 101])
    found = split(calibration, evaluation)
    assert values(found.held_out) == [100, 101] and len(found.calibrate) == 20
    (warning,) = found.diagnostics
    assert warning.code == "EC-318" and "2 of 4" in warning.message
    assert values(split(calibration, evaluation, verify_n=1).held_out) in ([100], [101])


def test_only_what_calibrates_counts_as_seen(tmp_path: Path) -> None:
    calibration = data(tmp_path / "a.npz", list(range(20)))
    found = split(calibration, data(tmp_path / "b.npz", [0, 5]), calibrate_n=2)
    assert set(values(found.calibrate)).isdisjoint([0]) and values(found.held_out) == [0]


def test_nothing_left_to_verify_with(tmp_path: Path) -> None:
    a = data(tmp_path / "a.npz", [1, 2, 3])
    assert codes(lambda: split(a, data(tmp_path / "b.npz", [3, 1]))) == ["EC-319"]


@pytest.mark.parametrize("samples", [[1], [1, 1, 1]])
def test_too_few_different_samples(tmp_path: Path, samples: list[int]) -> None:
    assert codes(lambda: split(data(tmp_path / "a.npz", samples), None)) == ["EC-316"]


def test_few_samples_are_worth_a_warning(tmp_path: Path) -> None:
    found = split(data(tmp_path / "a.npz", [1, 2, 3]), None)
    assert [d.code for d in found.diagnostics] == ["EC-317"]
    assert len(found.calibrate) == 2 and len(found.held_out) == 1


def test_spread_is_even_and_complete() -> None:
    assert spread(10, None) == spread(10, 99) == list(range(10))
    assert spread(100, 4) == [12, 37, 62, 87]
    for count in range(1, 40):
        for wanted in range(1, count + 1):
            found = spread(count, wanted)
            assert len(set(found)) == wanted and found == sorted(found)
            assert found[0] >= 0 and found[-1] < count
