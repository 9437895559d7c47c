"""`--set STEP.OPTION=VALUE`."""

import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.recipes.document import parse_recipe
from edgecompile.recipes.overrides import apply_overrides
from edgecompile.targets.catalogue import load_target
from tests.support.recipe_passes import EMITTERS, PASSES, Box

RECIPE = parse_recipe(
    "schema: edgecompile/recipe@1\nname: mine\nsteps:\n"
    "  - pass: observe\n  - pass: shrink\n  - {pass: observe, samples: 3}\n",
    "r.yaml",
    PASSES,
    EMITTERS,
)


def _options(overrides):
    return [
        s["options"]
        for s in apply_overrides(RECIPE, overrides, emitters=EMITTERS).to_json()["does"]["steps"]
    ]


def _problems(*overrides, target=None):
    with pytest.raises(EdgecompileError) as caught:
        apply_overrides(RECIPE, overrides, target, emitters=EMITTERS)
    assert caught.value.exit_code == 2
    return caught.value.diagnostics


def test_values_are_yaml_and_typed():
    first, second, third = _options(
        ["observe.samples=8", "shrink.operators=[Conv, MatMul]", "observe#2.method=entropy",
         "shrink.bound={metric: cosine}"]
    )  # fmt: skip
    assert first == {"method": "minmax", "samples": 8, "table": None}
    assert second["operators"] == ["Conv", "MatMul"]
    assert second["bound"] == {"metric": "cosine", "at_least": 0.0}
    assert third == {"method": "entropy", "samples": 3, "table": None}


def test_the_last_one_wins_and_the_recipe_itself_stays_as_it_was():
    before = RECIPE.sha256
    assert _options(["observe.samples=8", "observe.samples=9"])[0]["samples"] == 9
    assert RECIPE.sha256 == before
    assert apply_overrides(RECIPE, ["observe.samples=8"], emitters=EMITTERS).sha256 != before
    assert apply_overrides(RECIPE, []) == RECIPE


@pytest.mark.parametrize(
    ("text", "code", "says", "hint"),
    [
        ("observe", "EC-240", "'observe' is not of the form", "--set"),
        ("observe.samples", "EC-240", "form", ""),
        ("samples=3", "EC-240", "form", ""),
        (".samples=3", "EC-240", "form", ""),
        ("observ.samples=3", "EC-241", "no step 'observ'", "'observe'"),
        ("observe#3.samples=3", "EC-241", "no step 'observe#3'", "'observe#2'"),
        ("zzz.samples=3", "EC-241", "no step 'zzz'", "observe, shrink, observe#2"),
        ("boxfile.half=true", "EC-241", "no step 'boxfile'", "'box-file'"),
        ("box-file.halv=true", "EC-242", "'box-file' has no option 'halv'", "'half'"),
        ("box-file.half=2", "EC-243", "'2' does not do for 'box-file.half'", ""),
        ("observe.sample=3", "EC-242", "no option 'sample'", "'samples'"),
        ("observe.zzz=3", "EC-242", "no option 'zzz'", "method, samples, table"),
        ("observe.samples=many", "EC-243", "'many' does not do for 'observe.samples'", ""),
        ("observe.samples='8'", "EC-243", "valid integer", ""),
        ("observe.samples=", "EC-243", "integer", ""),
        ("observe.samples=0", "EC-243", "greater than or equal to 1", ""),
        ("observe.method=entropie", "EC-243", "'entropie'", "'entropy'"),
        ("shrink.operators=[Conv", "EC-243", "stream end", ""),
        ("shrink.operators=!!python/name:os.system", "EC-243", "tag", ""),
        ("observe.table=/etc/passwd", "EC-238", "'/etc/passwd'", ""),
    ],
)
def test_a_mistake(text, code, says, hint):
    (problem,) = _problems(text)
    assert problem.code == code
    assert says in problem.message
    assert hint in " ".join(problem.hints)
    assert problem.where.file == "--set"


def test_all_mistakes_are_reported_at_once():
    found = _problems("observ.samples=3", "shrink.opset=x", "shrink.opset=3")
    assert [p.code for p in found] == ["EC-241", "EC-243"]


def test_options_of_a_format():
    changed = apply_overrides(RECIPE, ["box-file.half=true"], emitters=EMITTERS)
    assert changed.emitter("box-file") == Box(half=True)
    assert changed.sha256 != RECIPE.sha256
    back = apply_overrides(changed, ["box-file.half=false"], emitters=EMITTERS)
    assert [e.emitter for e in back.emit] == [Box(half=False)]
    (problem,) = _problems("box-file.half=true", target=load_target("intel-nuc"))
    assert problem.code == "EC-239"
    assert "'intel-nuc' takes no artifacts of the format 'box-file'" in problem.message


def test_an_override_that_the_target_cannot_honour():
    (problem,) = _problems("shrink.opset=99", target=load_target("intel-nuc"))
    assert problem.code == "EC-236"
    assert "above its ceiling of 23" in problem.message
    assert str(problem.where) == "r.yaml:5:11"
