"""Observation: exact extremes whatever the way, and an answer for every odd tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from edgecompile.calibration import collector, observe
from edgecompile.calibration.collector import collect
from edgecompile.calibration.dataset import open_dataset
from edgecompile.calibration.histogram import Histogram
from edgecompile.calibration.method import all_methods, range_method
from edgecompile.calibration.probes import instrument
from edgecompile.calibration.session import run_session
from edgecompile.ir.facts import input_specs
from edgecompile.ir.load import load
from edgecompile.ir.model import Model
from tests.support.data import npz_for, one_file_per_sample, problems
from tests.support.models import ALL, Builder, attention, branches, feeds, lstm

MINMAX = range_method("minmax")


def floats(model: Model) -> list[str]:
    """Every floating-point input and output of a node of the main graph."""
    graph = model.graph.graph
    values = [*graph.inputs, *(v for node in graph for v in node.outputs)]
    return [v.name for v in values if v.name and v.dtype == ir.DataType.FLOAT]


def reference(model: Model, data, names: list[str]) -> dict[str, tuple[float, float]]:
    """NumPy's extremes of ONNX Runtime's outputs, all tensors made outputs."""
    inputs = {value.name for value in model.graph.graph.inputs}
    session = run_session(instrument(model, [n for n in names if n not in inputs], {}, {})[0])
    arrays = [session.run(sample.feeds, names) for sample in data]
    return {
        name: (float(min(a[name].min() for a in arrays)), float(max(a[name].max() for a in arrays)))
        for name in names
    }


def conv_net(channels: int = 32, lift: float = 0.0, size: int = 20, scale: float = 1.0) -> Model:
    """Convolutions large enough to be pooled: Relu, Clip, a residual, MaxPool."""
    b = Builder(5)
    x = b.input("x", ["N", 3, size, size])
    x = x if scale == 1.0 else b.node("Mul", [x, b.constant(np.float32(scale))])
    x = b.node("Relu", [b.node("Add", [b.conv(x, 3, channels), b.constant(np.float32(lift))])])
    y = b.node("Clip", [b.conv(x, channels, channels), b.constant(0.0), b.constant(0.5)])
    z = b.node("Add", [x, b.conv(y, channels, channels, k=1)])
    p = b.node("MaxPool", [y], kernel_shape=[2, 2], strides=[1, 1])
    return b.build({z: None, b.node("GlobalAveragePool", [p]): None})


@pytest.mark.parametrize("name", ALL)
def test_extremes_are_exactly_those_of_the_outputs(name: str, tmp_path: Path) -> None:
    model = ALL[name]()
    data = npz_for(model, tmp_path / "d.npz", scale=3.0, L=5)
    names = floats(model)
    ranges = collect(model, names, data, MINMAX)
    fed = [n for n in names if n not in ranges.skipped]
    for tensor, (low, high) in reference(model, data, fed).items():
        found = ranges.tensors[tensor]
        assert (found.observed_min, found.observed_max) == (low, high), tensor
        assert (found.min, found.max) == (low, high)


@pytest.mark.parametrize("lift", [0.0, 30.0])
def test_pooled_tensors_have_exact_extremes_also_where_no_bound_is_reached(
    lift: float, tmp_path: Path
) -> None:
    model = conv_net(lift=lift)
    data = npz_for(model, tmp_path / "d.npz", samples=4)
    names = floats(model)
    watcher = observe.Observer(model, names[1:], threads=1, wanted=512)
    watcher.see(data[0])
    pooled = {probe.tensor for probe in watcher.tally.probes if probe.pooled}
    relus = {n.outputs[0].name for n in model.graph.graph if n.op_type == "Relu"}
    assert pooled, "the test is about pooled tensors"
    assert (relus <= pooled) == (lift == 0.0), "lifted above zero, Relu's bound is not the minimum"
    ranges = collect(model, names, data, MINMAX)
    for tensor, extremes in reference(model, data, names).items():
        found = ranges.tensors[tensor]
        assert (found.observed_min, found.observed_max) == extremes, tensor


@pytest.mark.parametrize("method", all_methods())
def test_only_what_a_method_needs_is_looked_at(method: str, tmp_path: Path) -> None:
    """Beyond the first sample: no maxima at a bound that was reached, no values without bins."""
    model = conv_net(scale=8.0)
    data = npz_for(model, tmp_path / "d.npz", samples=4)
    chosen, names = range_method(method), floats(model)
    watcher = observe.Observer(
        model, names[1:], threads=1, wanted=512 * chosen.histogram, apart=chosen.per_sample
    )
    watcher.see(data[0])
    clip, relu = (
        next(n.outputs[0].name for n in model.graph.graph if n.op_type == op)
        for op in ("Clip", "Relu")
    )
    probes = {probe.tensor: probe for probe in watcher.tally.probes}
    assert (probes[clip].maxima is not None) == (method == "moving_average")
    assert probes[relu].maxima is not None, "Relu has no upper bound"
    assert all((p.values is not None) == chosen.histogram for p in probes.values() if p.pooled)
    ranges = collect(model, names, data, chosen)
    for tensor, extremes in reference(model, data, names).items():
        found = ranges.tensors[tensor]
        assert (found.observed_min, found.observed_max) == extremes, tensor


def test_images_may_be_of_any_size_also_where_little_is_left_of_them(tmp_path: Path) -> None:
    b = Builder(5)
    x = b.node("Relu", [b.conv(b.input("x", ["N", 3, "H", "W"]), 3, 64)])
    model = b.build({b.node("Relu", [b.conv(x, 64, 64)]): None})
    rng = np.random.default_rng(0)
    sizes = ((40, 32), (1, 1), (2, 40), (3, 3), (64, 5))
    samples = [{"x": rng.normal(size=(1, 3, *size)).astype(np.float32)} for size in sizes]
    data = open_dataset(one_file_per_sample(samples, tmp_path / "d"), input_specs(model))
    names = floats(model)
    ranges = collect(model, names, data, range_method("mse"))
    for tensor, extremes in reference(model, data, names).items():
        found = ranges.tensors[tensor]
        assert (found.observed_min, found.observed_max) == extremes, tensor


def test_shapes_may_change_from_sample_to_sample(tmp_path: Path) -> None:
    model = attention()
    samples = [feeds(model, batch=1, seed=i, L=length) for i, length in enumerate((3, 9, 9, 2, 5))]
    data = open_dataset(one_file_per_sample(samples, tmp_path / "d"), input_specs(model))
    names = floats(model)
    ranges = collect(model, names, data, range_method("percentile"))
    for tensor, (low, high) in reference(model, data, list(ranges.tensors)).items():
        found = ranges.tensors[tensor]
        assert (found.observed_min, found.observed_max) == (low, high), tensor
        assert low <= found.min <= found.max <= high


def test_every_value_is_counted_where_there_are_few(tmp_path: Path) -> None:
    model = conv_net(channels=4)
    data = npz_for(model, tmp_path / "d.npz", samples=3)
    names = floats(model)
    found = collector.observe(model, names, data)
    session = run_session(instrument(model, names[1:], {}, {})[0])
    for name in names:
        expected = Histogram()
        for sample in data:
            expected.add(session.run(sample.feeds, [name])[name].reshape(-1))
        got = found.histograms[name]
        assert (got.exponent, got.first) == (expected.exponent, expected.first)
        np.testing.assert_array_equal(got.counts, expected.counts)


def test_a_part_of_the_values_stands_for_all(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(collector, "LEAST_VALUES", 256)
    monkeypatch.setattr(collector, "ENOUGH_VALUES", 0)
    model = conv_net()
    data = npz_for(model, tmp_path / "d.npz", samples=30)
    names = floats(model)
    part = collector.observe(model, names, data).histograms
    monkeypatch.setattr(collector, "LEAST_VALUES", 10**9)
    whole = collector.observe(model, names, data).histograms
    for name in names:
        a, b = part[name], whole[name]
        assert a.min == b.min and a.max == b.max and a.edges[0] == b.edges[0]
        left, right = (np.cumsum(h.counts) / h.counts.sum() for h in (a, b))
        if left.size > 1:
            assert np.abs(left - right).max() < 0.1, name


def test_constants_and_initializers_have_their_own_range(tmp_path: Path) -> None:
    b = Builder()
    x = b.input("x", ["N", 4])
    three = b.node("Constant", [], value_floats=[3.0, -1.0])
    weight = b.constant(np.full((4,), 2.5, np.float32), "weight")
    model = b.build({b.node("Mul", [x, weight]): ["N", 4], three: [2]})
    data = npz_for(model, tmp_path / "d.npz")
    ranges = collect(model, [three, "weight", "x"], data, range_method("mse"))
    assert (ranges.tensors[three].min, ranges.tensors[three].max) == (-1.0, 3.0)
    assert ranges.tensors["weight"].min == ranges.tensors["weight"].max == 2.5


def test_an_input_with_a_default_is_a_constant(tmp_path: Path) -> None:
    b = Builder()
    x, bias = b.input("x", ["N", 2]), b.input("bias", [2])
    b.constant(np.array([1.0, -2.0], np.float32), "bias")
    y = b.node("Add", [x, bias])
    model = b.build({y: ["N", 2]})
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2), np.float32))
    data = open_dataset(str(tmp_path / "d.npz"), input_specs(model))
    ranges = collect(model, ["bias", y], data, MINMAX)
    assert {(r.min, r.max) for r in ranges.tensors.values()} == {(-2.0, 1.0)}


def test_values_that_are_no_tensors_are_skipped(tmp_path: Path) -> None:
    b = Builder()
    parts = b.node("SplitToSequence", [b.input("x", ["N", 4])], axis=1)
    y = b.node("ConcatFromSequence", [parts], axis=1)
    model = b.build({y: None})
    ranges = collect(model, [parts, y], npz_for(model, tmp_path / "d.npz"), MINMAX)
    assert ranges.skipped == {parts: "not a tensor of known type"} and set(ranges.tensors) == {y}


def test_tensors_inside_control_flow_are_skipped_with_the_reason(tmp_path: Path) -> None:
    model = branches()
    data = npz_for(model, tmp_path / "d.npz")
    inner = next(iter(model.graph.graph.subgraphs()))[0].outputs[0].name
    ranges = collect(model, ["relu_0_out", inner], data, MINMAX)
    assert set(ranges.tensors) == {"relu_0_out"} and "control flow" in ranges.skipped[inner]


LOOP = """
<ir_version: 8, opset_import: ["" : 17]>
doubling (float[N, 4] x, int64[1] trips) => (float[N, 4] y) {
    go = Constant <value = bool {1}> ()
    r = Relu (x)
    s = Loop (trips, go, r) <body = step (int64 i, bool c, float[N, 4] v)
        => (bool more, float[N, 4] w) { more = Identity (c) w = Add (v, v) }>
    y = Neg (s)
}
"""


def test_what_a_loop_gives_is_observed_and_what_it_computes_inside_is_not(tmp_path: Path) -> None:
    path = tmp_path / "loop.onnx"
    onnx.save(onnx.parser.parse_model(LOOP), path)
    model = load(path)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, trips=np.arange(5))
    data = open_dataset(str(tmp_path / "d.npz"), input_specs(model))
    ranges = collect(model, ["x", "r", "s", "w", "y"], data, MINMAX)
    doubled = np.maximum(x, 0) * 2.0 ** np.arange(5)[:, None]
    assert set(ranges.skipped) == {"w"}
    assert "control flow" in ranges.skipped["w"]
    assert (ranges.tensors["s"].min, ranges.tensors["s"].max) == (doubled.min(), doubled.max())
    assert (ranges.tensors["y"].min, ranges.tensors["y"].max) == (-doubled.max(), -doubled.min())


def test_integers_and_unknown_names_are_refused_together(tmp_path: Path) -> None:
    model = attention()
    data = npz_for(model, tmp_path / "d.npz", L=4)
    found = problems(lambda: collect(model, ["nowhere", "ids"], data, MINMAX))
    assert [p.code for p in found] == ["EC-343", "EC-343"]
    assert any("int64" in p.message for p in found) and any("nowhere" in p.message for p in found)


def log_model() -> Model:
    b = Builder()
    x = b.input("x", ["N", 3])
    log = b.node("Log", [x])
    return b.build({b.node("Relu", [log]): ["N", 3], log: ["N", 3]})


def test_nan_names_the_first_tensor_and_the_sample(tmp_path: Path) -> None:
    model = log_model()
    np.savez(tmp_path / "d.npz", x=np.array([[1, 2, 3], [1, -2, 3]], np.float32))
    data = open_dataset(str(tmp_path / "d.npz"), input_specs(model))
    (found,) = problems(lambda: collect(model, floats(model), data, MINMAX))
    assert found.code == "EC-342"
    assert found.message == "tensor 'log_0_out' has NaN for sample 'd.npz[1]'"


def test_nan_behind_a_pooled_tensor_is_found(tmp_path: Path) -> None:
    b = Builder(1)
    x = b.input("x", ["N", 16, 16, 16])
    y = b.node("Relu", [b.conv(b.node("Sqrt", [x]), 16, 32)])
    model = b.build({b.node("GlobalAveragePool", [y]): None})
    samples = np.abs(np.random.default_rng(0).normal(size=(2, 16, 16, 16))).astype(np.float32)
    samples[1, 3, 7, 7] = -1
    np.savez(tmp_path / "d.npz", x=samples)
    data = open_dataset(str(tmp_path / "d.npz"), input_specs(model))
    (found,) = problems(lambda: collect(model, [y], data, MINMAX))
    assert found.code == "EC-342" and found.message.endswith("'d.npz[1]'")


def test_infinite_tensors_are_left_out_with_the_reason(tmp_path: Path) -> None:
    model = log_model()
    np.savez(tmp_path / "d.npz", x=np.array([[1, 2, 3], [0, 2, 3], [1, 1, 1]], np.float32))
    data = open_dataset(str(tmp_path / "d.npz"), input_specs(model))
    ranges = collect(model, floats(model), data, range_method("mse"))
    assert ranges.skipped == {"log_0_out": "infinite in sample 'd.npz[1]'"}
    assert set(ranges.tensors) == {"x", "relu_1_out"}


def test_tensors_that_stay_empty_are_left_out(tmp_path: Path) -> None:
    b = Builder()
    x = b.input("x", ["N", 3])
    none = b.node("Slice", [x, b.constant(np.array([0])), b.constant(np.array([0]))])
    model = b.build({none: None, b.node("Relu", [x]): None})
    data = npz_for(model, tmp_path / "d.npz")
    ranges = collect(model, [none], data, range_method("entropy"))
    assert ranges.skipped == {none: "empty in every sample"} and not ranges.tensors


def test_output_shapes_that_depend_on_values(tmp_path: Path) -> None:
    b = Builder()
    x = b.input("x", ["N", 6])
    kept = b.node(
        "Compress",
        [
            x,
            b.node("Greater", [b.node("Squeeze", [x, b.constant(np.array([0]))]), b.constant(0.0)]),
        ],
        axis=1,
    )
    model = b.build({kept: None})
    data = npz_for(model, tmp_path / "d.npz", samples=8)
    ranges = collect(model, [kept], data, MINMAX)
    expected = reference(model, data, [kept])[kept]
    assert (ranges.tensors[kept].min, ranges.tensors[kept].max) == expected


@pytest.mark.parametrize("name", ["attention", "lstm", "conv"])
@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_ranges_do_not_depend_on_the_number_of_threads(
    name: str, method: str, tmp_path: Path
) -> None:
    model = conv_net() if name == "conv" else ALL[name]()
    data = npz_for(model, tmp_path / "d.npz", samples=6, L=7)
    chosen = range_method(method)
    one, two, three = (
        collect(model, floats(model), data, chosen, threads=threads) for threads in (1, 2, 3)
    )
    assert one == two == three


@pytest.mark.parametrize("method", all_methods())
def test_ranges_do_not_depend_on_the_order_of_the_samples(method: str, tmp_path: Path) -> None:
    model = lstm()
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(2).normal(size=(9, 5, 1, 3)).astype("f"))
    data = open_dataset(str(tmp_path / "d.npz"), input_specs(model))
    names = floats(model)
    forward, backward = (
        collect(model, names, data.subset(order), range_method(method))
        for order in (range(9), range(8, -1, -1))
    )
    for name in forward.tensors:
        assert forward.tensors[name].max == pytest.approx(backward.tensors[name].max, rel=1e-6)


def test_the_document_says_method_data_and_progress(tmp_path: Path) -> None:
    model = ALL["mlp"]()
    data = npz_for(model, tmp_path / "d.npz", samples=4)
    steps: list[tuple[int, int]] = []
    method = range_method("percentile", {"cut": 99.0})
    ranges = collect(
        model, floats(model), data, method, threads=2, progress=lambda *p: steps.append(p)
    )
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert ranges.method == "percentile(cut=99.0)"
    assert (ranges.samples, ranges.data_sha256) == (4, data.sha256)
    document = ranges.to_json()
    assert {t["method"] for t in document["tensors"].values()} == {ranges.method}
    assert {t["samples"] for t in document["tensors"].values()} == {4}
    assert type(ranges).from_json(document) == ranges


def test_a_sample_that_the_model_cannot_run_is_named(tmp_path: Path) -> None:
    b = Builder()
    x = b.input("x", ["N", "L"])
    model = b.build({b.node("Reshape", [x, b.constant(np.array([-1, 4]))]): None})
    samples = [{"x": np.zeros((1, n), np.float32)} for n in (4, 6)]
    data = open_dataset(one_file_per_sample(samples, tmp_path / "d"), input_specs(model))
    (found,) = problems(lambda: collect(model, ["x", "reshape_0_out"], data, MINMAX))
    assert found.code == "EC-341" and "'0001.npz'" in found.message
