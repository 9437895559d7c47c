"""The arithmetic of compressed weights: ranges, layouts, packing, and what clipping may do."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgecompile.passes.quantize.weight_blocks import Layout, Levels, compress, pack_nibbles

FLOATS = st.floats(-100, 100, width=32)
ALL_LEVELS = [Levels(bits=b, symmetric=s) for b in (4, 8) for s in (True, False)]
levels = st.sampled_from(ALL_LEVELS)
matrices = hnp.arrays(np.float32, st.tuples(st.just(32), st.integers(1, 5)), elements=FLOATS)
layouts = st.sampled_from(
    [Layout(axis=None), Layout(axis=0), Layout(axis=1), Layout(axis=0, block=16)]
)


@given(matrices, layouts, levels)
@settings(max_examples=200, deadline=None)
def test_unclipped_error_is_at_most_half_a_step(weight, layout, these):
    made = compress(weight, layout, these, clip="none")
    step = made._spread(made.scale, weight.shape)
    # an asymmetric zero point is rounded too: one end of the range may lie half a step outside
    slack = 0.5 if these.symmetric else 1.0
    limit = slack * step * (1 + 1e-5) + 1e-6
    assert (np.abs(made.restored() - weight) <= limit).all()
    assert made.integers.min() >= these.low
    assert made.integers.max() <= these.high


@given(matrices, layouts, levels)
@settings(max_examples=100, deadline=None)
def test_clipping_never_has_a_larger_squared_error_than_none(weight, layout, these):
    def error(clip):
        lost = compress(weight, layout, these, clip=clip).restored().astype(np.float64) - weight
        return np.square(layout.rows(lost)).sum(axis=1)

    assert (error("mse") <= error("none") * (1 + 1e-4) + 1e-9).all()


@given(matrices, levels)
@settings(max_examples=50, deadline=None)
def test_zero_is_restored_exactly(weight, these):
    weight[3] = 0
    restored = compress(weight, Layout(axis=0, block=16), these, clip="mse").restored()
    assert (restored[3] == 0).all()


@given(hnp.arrays(np.int8, hnp.array_shapes(max_dims=3, max_side=7), elements=st.integers(-8, 7)))
def test_int4_packing_is_that_of_onnx(integers):
    # onnx.numpy_helper unpacks by the specification's rule, independently of our code
    tensor = onnx.TensorProto(
        data_type=onnx.TensorProto.INT4,
        dims=integers.shape,
        raw_data=pack_nibbles(integers).tobytes(),
    )
    unpacked = onnx.numpy_helper.to_array(tensor).astype(np.int8)
    np.testing.assert_array_equal(unpacked, integers)


@given(hnp.arrays(np.uint8, hnp.array_shapes(max_dims=2, max_side=9), elements=st.integers(0, 15)))
def test_packing_puts_the_first_number_in_the_low_half(integers):
    flat = integers.reshape(-1)
    packed = pack_nibbles(integers)
    assert packed.size == (flat.size + 1) // 2
    unpacked = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)[: flat.size]
    np.testing.assert_array_equal(unpacked, flat)


@given(
    hnp.arrays(np.float32, st.tuples(st.just(3), st.just(32), st.just(4)), elements=FLOATS), layouts
)
@settings(max_examples=50)
def test_rows_and_restore_are_inverse(weight, layout):
    rows = layout.rows(weight)
    if layout.axis == 0 and layout.block:
        layout = Layout(axis=1, block=layout.block)
        rows = layout.rows(weight)
    np.testing.assert_array_equal(layout.restore(rows, weight.shape), weight)
    assert rows.size == weight.size


@pytest.mark.parametrize("these", ALL_LEVELS, ids=lambda v: v.type_name)
def test_a_row_of_zeros_gets_scale_one(these):
    made = compress(np.zeros((16, 2), np.float32), Layout(axis=1), these, clip="mse")
    np.testing.assert_array_equal(made.scale, np.ones(2, np.float32))
    assert not made.restored().any()
    assert made.sqnr_db == float("inf")


def test_an_outlier_is_clipped_when_that_serves_the_rest():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4096, 8)).astype(np.float32)
    weight[0] = 8.0
    plain, clipped = (
        compress(weight, Layout(axis=1), Levels(bits=4, symmetric=False), clip=clip)
        for clip in ("none", "mse")
    )
    assert clipped.sqnr_db > plain.sqnr_db + 1
    assert np.abs(clipped.restored()[0]).max() < 8.0


def test_important_inputs_lose_less():
    rng = np.random.default_rng(1)
    weight = rng.standard_t(2, (64, 32)).astype(np.float32)
    counts = np.ones((64, 1), np.float32)
    counts[::8] = 100
    layout, these = Layout(axis=0, block=32), Levels(bits=4, symmetric=False)

    def lost(importance):
        made = compress(weight, layout, these, clip="mse", importance=importance)
        return float(np.square(made.restored() - weight)[::8].sum())

    assert lost(counts) < lost(None)


def test_threads_and_chunks_do_not_change_a_bit():
    weight = np.random.default_rng(2).normal(size=(1024, 300)).astype(np.float32)
    layout, these = Layout(axis=0, block=32), Levels(bits=4, symmetric=False)
    one, four = (compress(weight, layout, these, clip="mse", threads=n) for n in (1, 4))
    np.testing.assert_array_equal(one.integers, four.integers)
    np.testing.assert_array_equal(one.scale, four.scale)
    # each block by itself gives what all of them together give
    alone = compress(weight[64:96], layout, these, clip="mse")
    np.testing.assert_array_equal(alone.integers, one.integers[64:96])


def test_blocks_of_four_bits_beat_one_scale_per_channel():
    weight = np.random.default_rng(3).normal(size=(256, 64)).astype(np.float32)
    these = Levels(bits=4, symmetric=False)
    quality = [
        compress(weight, layout, these, clip="mse").sqnr_db
        for layout in (Layout(axis=1), *(Layout(axis=0, block=n) for n in (128, 64, 32, 16)))
    ]
    assert quality == sorted(quality)
    # uniform 4-bit quantization of a normal block of 32: literature and NNCF give 20 to 22 dB
    assert 21 < quality[3] < 23
