"""Whatever the graph: islands part the layers, and what is dropped is what is not worth it."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.calibration.ranges import Range, Ranges
from edgecompile.passes.quantize.drop_islands import DropIslands, islands
from edgecompile.passes.quantize.layers import pair
from edgecompile.passes.quantize.quantize_static import QuantizeStatic
from edgecompile.passes.quantize.timing import rates_of
from edgecompile.targets.catalogue import load_target
from tests.support.models import Builder, context

NUC = load_target("intel-nuc")
PLACES = st.lists(
    st.tuples(st.sampled_from([1, 4, 32]), st.sampled_from(["Relu", "Erf", "fork", "sum"])),
    min_size=2,
    max_size=6,
)


def graph(places, seed):
    """Convolutions of these widths, each with what follows it."""
    b = Builder(seed)
    x, width = b.input("x", ["N", 4, 4, 4]), 4
    sides = []
    for channels, after in places:
        made = b.conv(x, width, channels, k=1)
        if after == "fork":
            sides.append(b.node("Erf", [b.conv(made, channels, 1, k=1)]))
        elif after == "sum":
            made = b.node("Add", [made, b.node("Relu", [made])])
        else:
            made = b.node(after, [made])
        x, width = made, channels
    return b.build({name: ["N", None, 4, 4] for name in (x, *sides)})


def everywhere(model):
    """A range for every tensor."""
    names = [value.name for node in model.graph.graph for value in node.outputs]
    one = Range(min=-1.0, max=1.0, observed_min=-1.0, observed_max=1.0)
    return dict.fromkeys(["x", *names], one)


@settings(max_examples=40, deadline=None)
@given(places=PLACES, seed=st.integers(0, 9), clear=st.sampled_from([0.5, 2.0]))
def test_islands_part_the_layers_and_the_worth_of_each_decides(places, seed, clear):
    model = graph(places, seed)
    ranges = Ranges(method="minmax", samples=1, tensors=everywhere(model), data_sha256="0" * 64)
    where = dataclasses.replace(context(), target=NUC, reference=model, ranges=ranges)
    quantized = QuantizeStatic(overflow="ignore", weight_clip="none").run(model, where).model
    found = islands(pair(quantized, model), NUC.quantization)
    names = [layer.name for island in found for layer in island.layers]
    assert sorted(names) == sorted({layer.name for layer in pair(quantized, model).layers})
    bad = [i for i in found if i.cost > clear * rates_of(NUC.hardware).saved(i.macs)]
    outcome = DropIslands(clear=clear).run(quantized, where)
    left = {layer.name for layer in pair(outcome.model, model).layers}
    if len(bad) == len(found):
        assert not outcome.changed
    else:
        gone = {layer.name for island in bad for layer in island.layers}
        assert left == set(names) - gone
    # what is left hands integers on as before
    rest = islands(pair(outcome.model, model), NUC.quantization)
    kept = [i for i in found if {x.name for x in i.layers} <= left]
    assert [len(i.layers) for i in rest] == [len(i.layers) for i in kept]
