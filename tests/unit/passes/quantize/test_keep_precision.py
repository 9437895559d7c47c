"""Sensitivity and `keep_precision`: the layer that was made bad is found, and it alone goes."""

import dataclasses

import numpy as np
import pytest

from edgecompile.artifacts.budget import parse
from edgecompile.calibration.dataset import open_dataset
from edgecompile.calibration.session import Session, run_session
from edgecompile.calibration.taps import tapped_session
from edgecompile.diagnostics import EdgecompileError
from edgecompile.ir.facts import op_census
from edgecompile.passes.quantize import keep_precision, precision
from edgecompile.passes.quantize.calibrate import Calibrate
from edgecompile.passes.quantize.gauge import Gauge
from edgecompile.passes.quantize.keep_precision import KeepPrecision
from edgecompile.passes.quantize.layers import pair
from edgecompile.passes.quantize.precision import PrecisionBudget
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.passes.quantize.raising import raise_layers
from edgecompile.passes.quantize.ranking import Ranking, ranked
from edgecompile.passes.quantize.sensitivity import Cost, Work, bound_macs, measure_layers
from edgecompile.passes.quantize.switchboard import Switchboard
from edgecompile.passes.quantize.timing import Rates
from edgecompile.targets.catalogue import load_target
from tests.support.data import npz_for
from tests.support.hard import LAYERS, chain
from tests.support.models import Builder, assert_same, context, feeds


@pytest.fixture
def prepare(tmp_path):
    """Float model -> quantized model and what a pass after `quantize_static` is given."""

    def prepared(model):
        data = npz_for(model, tmp_path / "data.npz", samples=8)
        where = dataclasses.replace(context(), data=data, reference=model)
        ranges = Calibrate(method="minmax").run(model, where).ranges
        where = dataclasses.replace(where, ranges=ranges)
        return QuantizeStatic(overflow="ignore").run(model, where).model, where

    return prepared


def convolutions(model):
    return [node.name for node in model.graph.graph if node.op_type == "Conv"]


def quantized_convolutions(model):
    """Names of those that read a DequantizeLinear."""
    return [
        node.name
        for node in model.graph.graph
        if node.op_type == "Conv" and node.inputs[1].producer() is not None
    ]


def keep(model, where, metric="sqnr_db", at_least=25.0, **options):
    """The outcome, held to the contract."""
    before = model.digest
    step = KeepPrecision(budget=PrecisionBudget(metric=metric, at_least=at_least), **options)
    outcome = step.run(model, where)
    assert model.digest == before
    assert outcome.changed == (outcome.model.digest != before)
    return outcome


def apply_auto(model, where):
    """The outcome of the step as default recipes have it."""
    return KeepPrecision().run(model, where)


def test_a_switchboard_is_the_float_model_the_quantized_one_and_anything_between(prepare):
    model = chain()
    quantized, where = prepare(model)
    pairing = pair(quantized, model)
    board = Switchboard(quantized, model, pairing)
    inputs = where.data[0].feeds
    (name,) = board.outputs
    wanted = run_session(model).run(inputs)[name]
    np.testing.assert_allclose(board.run(inputs, ())[name], wanted, rtol=1e-5, atol=1e-5)
    exact = run_session(quantized, exact=True).run(inputs)[name]
    everything = board.run(inputs, range(len(board.layers)))[name]
    np.testing.assert_allclose(everything, exact, rtol=1e-4, atol=1e-3)
    for number in range(len(board.layers)):
        others = [layer for layer in pairing.layers if layer is not pairing.layers[number]]
        single = raise_layers(quantized, others, pairing)
        exact = run_session(single, exact=True).run(inputs)[name]
        got = board.run(inputs, (number,))[name]
        np.testing.assert_allclose(got, exact, rtol=1e-4, atol=1e-3)


def test_the_layer_that_was_made_bad_costs_most(prepare):
    model = chain()
    quantized, where = prepare(model)
    found = measure_layers(quantized, model, pair(quantized, model), where.data.subset([0, 1]))
    costs = sorted(found.costs, key=lambda cost: cost.alone_db)
    assert costs[0].layer.name == convolutions(model)[3]
    assert costs[0].alone_db < costs[1].alone_db - 10
    # the layer's own output suffers as much, and those behind it only from what reaches them
    assert costs[0].local_db < 25
    assert all(cost.local_db > 30 for cost in costs[1:])
    behind = found.costs[4]
    assert behind.accumulated_db < behind.local_db - 10


