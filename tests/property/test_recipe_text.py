"""Whatever a recipe, a target, an override or a budget says: a value, or an explained error."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgecompile.artifacts.budget import parse
from edgecompile.diagnostics import EdgecompileError
from edgecompile.recipes.document import parse_recipe
from edgecompile.recipes.overrides import apply_overrides
from edgecompile.targets.catalogue import parse_target
from tests.support.recipe_passes import EMITTERS, PASSES

GOOD = (
    "schema: edgecompile/recipe@1\nname: mine\nsteps:\n  - pass: observe\n    samples: 3\n"
    "  - pass: shrink\n    bound: {metric: cosine, at_least: 0.5}\nbudgets:\n  - cosine>=0.99\n"
    "emit: {box-file: {half: true}}\nverify: {samples: 4}\n"
)
RECIPE = parse_recipe(GOOD, "r.yaml", PASSES, EMITTERS)
YAML_PIECES = st.sampled_from(
    ["- ", ": ", "{", "}", "[", "]", "\n", "\n  ", "'", '"', "&a ", "*a", "!!int ", "|\n", "? ",
     "#", "---\n", "...\n", "%YAML 1.1\n",
     "\t", "<<: ", "null", "1e999", ".nan", "0x", "pass", "steps"]
)  # fmt: skip
LOOSE = st.text() | st.lists(YAML_PIECES | st.text(max_size=4), max_size=20).map("".join)


@st.composite
def damaged(draw):
    """`GOOD` with a stretch of it replaced by something else."""
    start = draw(st.integers(0, len(GOOD)))
    stop = draw(st.integers(start, min(len(GOOD), start + 30)))
    return GOOD[:start] + draw(LOOSE) + GOOD[stop:]


def _explained(call):
    """The result, or None after an error that says where and what in our form."""
    try:
        return call()
    except EdgecompileError as error:
        assert error.diagnostics
        for found in error.diagnostics:
            assert found.code.startswith("EC-2")
            assert found.message
            assert found.where.line is None or found.where.line >= 1
        return None


@settings(max_examples=300, deadline=None)
@given(damaged() | LOOSE)
@example("schema: .nan")
@example("steps: [{pass: observe, samples: .inf}]")
@example("%YAML 1.1\n---\na: yes\n")
@example("\ufeffschema: x\n")
@example("a: \ud800")
@example('schema: edgecompile/recipe@1\nname: "\\ud800"\nsteps: [{pass: "\\ud800"}]')
def test_recipe(text):
    recipe = _explained(lambda: parse_recipe(text, "r.yaml", PASSES, EMITTERS))
    if recipe is not None:
        assert len(recipe.sha256) == 64
        assert recipe.to_json()["name"] == recipe.name


@settings(max_examples=100, deadline=None)
@given(LOOSE)
def test_target(text):
    _explained(lambda: parse_target(text, "t.yaml"))


@settings(max_examples=200, deadline=None)
@given(st.builds("{}{}".format, st.sampled_from(["", "observe.samples=", "box-file.half="]), LOOSE))
def test_override(text):
    recipe = _explained(lambda: apply_overrides(RECIPE, [text], emitters=EMITTERS))
    if recipe is not None:
        assert [s.label for s in recipe.steps] == [s.label for s in RECIPE.steps]


@settings(max_examples=200, deadline=None)
@given(st.builds("{}{}".format, st.sampled_from(["", "cosine>=", "top1<="]), st.text()))
def test_budget(text):
    budget = _explained(lambda: parse(text))
    if budget is not None:
        assert parse(str(budget)).metric == budget.metric
