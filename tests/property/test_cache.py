"""Whatever ran before, a build from the cache equals a cold one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.ir.save import to_bytes
from edgecompile.passes.base import Need, Pass
from edgecompile.passes.cached_step import Surroundings
from edgecompile.passes.lazy import Lazy
from edgecompile.passes.pipeline import PipelineResult, run_pipeline
from edgecompile.store import Store
from edgecompile.store.keys import canonical, key_of
from edgecompile.targets.catalogue import load_target
from tests.support.toys import (
    DropRelu,
    MakeArtifact,
    Measure,
    ScaleWeights,
    ToyStep,
    UseRanges,
    toy,
)

Recipe = tuple[Pass, ...]

factors = st.sampled_from([0.5, 1.0, 2.0])
operations = st.one_of(
    st.builds(ScaleWeights, factor=factors),
    st.builds(Measure, width=factors),
    st.builds(UseRanges),
    st.builds(MakeArtifact),
    st.builds(DropRelu),
)


def sound(recipe: list[Pass]) -> bool:
    """Ranges are made before they are used, and the Relu is dropped once."""
    made = False
    for operation in recipe:
        if Need.RANGES in operation.needs and not made:
            return False
        made = made or isinstance(operation, Measure)
    return sum(isinstance(o, DropRelu) for o in recipe) <= 1


recipes = st.lists(operations, min_size=1, max_size=5).filter(sound).map(tuple)
scales, datas = st.sampled_from([1.0, 4.0]), st.sampled_from("ab")
builds = st.lists(st.tuples(recipes, scales, datas), max_size=4)


def run(recipe: Recipe, scale: float, data: str, store: Store | None, root: Path) -> PipelineResult:
    workdir = Path(tempfile.mkdtemp(dir=root))
    model = toy(workdir, scale)
    samples: Lazy[Any] = Lazy(data * 64, lambda: ["sample"])
    steps = [ToyStep(label=f"{o.id}#{i}", operation=o) for i, o in enumerate(recipe)]
    around = Surroundings(
        origin=model.origin, target=load_target("intel-nuc"), workdir=workdir, data=samples
    )
    return run_pipeline(steps, Lazy.known(model.digest, model), around, store=store)


def outcome(result: PipelineResult) -> dict[str, Any]:
    """Everything that a build takes from the passes."""
    state = result.state
    artifact = state.artifact.get() if state.artifact else None
    return {
        "model": to_bytes(state.model.get()),
        "digest": (state.model.digest, state.model.get().digest),
        "ranges": state.ranges and (state.ranges.digest, state.ranges.get()),
        "artifact": artifact and (artifact.read_bytes(), artifact.with_suffix(".bin").read_bytes()),
        "notes": [(s.label, s.changed, s.notes, s.summary, s.ops_after) for s in result.steps],
    }


@settings(max_examples=25, deadline=None)
@given(before=builds, recipe=recipes, scale=scales, data=datas)
def test_a_cached_build_equals_a_cold_one(
    before: list[tuple[Recipe, float, str]], recipe: Recipe, scale: float, data: str
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        store = Store(root / "cache")
        for earlier in before:
            run(*earlier, store, root)
        cold = run(recipe, scale, data, None, root)
        warm = run(recipe, scale, data, store, root)
        again = run(recipe, scale, data, store, root)
        assert outcome(warm) == outcome(cold)
        assert outcome(again) == outcome(cold)
        assert all(step.cached for step in again.steps)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), json_values), st.randoms())
def test_the_order_of_keys_does_not_matter(material: dict[str, Any], random: Any) -> None:
    items = list(material.items())
    random.shuffle(items)
    assert canonical(dict(items)) == canonical(material)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), json_values), st.dictionaries(st.text(), json_values))
def test_different_materials_have_different_keys(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert (key_of(one) == key_of(two)) == (canonical(one) == canonical(two))