def test_local_and_accumulated_error_are_those_of_taps(prepare):
    model = chain(bad=())
    quantized, where = prepare(model)
    found = measure_layers(quantized, model, pair(quantized, model), where.data.subset([0]))
    names = [cost.layer.output for cost in found.costs]
    inputs = where.data[0].feeds
    want = tapped_session(model, names).run(inputs)
    got = tapped_session(quantized, names, exact=True).run(inputs)
    for cost in found.costs:
        w, g = want[cost.layer.output], got[cost.layer.output]
        sqnr = 10 * np.log10(np.sum(w**2) / np.sum((g - w) ** 2))
        assert cost.accumulated_db == pytest.approx(sqnr, abs=0.1)
    assert found.costs[0].local_db == pytest.approx(found.costs[0].accumulated_db, abs=0.1)


def test_exactly_the_outlier_layer_is_raised(prepare):
    model = chain()
    quantized, where = prepare(model)
    assert len(quantized_convolutions(quantized)) == LAYERS
    outcome = keep(quantized, where)
    left = quantized_convolutions(outcome.model)
    assert set(convolutions(model)) - set(left) == {convolutions(model)[3]}
    summary, *each = outcome.notes
    assert f"1 of {LAYERS} layers" in summary.message
    assert [note.node for note in each] == [convolutions(model)[3]]
    assert each[0].kept_float
    assert "gains" in each[0].message
    session = run_session(outcome.model, exact=True)
    figures = Gauge(model, list(where.data), None).figures(lambda s: session.run(s.feeds))
    assert figures.of("sqnr_db") >= 25


def test_a_budget_that_holds_changes_nothing(prepare):
    quantized, where = prepare(chain(bad=()))
    outcome = keep(quantized, where)
    assert not outcome.changed
    assert "holds already" in outcome.notes[0].message


def test_a_budget_out_of_reach_names_the_best(prepare):
    quantized, where = prepare(chain(bad=(1, 4)))
    with pytest.raises(EdgecompileError) as caught:
        keep(quantized, where, max_layers=1)
    (problem,) = caught.value.diagnostics
    assert problem.code == "EC-446"
    assert "1 layers in float do not reach sqnr_db>=25" in problem.message
    best = float(problem.message.split()[-1])
    assert best < 25
    assert len(keep(quantized, where, max_layers=2).notes) == 3
    with pytest.raises(EdgecompileError, match="top1_agreement>=2"):
        keep(quantized, where, "top1_agreement", 2.0)


def test_a_pair_before_a_pooling_goes_with_its_only_reader(prepare):
    model = chain()
    quantized, _ = prepare(model)
    pairing = pair(quantized, model)
    pooled = next(layer for layer in pairing.layers if layer.name == convolutions(model)[3])
    raised = raise_layers(quantized, [pooled], pairing)
    (before,) = {op_census(quantized)["QuantizeLinear"]} - {op_census(raised)["QuantizeLinear"]}
    assert op_census(raised)["QuantizeLinear"] == before - 1
    assert op_census(raised)["MaxPool"] == 1
    assert_same(raise_layers(quantized, pairing.layers, pairing), model)


def test_a_pair_that_others_read_stays_for_them(prepare):
    b = Builder(2)
    x = b.node("Relu", [b.input("x", ["N", 4, 6, 6])])
    b_out = b.node("Concat", [b.conv(x, 4, 4), b.conv(x, 4, 4)], axis=1)
    model = b.build({b_out: ["N", 8, 6, 6]})
    quantized, where = prepare(model)
    pairing = pair(quantized, model)
    raised = raise_layers(quantized, pairing.layers[:1], pairing)
    assert op_census(raised)["QuantizeLinear"] == op_census(quantized)["QuantizeLinear"]
    assert quantized_convolutions(raised) == [pairing.layers[1].name]
    run_session(raised).run(where.data[0].feeds)


def test_a_collapsed_model_is_rescued_and_a_healthy_one_costs_a_few_inferences(
    prepare, monkeypatch
):
    model = chain()
    quantized, where = prepare(model)
    rescued = apply_auto(quantized, where)
    assert set(convolutions(model)) - set(quantized_convolutions(rescued.model)) == {
        convolutions(model)[3]
    }
    assert "correlation" in rescued.notes[0].message
    runs, run = [], Session.run
    monkeypatch.setattr(Session, "run", lambda *a, **k: runs.append(1) or run(*a, **k))
    quantized, where = prepare(chain(bad=()))
    runs.clear()
    assert not apply_auto(quantized, where).changed
    assert len(runs) == 2 * min(16, len(where.data))


