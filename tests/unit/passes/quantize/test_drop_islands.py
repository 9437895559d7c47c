"""`drop_islands`: integers whose conversions cost more than they save go, and no others."""

import dataclasses

import numpy as np
import pytest

from edgecompile.passes.quantize.calibrate import Calibrate
from edgecompile.passes.quantize.drop_islands import DropIslands, islands
from edgecompile.passes.quantize.layers import pair
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.passes.quantize.timing import rates_of
from edgecompile.targets.catalogue import all_targets, load_target
from tests.support.data import npz_for
from tests.support.models import Builder, assert_same, context

NUC = load_target("intel-nuc")


@pytest.fixture
def prepare(tmp_path):
    """Float model -> quantized model, and what a later pass is given."""

    def prepared(model, target=NUC, **options):
        data = npz_for(model, tmp_path / "data.npz", samples=4)
        where = dataclasses.replace(context(), target=target, data=data, reference=model)
        ranges = Calibrate(method="minmax", **options).run(model, where).ranges
        where = dataclasses.replace(where, ranges=ranges)
        step = QuantizeStatic(overflow="ignore", **options)
        return step.run(model, where).model, where

    return prepared


def apart(b, x, channels, kernel=1):
    """A convolution between operators that no kernel takes in."""
    return b.node("Erf", [b.conv(x, *channels, k=kernel)])


def detector():
    """Two wide convolutions in a row, and a thin one apart from them."""
    b = Builder(7)
    x = b.node("Erf", [b.input("x", ["N", 16, 8, 8])])
    x = b.node("Relu", [b.conv(x, 16, 32)])
    x = apart(b, x, (32, 4))
    return b.build({apart(b, x, (4, 2), 1): ["N", 2, 8, 8]})


def integers(model):
    """Names of the convolutions that read a DequantizeLinear."""
    found = [node for node in model.graph.graph if node.op_type == "Conv"]
    return [n.name for n in found if getattr(n.inputs[1].producer(), "op_type", "") != ""]


def test_a_thin_layer_between_float_neighbours_goes_and_is_named(prepare):
    model = detector()
    quantized, where = prepare(model)
    *_, thin = (node.name for node in model.graph.graph if node.op_type == "Conv")
    outcome = DropIslands().run(quantized, where)
    assert set(integers(quantized)) - set(integers(outcome.model)) == {thin}
    (note,) = outcome.notes
    assert (note.node, note.kept_float) == (thin, True)
    assert "rounds 256 numbers" in note.message
    wanted, _ = prepare(model, keep_float=(thin,))
    assert_same(wanted, outcome.model)


def test_what_hands_integers_on_is_one_island_with_one_shore(prepare):
    model = detector()
    quantized, where = prepare(model)
    first, second = islands(pair(quantized, model), where.target.quantization)
    assert [len(first.layers), len(second.layers)] == [2, 1]
    assert list(first.shores.values()) == [16 * 64]
    assert first.macs == 64 * (16 * 32 * 9 + 32 * 4)
    assert list(second.shores.values()) == [4 * 64]


def test_a_thin_layer_that_reads_integers_of_another_stays(prepare):
    b = Builder(8)
    x = b.node("Relu", [b.conv(b.input("x", ["N", 16, 8, 8]), 16, 32)])
    model = b.build({b.conv(x, 32, 1, k=1): ["N", 1, 8, 8]})
    quantized, where = prepare(model)
    assert not DropIslands(clear=0.5).run(quantized, where).changed


def test_a_shore_that_two_islands_share_counts_for_none(prepare):
    b = Builder(9)
    x = b.node("Erf", [b.input("x", ["N", 4, 8, 8])])
    thin, wide = b.conv(x, 4, 1, k=1), b.conv(x, 4, 64)
    model = b.build({thin: ["N", 1, 8, 8], wide: ["N", 64, 8, 8]})
    quantized, where = prepare(model)
    assert not DropIslands().run(quantized, where).changed
    assert all(not i.shores for i in islands(pair(quantized, model), NUC.quantization))


def test_element_wise_islands_go_even_where_no_rate_is_known(prepare):
    b = Builder(10)
    left, right = (b.node("Erf", [b.input(name, ["N", 4, 8, 8])]) for name in "xy")
    joined = b.node("Erf", [b.node("Add", [left, right])])
    model = b.build({b.conv(joined, 4, 64): ["N", 64, 8, 8]})
    unknown = NUC.model_copy(update={"hardware": {}})
    quantized, where = prepare(model, unknown, operators=("Conv", "Add"))
    (add,) = (node.name for node in model.graph.graph if node.op_type == "Add")
    outcome = DropIslands().run(quantized, where)
    assert [note.node for note in outcome.notes] == [add]
    assert "multiplies none" in outcome.notes[0].message
    assert integers(outcome.model) == integers(quantized)


def test_not_all_that_is_in_integers_goes(prepare):
    b = Builder(11)
    model = b.build({apart(b, b.input("x", ["N", 4, 8, 8]), (4, 2)): ["N", 2, 8, 8]})
    quantized, where = prepare(model)
    outcome = DropIslands().run(quantized, where)
    assert not outcome.changed
    assert "a float recipe may be faster" in outcome.notes[0].message


def test_a_warning_tells_where_no_integers_pay(prepare):
    b = Builder(11)
    model = b.build({apart(b, b.input("x", ["N", 4, 8, 8]), (4, 2)): ["N", 2, 8, 8]})
    quantized, where = prepare(model)
    (found,) = DropIslands().ensures(quantized, quantized, where)
    # 8 for each number that is rounded, against three quarters of 2 products with it
    assert found.code == "EC-457"
    assert "5.3 times" in found.message
    quantized, where = prepare(detector())
    after = DropIslands().run(quantized, where).model
    assert DropIslands().ensures(quantized, after, where) == []
    unknown = dataclasses.replace(where, target=where.target.model_copy(update={"hardware": {}}))
    quantized, _ = prepare(model)
    assert DropIslands().ensures(quantized, quantized, unknown) == []


def test_styles_that_take_whole_graphs_have_no_islands(prepare):
    npu = load_target("snapdragon-8-gen3")
    quantized, where = prepare(detector(), npu)
    assert not DropIslands().run(quantized, where).changed


def test_rates_are_those_that_targets_state():
    rates = {target.id: rates_of(target.hardware).int8 for target in all_targets().values()}
    assert rates["intel-nuc"] == rates["intel-xeon-dlboost"] == 4
    assert rates["egx-a100"] == 2
    assert rates["cloud-ai-100-pro"] == 3
    assert rates["core-ultra-mtl-npu"] == pytest.approx(2)
    assert rates["jetson-agx-orin-64"] == pytest.approx(2)
    assert rates["rtx-pc"] is None
    assert rates_of(NUC.hardware).saved(100.0) == pytest.approx(75)
    assert rates_of({}).raised(100.0, 10.0) is None
    assert np.isfinite(rates_of(NUC.hardware).raised(0.0, 1.0))
