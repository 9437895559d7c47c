"""Releases of a device's software: what choosing one changes, and what is refused."""

import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.targets.catalogue import all_targets, facts_sha256, load_target
from edgecompile.targets.operators import operator_table
from edgecompile.targets.stacks import chosen_release, matrix, with_release

STACKED = [t for t in all_targets().values() if t.stack is not None]


def _code(target, stack, release):
    with pytest.raises(EdgecompileError) as caught:
        with_release(load_target(target), stack, release)
    (problem,) = caught.value.diagnostics
    assert problem.hints
    return problem.code


@pytest.mark.parametrize("target", STACKED, ids=lambda t: t.id)
def test_the_facts_of_a_target_are_those_of_its_own_release(target):
    chosen = chosen_release(target)
    assert chosen is not None
    same = with_release(target, target.stack.name, target.stack.release)
    assert (same.opset.min, same.opset.max) == (target.opset.min, target.opset.max)
    assert same.tensorrt == target.tensorrt
    assert same.operators == target.operators
    assert set(target.stack.releases) <= {r.id for r in matrix(target.stack.name).releases}


@pytest.mark.parametrize("name", ["jetpack", "tensorrt"])
def test_every_release_names_its_sources_and_columns_that_exist(name):
    table = matrix(name)
    for release in table.releases:
        assert release.source
        assert set(release.source) <= table.sources.keys()
        for operators, column in release.columns.items():
            assert column in operator_table(operators).columns
    assert {s for r in table.releases for s in r.source} == table.sources.keys()


def test_an_older_jetpack_lowers_opset_library_and_operators():
    orin = load_target("jetson-orin")
    older = with_release(orin, "jetpack", "5.1.2")
    assert (orin.tensorrt.version, older.tensorrt.version) == ("10.3", "8.5")
    assert (orin.opset.max, older.opset.max) == (20, 17)
    assert older.stack.release == "5.1"
    assert older.operators[0].column == "8.5"
    assert facts_sha256(older) != facts_sha256(orin)


def test_releases_that_cannot_be_taken_are_refused():
    assert _code("intel-nuc", "jetpack", "6.2") == "EC-210"
    assert _code("egx-t4", "jetpack", "6.2") == "EC-210"
    assert _code("jetson-nano", "jetpack", "6.2") == "EC-211"
    assert _code("jetson-orin", "jetpack", "9.9") == "EC-211"
    assert _code("jetson-orin", "jetpack", "5.0.2") == "EC-212"