def test_random_data_raise_nothing(prepare):
    model = chain()
    quantized, where = prepare(model)
    noise = open_dataset("random:8", where.data.inputs)
    outcome = apply_auto(quantized, dataclasses.replace(where, data=noise))
    assert not outcome.changed
    assert "random" in outcome.notes[0].message


def test_a_correlation_takes_the_place_of_the_automatic_one(prepare):
    """Also in what it says of random data, whose outputs hardly vary."""
    quantized, where = prepare(chain(bad=()))
    noise = open_dataset("random:8", where.data.inputs)
    random = dataclasses.replace(where, data=noise)
    assert not keep(quantized, random, "correlation", 0.999999).changed
    assert not keep(quantized, where, "correlation", 0.99).changed
    assert keep(quantized, where, "correlation", 0.999999).changed


def test_budgets_of_the_build_are_held_too(prepare):
    model = chain(bad=())
    quantized, where = prepare(model)
    step = KeepPrecision().held_to([parse("sqnr_db>=60"), parse("top1>=0.5")])
    assert [str(budget) for budget in step.also] == ["sqnr_db>=61.5490195999", "top1>=0.5"]
    outcome = step.run(quantized, where)
    assert outcome.changed
    session = run_session(outcome.model, exact=True)
    figures = Gauge(model, list(where.data), None).figures(lambda s: session.run(s.feeds))
    assert figures.of("sqnr_db") >= 61.5
    assert "top1>=0.5 cannot be held here" in outcome.notes[-1].message


def test_no_more_goes_to_float_by_itself_than_half(prepare):
    quantized, where = prepare(chain(bad=(1, 2, 3, 4, 5)))
    with pytest.raises(EdgecompileError) as caught:
        apply_auto(quantized, where)
    (problem,) = caught.value.diagnostics
    assert problem.code == "EC-446"
    assert "at most 50 % of the multiply-accumulates, do not reach" in problem.message
    allowed = KeepPrecision(max_float_share=1).run(quantized, where)
    assert "most of the arithmetic to float" in allowed.notes[1].message
    quantized, where = prepare(chain())
    with pytest.raises(EdgecompileError, match="at most 5 % of"):
        KeepPrecision(max_float_share=0.05).run(quantized, where)


def test_what_half_of_the_arithmetic_nearly_reaches_is_taken_and_told(prepare, monkeypatch):
    model = chain(bad=(1, 2, 3, 4, 5))
    quantized, where = prepare(model)
    monkeypatch.setattr(keep_precision, "NEAR", 1e6)
    outcome = apply_auto(quantized, where)
    assert outcome.changed
    assert 0 < len(quantized_convolutions(outcome.model)) < len(convolutions(model))
    assert (
        "is missed, and half of the arithmetic in float brings no more" in outcome.notes[1].message
    )
    with pytest.raises(EdgecompileError, match="EC-446"):  # what somebody asked for is held
        keep(quantized, where, metric="correlation", at_least=0.99, max_float_share=0.5)


def test_what_single_samples_should_keep_gives_way_where_only_float_would_do(prepare, monkeypatch):
    even = (PrecisionBudget(metric="worst_correlation", at_least=0.99999999),)
    for module in (precision, keep_precision):
        monkeypatch.setattr(module, "EVEN", even)
    quantized, where = prepare(chain(bad=()))
    outcome = apply_auto(quantized, where)
    assert not outcome.changed
    assert outcome.notes[0].message.startswith("left as it is: correlation 0.99")
    assert "worst_correlation 0.99" in outcome.notes[0].message
    quantized, where = prepare(chain())
    outcome = apply_auto(quantized, where)
    assert [note.node for note in outcome.notes if note.kept_float] == ["conv_8"]
    with pytest.raises(EdgecompileError, match="EC-446"):
        KeepPrecision(max_float_share=0.05).run(quantized, where)


def test_an_aim_takes_little_of_the_arithmetic_and_fails_nothing(prepare):
    quantized, where = prepare(chain(bad=()))
    assert not apply_auto(quantized, where).changed
    aim = PrecisionBudget(metric="sqnr_db", at_least=200.0)
    outcome = KeepPrecision(aim=aim).run(quantized, where)
    assert not outcome.changed
    assert "left as it is" in outcome.notes[0].message
    near = PrecisionBudget(metric="correlation", at_least=0.5)
    assert "holds already" in KeepPrecision(aim=near).run(quantized, where).notes[0].message
    quantized, where = prepare(chain())
    outcome = KeepPrecision(aim=near).run(quantized, where)
    assert [note.node for note in outcome.notes if note.kept_float] == ["conv_8"]


