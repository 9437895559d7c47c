"""Properties of second-order rounding and of the products that it sees operators as."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgecompile.calibration.moments import second_moments
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.gptq import Gptq
from edgecompile.passes.quantize.second_order import output_error
from edgecompile.passes.quantize.unfold import unfold
from tests.support.models import Builder, feeds, run
from tests.support.quantized import quantized, stored_weights, target
from tests.support.samples import Samples


@st.composite
def convolutions(draw):
    """A Conv of random kernel, strides, dilations, groups and pads, one or two axes."""
    b = Builder(seed=draw(st.integers(0, 999)))
    axes = draw(st.sampled_from([1, 2]))
    each = st.lists(st.integers(1, 3), min_size=axes, max_size=axes)
    kernel, strides, dilations = draw(each), draw(each), draw(each)
    groups, cin, cout = (draw(st.integers(1, 3)) for _ in range(3))
    size = draw(st.lists(st.integers(7, 10), min_size=axes, max_size=axes))
    more = {"strides": strides, "dilations": dilations, "group": groups}
    auto = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if auto != "NOTSET":
        more["auto_pad"] = auto
    elif draw(st.booleans()):
        more["pads"] = draw(st.lists(st.integers(0, 2), min_size=2 * axes, max_size=2 * axes))
    # ONNX Runtime refuses automatic pads with dilation
    assume(not auto.startswith("SAME") or max(dilations) == 1)
    x = b.input("x", ["N", cin * groups, *size])
    weight = b.random(cout * groups, cin, *kernel)
    return b.build({b.node("Conv", [x, weight], **more): None})


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_rows_times_matrix_are_the_outputs_of_the_convolution(model):
    (node,) = model.graph.graph
    weights, inputs = node.inputs[1].const_value.numpy(), feeds(model)
    rows = unfold(node, 1, weights)
    picked = rows.pick(inputs["x"], 10**9, np.random.default_rng(0))
    matrix = rows.matrix(weights)
    assert picked.shape[0] == matrix.shape[0] == rows.shape[0]
    assert picked.shape[2] == matrix.shape[2] == rows.shape[1]
    products = np.matmul(picked, matrix.swapaxes(1, 2))
    (wanted,) = run(model, inputs)
    flat = np.moveaxis(wanted, 1, -1).reshape(-1, wanted.shape[1])
    assert np.allclose(np.concatenate(list(products), axis=1), flat, atol=1e-4)
    assert np.array_equal(rows.restored(matrix), weights)


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.integers(0, 99), st.sampled_from([0.001, 0.01, 1.0]))
def test_no_channel_expects_a_larger_error_than_before(model, seed, damping):
    rng = np.random.default_rng(seed)
    one = feeds(model, batch=1)["x"]
    made = [(one * rng.normal() + 0.1 * rng.normal(size=one.shape)) for _ in range(3)]
    data = Samples(feeds=[{"x": x.astype(np.float32)} for x in made])
    joined = {"x": np.concatenate([f["x"] for f in data.feeds])}
    before = quantized(model, joined).model
    where = Context(target=target(), data=data, reference=model)
    outcome = Gptq(damping=damping).run(before, where)
    assert outcome.changed == (outcome.model.digest != before.digest)
    (node,) = model.graph.graph
    weights = node.inputs[1].const_value.numpy().astype(np.float64)
    rows = unfold(node, 1, weights)
    moments = second_moments(model, {"y": rows}, data)["y"].shrunk(damping).astype(np.float64)
    lost, left = (
        output_error(rows.matrix(next(stored_weights(m)).floats - weights), moments)
        for m in (before, outcome.model)
    )
    assert (left <= lost * (1 + 1e-4) + 1e-9).all()
    assert outcome.changed == bool((left < lost * 0.95).any())
