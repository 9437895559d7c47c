"""Properties of affine quantization that must hold for every range and value."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecompile.passes.quantize.affine import (
    dequantize,
    integer_type,
    quantize,
    tensor_parameters,
)

bounds = st.floats(-1e6, 1e6, width=32)
names = st.sampled_from(["int8", "uint8", "int16", "uint16", "int4", "uint4"])


@given(bounds, bounds, names, st.booleans(), st.booleans(), st.data())
def test_error_is_at_most_half_a_step_inside_the_range(a, b, name, symmetric, power, data):
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    parameters = tensor_parameters(
        low, high, integer_type(name), symmetric=symmetric, power_of_two=power
    )
    inside = st.floats(low, high, width=32)
    values = data.draw(arrays(np.float32, 32, elements=inside))
    restored = dequantize(quantize(values, parameters), parameters)
    step = float(parameters.scale)
    # x / scale is rounded to float32 before it is rounded to an integer
    slack = np.abs(values).astype(np.float64) * 2**-22
    assert (np.abs(restored.astype(np.float64) - values) <= step / 2 + slack + step * 2e-7).all()


@given(bounds, bounds, names, st.booleans())
def test_quantizing_what_is_on_the_grid_changes_nothing(a, b, name, symmetric):
    low, high = min(a, b), max(a, b)
    dtype = integer_type(name)
    parameters = tensor_parameters(low, high, dtype, symmetric=symmetric)
    integers = np.arange(dtype.qmin, dtype.qmax + 1, max(1, 2 ** (dtype.bits - 8)))
    integers = integers.astype(dtype.storage)
    assert np.array_equal(quantize(dequantize(integers, parameters), parameters), integers)