def test_a_budget_that_was_asked_for_may_take_more_unless_a_limit_was_too(prepare):
    quantized, where = prepare(chain(bad=(1, 2, 3, 4, 5)))
    outcome = keep(quantized, where, at_least=25.0)
    assert "% of the multiply-accumulates" in outcome.notes[0].message
    assert "most of the arithmetic to float" in outcome.notes[1].message
    with pytest.raises(EdgecompileError, match=r"at most 40 % of .*sqnr_db>=25"):
        keep(quantized, where, at_least=25.0, max_float_share=0.4)


def test_layers_whose_arithmetic_is_not_worth_the_conversions_go_too(prepare):
    model = chain()
    quantized, where = prepare(model)
    step = KeepPrecision(budget=PrecisionBudget(metric="sqnr_db", at_least=300.0), max_layers=5)
    with pytest.raises(EdgecompileError, match="the best is"):
        step.run(quantized, where)
    step = step.model_copy(update={"max_layers": None})
    outcome = step.run(quantized, where)
    (warning,) = step.ensures(quantized, outcome.model, where)
    assert warning.code == "EC-456"
    assert not step.ensures(quantized, quantized, where)
    costs = measure_layers(quantized, model, pair(quantized, model), where.data).costs
    macs = {cost.layer.output: 1 if number == 2 else 1000 for number, cost in enumerate(costs)}
    ranking = Ranking(costs=costs, macs=macs, order=())
    assert ranking.with_remains([0, 1, 3, 4, 5]) == [0, 1, 3, 4, 5, 2]
    assert ranking.with_remains([0, 1, 3, 4]) == [0, 1, 3, 4]


def test_layers_that_take_most_error_away_for_their_time_come_first(prepare):
    model = chain()
    quantized, _ = prepare(model)
    layers = pair(quantized, model).layers[:4]
    costs = [
        Cost(layer=layer, alone_db=db, local_db=db, accumulated_db=db)
        for layer, db in zip(layers, (20.0, 20.0, -np.inf, 17.5), strict=True)
    ]
    counts = zip(layers, (10, 500, 500, 490), strict=True)
    work = {layer.output: Work(macs=count, elements=1) for layer, count in counts}
    # number 3 makes twice as much error as number 0, and takes twenty times as long
    for rates in (Rates(int8=None), Rates(int8=4.0)):
        assert ranked(costs, work, rates) == [2, 0, 3, 1]
    # number 0 is not worth its conversions, and the faster integers are, the less
    work[layers[0].output] = Work(macs=10, elements=100)
    assert ranked(costs, work, Rates(int8=4.0)) == [2, 3, 1, 0]
    work[layers[0].output] = Work(macs=10, elements=20)
    assert ranked(costs, work, Rates(int8=4.0)) == [2, 0, 3, 1]


def test_macs_are_those_of_the_shapes_of_the_samples():
    b = Builder(3)
    x = b.input("x", ["N", "T", 8])
    folded = b.node("Reshape", [x, b.node("Shape", [x])])
    product = b.node("MatMul", [folded, b.random(8, 64)])
    scores = b.node("MatMul", [product, b.node("Transpose", [product], perm=[0, 2, 1])])
    model = b.build({scores: ["N", "T", "S"]})
    found = bound_macs(model, feeds(model, batch=3, T=5))
    assert found == {product: 3 * 5 * 8 * 64, scores: 3 * 5 * 5 * 64}


def test_a_fallback_that_the_target_lacks_is_unfit():
    target = load_target("intel-nuc")
    only = target.model_copy(update={"precisions": {"cpu": ("int8", "fp32")}})
    assert KeepPrecision(fallback="fp32").unfit(only) == []
    assert "fp16" in KeepPrecision(fallback="fp16").unfit(only)[0]


def test_where_nothing_computes_in_float_nothing_goes_there(prepare):
    quantized, where = prepare(chain())
    integers = where.target.model_copy(update={"precisions": {"dsp": ("int8",)}})
    where = dataclasses.replace(where, target=integers)
    outcome = apply_auto(quantized, where)
    assert not outcome.changed
    assert "no unit of the target computes in float" in outcome.notes[0].message
    with pytest.raises(EdgecompileError, match="EC-446"):
        keep(quantized, where, "cosine", 0.9999)
