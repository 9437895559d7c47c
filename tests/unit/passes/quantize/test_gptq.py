"""`gptq`: it must help where inputs are correlated, and must not harm elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from edgecompile.ir import to_bytes
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.batches import batches
from edgecompile.passes.quantize.gptq import Gptq
from tests.support.models import Builder, attention, conv_bn_relu, feeds, mlp
from tests.support.quantized import exact, quantized, stored_weights, target
from tests.support.samples import Samples, samples_for


def low_rank(model, count: int = 6, rank: int = 3) -> Samples:
    """Inputs that mostly lie in few directions of the channels, alike in all places."""
    rng = np.random.default_rng(0)
    sample = feeds(model, batch=4)["x"]
    mixed = rng.normal(size=(sample.shape[1], rank))
    made = []
    for _ in range(count):
        inner = rng.normal(size=(sample.shape[0], rank, *(1 for _ in sample.shape[2:])))
        x = np.einsum("cr,nr...->nc...", mixed, inner)
        made.append({"x": (x + 0.02 * rng.normal(size=sample.shape)).astype(np.float32)})
    return Samples(feeds=made)


def stacked(data: Samples) -> dict[str, np.ndarray]:
    return {name: np.concatenate([f[name] for f in data.feeds]) for name in data.feeds[0]}


def rounded(model, data: Samples, *, style=None, options=None, **gptq):
    """`model` quantized, and that after `gptq`."""
    before = quantized(model, stacked(data), style=style, **(options or {})).model
    where = Context(target=target(**(style or {})), data=data, reference=model)
    digest = before.digest
    outcome = Gptq(**gptq).run(before, where)
    assert before.digest == digest
    assert outcome.changed == (outcome.model.digest != digest)
    return before, outcome


def weight_error(model, after, x) -> np.ndarray:
    """Mean squared error of every output channel from the weights alone: inputs stay float."""
    plain = model.clone()
    for stored, node in zip(stored_weights(after), plain.graph.graph, strict=True):
        value = node.inputs[1]
        plain.graph.graph.initializers[value.name].const_value = _tensor(stored.floats, value.name)
    (wanted,), (found,) = exact(model, x), exact(plain, x)
    return (np.moveaxis(found - wanted, 1, 0).reshape(wanted.shape[1], -1) ** 2).mean(axis=1)


def _tensor(array, name):
    import onnx_ir as ir

    return ir.tensor(np.asarray(array, np.float32), name=name)


def gemm():
    b = Builder()
    return b.build({b.gemm(b.input("x", ["N", 48]), 48, 12): ["N", 12]})


def conv(group: int = 1, **attributes):
    b = Builder()
    attributes.setdefault("pads", [1] * 4)
    y = b.node(
        "Conv", [b.input("x", ["N", 8, 7, 7]), b.random(8, 8 // group, 3, 3)], group=group,
        **attributes,
    )  # fmt: skip
    return b.build({y: None})


@pytest.mark.parametrize(
    "model",
    [
        gemm(),
        conv(),
        conv(group=2),
        conv(group=8),
        conv(strides=[2, 2], pads=[0, 1, 1, 0]),
        conv(dilations=[2, 2], pads=[2] * 4),
    ],
    ids=["gemm", "conv", "grouped", "depthwise", "strided", "dilated"],
)
def test_it_helps_on_correlated_inputs_and_harms_no_channel(model):
    data = low_rank(model)
    before, outcome = rounded(model, data)
    assert outcome.changed
    inputs = stacked(data)
    lost, left = (weight_error(model, m, inputs) for m in (before, outcome.model))
    assert left.sum() < 0.6 * lost.sum()
    # moments come from a part of the places of a convolution, so channels may differ a little
    assert (left <= lost * 1.1).all()


def test_it_does_no_harm_where_there_is_nothing_to_gain():
    model = gemm()
    data = Samples(feeds=[feeds(model, batch=64, seed=i) for i in range(6)])
    before, outcome = rounded(model, data)
    fresh = feeds(model, batch=512, seed=99)
    lost, left = (weight_error(model, m, fresh).sum() for m in (before, outcome.model))
    assert left <= lost * 1.02


def test_scales_and_everything_else_stay_as_they_are():
    model = conv()
    before, outcome = rounded(model, low_rank(model))
    (old,), (new,) = stored_weights(before), stored_weights(outcome.model)
    assert np.array_equal(old.scale, new.scale)
    assert not np.array_equal(old.integers, new.integers)
    names = [list(m.graph.graph.initializers) for m in (before, outcome.model)]
    assert names[0] == names[1]


def test_in_batches_of_little_memory_it_gives_the_same():
    model = mlp()
    data = samples_for(model, 8)
    many = [rounded(model, data, memory_mb=mb)[1] for mb in (16, 512)]
    assert to_bytes(many[0].model) == to_bytes(many[1].model)


def test_batches_stay_below_the_limit_where_they_can():
    assert list(batches([3, 4, 9, 1, 1], int, 7)) == [[3, 4], [9], [1, 1]]
    assert list(batches([], int, 7)) == []


def test_every_layer_to_itself_gives_the_same_as_all_at_once(monkeypatch):
    from edgecompile.passes.quantize import rounding

    model = conv_bn_relu()
    data = samples_for(model, 6)
    whole = rounded(model, data)[1].model
    monkeypatch.setattr(rounding, "moments_bytes", lambda rows: 10**12)
    assert to_bytes(rounded(model, data)[1].model) == to_bytes(whole)


def test_it_is_deterministic():
    model = conv()
    first, second = (rounded(model, low_rank(model))[1] for _ in range(2))
    assert to_bytes(first.model) == to_bytes(second.model)


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_singular_moments_are_handled(fill):
    model = conv()
    x = np.full((4, 8, 7, 7), fill, np.float32)
    before, outcome = rounded(model, Samples(feeds=[{"x": x}]))
    inputs = {"x": x}
    lost, left = (weight_error(model, m, inputs) for m in (before, outcome.model))
    assert np.isfinite(left).all()
    assert (left <= lost * 1.05 + 1e-12).all()
    assert outcome.changed is bool(fill)


def test_weights_that_two_operators_share_are_left_and_told():
    b = Builder()
    x, weight = b.input("x", ["N", 4, 6, 6]), b.random(4, 4, 1, 1)
    y = b.node("Conv", [b.node("Relu", [b.node("Conv", [x, weight])]), weight])
    model = b.build({y: None})
    _, outcome = rounded(model, samples_for(model))
    assert not outcome.changed
    (note,) = outcome.notes
    assert "shared by several operators" in note.message


def test_what_is_no_product_of_rows_is_left_and_told():
    b = Builder()
    y = b.node("ConvTranspose", [b.input("x", ["N", 4, 6, 6]), b.random(4, 4, 2, 2)])
    model = b.build({y: None})
    _, outcome = rounded(model, samples_for(model))
    assert not outcome.changed
    assert [note.node for note in outcome.notes] == ["convtranspose_0"]


def test_one_scale_for_a_whole_gemm():
    weights = target().quantization.weights.model_copy(update={"per_channel": False})
    model = gemm()
    data = low_rank(model)
    before, outcome = rounded(model, data, style={"weights": weights})
    (stored,) = stored_weights(outcome.model)
    assert stored.scale.shape == ()
    lost, left = (weight_error(model, m, stacked(data)).sum() for m in (before, outcome.model))
    assert left < 0.4 * lost


def test_a_text_model_of_dynamic_length():
    model = attention()
    data = Samples(feeds=[feeds(model, batch=1, seed=i, L=3 + i) for i in range(5)])
    before = quantized(model, data.feeds[0]).model
    where = Context(target=target(), data=data, reference=model)
    outcome = Gptq().run(before, where)
    assert outcome.changed
    (summary,) = [note.message for note in outcome.notes if "rounded again" in note.message]
    assert "6 weights" in summary
