"""Histograms depend on the values alone, lose none, and never report what was not seen."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgecompile.calibration.histogram import BINS, Histogram
from edgecompile.calibration.method import all_methods, range_method
from edgecompile.calibration.methods.mse import squared_error
from edgecompile.calibration.methods.percentile import quantile

VALUES = hnp.arrays(
    np.float32,
    st.integers(1, 400),
    elements=st.one_of(
        st.floats(-3.0, 3.0, width=32),
        st.floats(width=32, allow_nan=False, allow_infinity=False),
        st.just(0.0),
    ),
)


def histogram(values: np.ndarray) -> Histogram:
    """All `values` as one sample."""
    found = Histogram()
    found.see_samples([float(values.min())], [float(values.max())])
    found.add(values)
    return found


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_every_value_is_in_the_bin_that_its_number_says(values: np.ndarray) -> None:
    found = histogram(values)
    assert found.counts.sum() == values.size
    assert 1 <= found.counts.size <= BINS
    assert (found.min, found.max) == (float(values.min()), float(values.max()))
    edges = found.edges
    assert edges.size == found.counts.size + 1 and (np.diff(edges) > 0).all()
    assert edges[0] <= found.min and found.max <= edges[-1]
    numbers = np.trunc(values.astype(np.float64) / found.width).astype(int) - found.first
    np.testing.assert_array_equal(found.counts, np.bincount(numbers, minlength=edges.size - 1))
    for number, value in zip(numbers, values, strict=True):
        assert edges[number] <= value <= edges[number + 1]


@given(VALUES, st.randoms(use_true_random=False), st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def test_order_and_parts_do_not_matter(values: np.ndarray, shuffle, parts: int) -> None:
    whole = histogram(values)
    mixed = values.tolist()
    shuffle.shuffle(mixed)
    pieces = [p for p in np.array_split(np.array(mixed, np.float32), parts) if p.size]
    grown, merged = Histogram(), Histogram()
    for piece in pieces:
        grown.add(piece)
        merged.merge(histogram(piece))
    for other in (grown, merged):
        assert (other.exponent, other.first) == (whole.exponent, whole.first)
        np.testing.assert_array_equal(other.counts, whole.counts)
    assert merged.samples == len(pieces)


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_bins_are_as_narrow_as_their_number_allows(values: np.ndarray) -> None:
    found = histogram(values)
    spread = found.max - found.min
    if spread > 2.0**-90 and spread > 2.0**-8 * max(abs(found.min), abs(found.max)):
        assert found.counts.size > BINS / 4


@given(VALUES, st.sampled_from(sorted(all_methods())), st.sampled_from([4, 8, 16]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_ranges_stay_inside_what_was_seen(
    values: np.ndarray, method: str, bits: int, symmetric: bool
) -> None:
    found = histogram(values)
    low, high = range_method(method).pick(found, bits=bits, symmetric=symmetric)
    assert found.min <= low <= high <= found.max


@given(VALUES, st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_quantiles_are_numpys_to_within_a_bin(values: np.ndarray, share: float) -> None:
    found = histogram(values)
    # Between two values any number is a quantile: both neighbours are right.
    low, high = (
        float(np.quantile(values.astype(np.float64), share, method=m)) for m in ("lower", "higher")
    )
    got = quantile(found, share)
    slack = found.width * 2.001  # the bin of zero is two wide
    index = share * values.size
    near = np.sort(values.astype(np.float64))
    below = near[max(0, int(np.ceil(index)) - 2)]
    above = near[min(values.size - 1, int(np.floor(index)) + 1)]
    assert min(low, below) - slack <= got <= max(high, above) + slack


@given(VALUES, st.sampled_from([4, 6, 8]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_mse_is_never_worse_than_minmax(values: np.ndarray, bits: int, symmetric: bool) -> None:
    found = histogram(values)

    def error(ends: tuple[float, float]) -> float:
        return squared_error(found.centres, found.counts, ends, bits, symmetric=symmetric)

    best = range_method("mse").pick(found, bits=bits, symmetric=symmetric)
    assert error(best) <= error((found.min, found.max))
