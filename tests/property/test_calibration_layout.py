"""What is read out of the flat array belongs to its tensor, whatever the shapes."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.calibration.bounds import Bound
from edgecompile.calibration.layout import Layout, in_order
from edgecompile.calibration.probes import Probe

WHOLE = st.lists(st.integers(0, 9), max_size=4).map(tuple)
SAMPLED = st.tuples(st.just(1), st.integers(1, 20), st.integers(4, 7), st.integers(4, 7))
STRIDES = st.tuples(st.integers(1, 3), st.integers(1, 3))
LOOKED_AT = st.tuples(st.booleans(), st.booleans())
"""Whether there are maxima, and a sample, of a pooled tensor."""
TENSORS = st.lists(
    st.one_of(st.tuples(WHOLE, st.none(), st.none()), st.tuples(SAMPLED, STRIDES, LOOKED_AT)),
    min_size=1,
    max_size=8,
)


@given(TENSORS, st.integers(0, 40), st.integers(0, 20))
@settings(max_examples=300, deadline=None)
def test_extremes_and_values_are_each_tensors_own(tensors, wanted: int, sample: int) -> None:
    rng = np.random.default_rng(0)
    probes, maxima, values = [], {}, {}
    for i, (shape, strides, looked_at) in enumerate(tensors):
        name = f"t{i}"
        # Each tensor's values lie in an interval of its own: [10 i, 10 i + 1).
        values[name] = (rng.random(shape) + 10 * i).astype(np.float32)
        if strides is None:
            probes.append(Probe(tensor=name, values=name))
            continue
        with_maxima, with_sample = looked_at
        maxima[name] = values[name].max(axis=(2, 3), keepdims=True) + 1
        bound = Bound(low=10.0 * i - 5, high=10.0 * i + 5)
        probe = Probe(
            tensor=name,
            values=name if with_sample else None,
            maxima="m" if with_maxima else None,
            strides=strides,
            bound=bound,
        )
        probes.append(probe)
    probes = in_order(probes)
    with_maxima = [p.tensor for p in probes if p.maxima is not None]
    pooled = [p.tensor for p in probes if p.pooled and p.values is not None]
    whole = [p.tensor for p in probes if not p.pooled]
    own = rng.random(5).astype(np.float32)
    arrays = [*(maxima[n] for n in with_maxima), *(values[n] for n in (*whole, *pooled)), own]
    flat = np.concatenate([array.reshape(-1) for array in arrays])
    layout = Layout(probes, [array.shape for array in arrays], wanted)

    np.testing.assert_array_equal(flat[layout.rest], own)
    extremes, picked = layout.extremes(flat), layout.values(flat, sample)
    lowest = layout.lowest_samples(flat)
    np.testing.assert_array_equal(lowest, [values[n].min() for n in pooled])
    for at, probe in enumerate(probes):
        array = values[probe.tensor]
        low, high = extremes[:, at]
        if probe.pooled:
            highest = probe.bound.high if probe.maxima is None else maxima[probe.tensor].max()
            assert (low, high) == (probe.bound.low, highest)
        elif array.size:
            assert (low, high) == (array.min(), array.max())
        else:
            assert (low, high) == (math.inf, -math.inf)
        own_values = picked[layout.ends[at - 1] if at else 0 : layout.ends[at]]
        if probe.values is None:
            assert not own_values.size
            continue
        assert np.isin(own_values, array).all()
        assert np.unique(own_values).size == np.unique(array).size or own_values.size < array.size
        if wanted and array.size:
            stands_for = own_values.size * layout.weights[at]
            full = array.size * math.prod(probe.strides or ())
            assert 0.4 * full <= stands_for <= 1.1 * full


def test_in_time_every_channel_is_looked_at() -> None:
    shape = (1, 64, 12, 12)
    array = np.broadcast_to(np.arange(64.0)[:, None, None], shape).astype(np.float32)
    flat = array.reshape(-1)
    for probe in (
        Probe(tensor="t", values="t"),
        Probe(tensor="t", values="t", maxima="m", strides=(2, 2)),
    ):
        arrays = [np.zeros((1, 64, 1, 1)), array] if probe.pooled else [array]
        layout = Layout([probe], [a.shape for a in arrays], 512)
        full = np.concatenate([a.reshape(-1) for a in arrays]) if probe.pooled else flat
        seen = [set(layout.values(full, i).tolist()) for i in range(16)]
        assert len(set().union(*seen)) >= 32
        assert seen[0] == seen[8] != seen[1] or not probe.pooled
