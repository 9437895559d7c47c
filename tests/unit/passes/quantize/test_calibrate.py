"""`calibrate`: it observes what `quantize_static` will ask for, on as many samples as it may."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from edgecompile.calibration.dataset import open_dataset
from edgecompile.calibration.method import RangeMethod
from edgecompile.calibration.ranges import Ranges
from edgecompile.diagnostics import EdgecompileError
from edgecompile.ir.facts import input_specs
from edgecompile.passes.base import Context
from edgecompile.passes.quantize import calibrate
from edgecompile.passes.quantize.calibrate import Calibrate
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.passes.quantize.sites import node_name
from edgecompile.targets.schema import Activations
from tests.support.data import npz_for
from tests.support.models import ALL, Builder, attention, feeds, mlp, residual, run
from tests.support.quantized import NUC, STYLE, target

OPTIONS = [{}, {"products": "integer"}, {"operators": ("Conv", "Add")}, {"keep_float": ("conv_0",)}]

MODELS = ("residual", "concat", "matmul_of_activations", "attention", "lstm")


def context(model, path, samples: int = 6, **dims) -> Context:
    return Context(target=NUC, data=npz_for(model, path / "d.npz", samples, **dims))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    "name", ["residual", "concat", "matmul_of_activations", "attention", "lstm"]
)
def test_it_observes_exactly_what_will_be_quantized(tmp_path, name, options):
    model = ALL[name]()
    where = context(model, tmp_path, L=5)
    outcome = Calibrate(**options).run(model, where)
    assert outcome.model is model
    assert not outcome.changed
    step = QuantizeStatic(**options)
    after = step.run(model, replace(where, ranges=outcome.ranges))
    assert not [note for note in after.notes if "calibrated range" in note.message]
    paired = {
        node.inputs[0].name for node in after.model.graph.graph if node.op_type == "QuantizeLinear"
    }
    assert set(outcome.ranges.tensors) == paired


def test_its_ranges_are_the_extremes_of_the_tensors(tmp_path):
    model = mlp()
    where = context(model, tmp_path)
    ranges = Calibrate(method="minmax").run(model, where).ranges
    x = np.concatenate([sample.feeds["x"] for sample in where.data])
    assert (ranges.tensors["x"].min, ranges.tensors["x"].max) == (x.min(), x.max())
    assert len(ranges.tensors) == 2
    assert run(model, {"x": x})[0].shape == (6, 4)


def test_it_takes_so_many_samples_spread_over_the_data(tmp_path):
    model = mlp()
    where = context(model, tmp_path, samples=10)
    outcome = Calibrate(samples=4, method="minmax").run(model, where)
    assert outcome.ranges.samples == 4
    assert outcome.notes[0].message.startswith("2 tensors calibrated by minmax")
    assert outcome.notes[0].message.endswith("on 4 samples")
    picked = where.data.subset(calibrate.spread(10, 4))
    assert outcome.ranges.data_sha256 == picked.sha256
    whole = Calibrate().run(model, where).ranges
    assert whole.samples == 10


def test_what_has_no_range_is_noted_by_name(tmp_path):
    b = Builder()
    loud = b.node("Exp", [b.node("Mul", [b.input("x", ["N", 16]), b.constant(np.float32(1e3))])])
    model = b.build({b.gemm(loud, 16, 4): ["N", 4]})
    data = npz_for(model, tmp_path / "d.npz")
    outcome = Calibrate(method="minmax").run(model, Context(target=NUC, data=data))
    skipped = dict(outcome.ranges.skipped)
    assert list(skipped) == [loud]
    assert {note.tensor: note.message for note in outcome.notes[1:]} == skipped


def test_ranges_are_chosen_for_the_integers_of_the_target(tmp_path, monkeypatch):
    given = {}
    collect = calibrate.collect
    monkeypatch.setattr(calibrate, "collect", lambda *a, **k: given.update(k) or collect(*a, **k))
    model = mlp()
    kind = STYLE.activations.model_copy(update={"type": "int16", "symmetric": True})
    where = replace(context(model, tmp_path), target=target(activations=kind))
    Calibrate().run(model, where)
    assert (given["bits"], given["symmetric"]) == (16, True)


def test_a_target_without_a_style_is_refused():
    bare = Context(target=NUC.model_copy(update={"quantization": None}))
    assert [found.code for found in Calibrate().requires(residual(), bare)] == ["EC-440"]
    assert Calibrate().requires(residual(), Context(target=NUC)) == []


@pytest.mark.parametrize("options", [{"method": "minmix"}, {"options": {"cutt": 9}}], ids=str)
def test_a_method_or_option_that_does_not_exist_is_refused_before_any_model(options):
    with pytest.raises(EdgecompileError):
        Calibrate(**options).unfit(NUC)


def test_lengths_may_differ_from_sample_to_sample(tmp_path):
    from edgecompile.calibration.dataset import open_dataset
    from edgecompile.ir.facts import input_specs
    from tests.support.data import one_file_per_sample

    model = attention()
    made = [feeds(model, batch=1, seed=i, L=2 + i) for i in range(4)]
    source = one_file_per_sample(made, tmp_path / "d")
    data = open_dataset(source, input_specs(model))
    assert Calibrate().run(model, Context(target=NUC, data=data)).ranges.samples == 4


class ByBits(RangeMethod):
    """A range that tells what it was chosen for."""

    id: ClassVar[str] = "by_bits"
    source: ClassVar[str] = "none: a method for this test"

    def pick(self, histogram, *, bits=8, symmetric=False):
        return histogram.min * bits / 32, histogram.max * (0.9 if symmetric else bits / 32)


def test_each_range_is_chosen_for_the_quantizer_that_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(calibrate, "range_method", lambda *_: ByBits())
    b = Builder(opset=21)
    x = b.input("x", ["N", 8])
    kept = b.gemm(b.node("Neg", [x]), 8, 4)
    model = b.build({b.gemm(x, 8, 4): ["N", 4], kept: ["N", 4], b.gemm(x, 8, 2): ["N", 2]})
    where = replace(context(model, tmp_path), target=target(activations=Activations(wide="uint16")))

    def shares(**options):
        found = Calibrate(**options).run(model, where).ranges.tensors
        return {name: r.max / r.observed_max for name, r in found.items()}

    assert shares() == pytest.approx({"x": 0.25, "neg_0_out": 0.25})
    wide = shares(precision={"gemm_1": "int16"})
    assert wide == pytest.approx({"x": 0.25, "neg_0_out": 0.5})
    both = shares(precision={"gemm_2": "int16"})
    assert both == pytest.approx({"x": 0.25, "neg_0_out": 0.25}), "the coarser of two readers"
    assert shares(activations="uint16") == pytest.approx({"x": 0.5, "neg_0_out": 0.5})


def test_where_16_bits_may_be_wanted_there_is_a_range_for_them(tmp_path):
    """One outlier in many: 8 bits clip it, 16 bits do not, and the pair takes the range of its own
    width, whichever was calibrated for."""
    model = mlp()
    rng = np.random.default_rng(0)
    values = rng.normal(size=(64, *next(iter(feeds(model).values())).shape[1:])).astype(np.float32)
    values[7].flat[0] = 60.0
    np.savez(tmp_path / "d.npz", x=values)
    data = open_dataset(str(tmp_path / "d.npz"), input_specs(model))
    wide = STYLE.activations.model_copy(update={"wide": "uint16"})
    where = Context(target=target(activations=wide), data=data)
    step = Calibrate(method="percentile", options={"cut": 99.0})
    ranges = step.run(model, where).ranges
    found = ranges.tensors["x"]
    assert found.max < 30
    assert found.interval(8) == (found.min, found.max)
    assert found.interval(16) == pytest.approx((values.min(), 60.0), rel=0.02)
    assert Ranges.from_json(ranges.to_json()) == ranges
    narrow = step.run(model, replace(where, target=target())).ranges
    assert narrow.tensors["x"] == replace(found, wide_min=None, wide_max=None)
    assert "wide_min" not in narrow.to_json()["tensors"]["x"]
    first = model.graph.graph[0]
    assert first.inputs[0].name == "x"
    for width, high in (("int8", found.max), ("int16", 60.0)):
        written = QuantizeStatic(precision={node_name(first): width})
        after = written.run(model, replace(where, ranges=ranges)).model
        (quantize,) = [n for n in after.graph.graph
                       if n.op_type == "QuantizeLinear" and n.inputs[0].name == "x"]  # fmt: skip
        scale, zero = (quantize.inputs[i].const_value.numpy() for i in (1, 2))
        top = (np.iinfo(zero.dtype).max - int(zero)) * float(scale)
        assert top == pytest.approx(high, rel=0.02)
