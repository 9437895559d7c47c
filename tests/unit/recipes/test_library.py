"""Finding recipes, and refusing those that a target cannot honour."""

from pathlib import Path

import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.passes.base import Context
from edgecompile.passes.registry import all_passes
from edgecompile.recipes import (
    json_schema,
    load_recipe,
    read_recipe,
    shipped_recipes,
    with_shapes,
)
from edgecompile.targets.catalogue import all_targets, load_target
from tests.support.models import apply, attention, operators
from tests.support.recipe_passes import PASSES

NUC = load_target("intel-nuc")
TEXT = "schema: edgecompile/recipe@1\nname: mine\nsteps:\n  - pass: observe\n  - pass: shrink\n"


def _problem(call):
    with pytest.raises(EdgecompileError) as caught:
        call()
    (diagnostic,) = caught.value.diagnostics
    assert caught.value.exit_code == 2
    return diagnostic


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipe_is_valid_and_fits_every_target_that_names_it(name):
    recipe = read_recipe(name)
    assert recipe.name == name
    assert recipe.description
    for target in all_targets().values():
        if target.recipe == name:
            assert load_recipe(name, target).sha256 == recipe.sha256


@pytest.mark.parametrize(
    ("name", "target_id"),
    [
        ("myriad-fp16", "ncs2"),
        ("ort-int8-per-tensor", "ryzen-ai-phoenix"),
        ("vitisai-bf16", "ryzen-ai-strix"),
    ],
)
def test_accelerators_of_fixed_shapes_get_no_arithmetic_on_shapes(name, target_id):
    target = load_target(target_id)
    recipe = with_shapes(load_recipe(name, target), ["ids=1x6"])
    model = attention()
    for step in recipe.steps:
        if step.operation.needs or step.operation.lossy:
            break
        model = apply(step.operation, model, Context(target=target)).model
    assert not {"Shape", "Concat", "Unsqueeze"} & set(operators(model))


def test_the_recipes_of_this_version():
    assert set(shipped_recipes()) >= {
        "openvino-int8", "openvino-int8-nncf", "openvino-fp16", "openvino-int8-weights",
        "openvino-int4-weights",
    }  # fmt: skip
    assert {t.recipe for t in all_targets().values()} <= set(shipped_recipes())


def test_unknown_name_offers_the_nearest(tmp_path, monkeypatch):
    problem = _problem(lambda: load_recipe("openvino-int", NUC))
    assert problem.code == "EC-230"
    assert "'openvino-int8'" in problem.hints[0]
    monkeypatch.chdir(tmp_path)
    Path("mine").write_text(TEXT)
    assert "./mine" in _problem(lambda: load_recipe("mine", NUC)).hints[0]


def test_a_file_by_path(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(TEXT)
    recipe = load_recipe(str(path), NUC, passes=PASSES)
    assert recipe.source == path
    assert recipe.steps[0].where.file == path.as_posix()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "No such file"),
        (lambda p: p.mkdir(), "directory"),
        (lambda p: p.write_bytes(b"name: \xff"), "byte 6 is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, make, says):
    path = tmp_path / "r.yaml"
    make(path)
    problem = _problem(lambda: load_recipe(str(path), NUC))
    assert problem.code == "EC-231"
    assert says in problem.message


def test_a_step_that_the_target_cannot_take_is_refused_by_name_and_line(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(TEXT)
    bare = NUC.model_copy(update={"quantization": None})
    problem = _problem(lambda: load_recipe(str(path), bare, passes=PASSES))
    assert (problem.code, problem.where.line, problem.where.column) == ("EC-236", 5, 11)
    assert "step 'shrink' cannot be done for 'intel-nuc'" in problem.message
    path.write_text(TEXT + "    opset: 99\n")
    problem = _problem(lambda: load_recipe(str(path), NUC, passes=PASSES))
    assert "opset 99 is above" in problem.message


def test_a_step_without_the_ranges_that_it_needs_is_refused_by_line(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(TEXT.replace("  - pass: observe\n", ""))
    problem = _problem(lambda: load_recipe(str(path), NUC, passes=PASSES))
    assert (problem.code, problem.where.line) == ("EC-237", 4)


def test_real_quantizers_do_not_fit_a_target_without_a_style(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(TEXT.replace("observe", "calibrate").replace("shrink", "quantize_static"))
    bare = NUC.model_copy(update={"quantization": None})
    with pytest.raises(EdgecompileError) as caught:
        load_recipe(str(path), bare)
    assert [(d.code, d.where.line) for d in caught.value.diagnostics] == [
        ("EC-236", 4), ("EC-236", 5),
    ]  # fmt: skip


def test_a_rule_that_a_pass_raises_gets_the_steps_place(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        TEXT.replace("observe", "calibrate\n    method: entropie").split("  - pass: s")[0]
    )
    problem = _problem(lambda: load_recipe(str(path), NUC))
    assert problem.where.line == 4
    assert "entropie" in problem.message


def test_json_schema_has_one_alternative_per_pass_with_its_options():
    schema = json_schema(PASSES)
    assert [a["$ref"] for a in schema["properties"]["steps"]["items"]["oneOf"]] == [
        "#/$defs/observe", "#/$defs/shrink",
    ]  # fmt: skip
    observe = schema["$defs"]["observe"]
    assert observe["properties"]["pass"] == {"const": "observe"}
    assert observe["properties"]["samples"]["minimum"] == 1
    assert observe["properties"]["method"]["description"] == "How."
    assert observe["additionalProperties"] is False
    assert observe["required"] == ["pass"]
    assert "shrink.Bound" in schema["$defs"]


def test_json_schema_resolves_every_reference():
    schema = json_schema()

    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    names = {r.removeprefix("#/$defs/") for r in references(schema)}
    assert names <= set(schema["$defs"])
    assert set(all_passes()) <= set(schema["$defs"])
