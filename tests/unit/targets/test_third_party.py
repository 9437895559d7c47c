"""Targets and recipes of other packages, and the example of docs/add-a-target.md."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.recipes import library, load_recipe
from edgecompile.targets import catalogue
from edgecompile.targets.catalogue import load_target, parse_target

PAGE = Path(__file__).resolve().parents[3] / "docs" / "add-a-target.md"
EXAMPLE = re.search(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
RECIPE = "schema: edgecompile/recipe@1\nname: box-recipe\nsteps:\n  - pass: simplify\n"
CACHES = (catalogue._files, catalogue._names, catalogue._load, library.shipped_recipes)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Makes a distribution that registers packages of YAML files, and forgets it afterwards."""

    def make(files, points):
        for name, text in files.items():
            path = tmp_path / "example_targets" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        info = tmp_path / "example_targets-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: example-targets\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(points)
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()
        _forget()

    yield make
    monkeypatch.undo()
    _forget()


def _forget():
    for name in [n for n in sys.modules if n.split(".")[0] == "example_targets"]:
        del sys.modules[name]
    for cache in CACHES:
        cache.cache_clear()


def test_the_pages_example_is_a_valid_target():
    target = parse_target(EXAMPLE, "example-box.yaml")
    assert target.id == "example-box"
    assert target.hardware["mem_bw_gbs"].value is None


def test_targets_and_recipes_of_another_package(install):
    example = EXAMPLE.replace("recipe: openvino-int8", "recipe: box-recipe")
    files = {
        "__init__.py": "",
        "example-box.yaml": example,
        "recipes/__init__.py": "",
        "recipes/box-recipe.yaml": RECIPE,
        "recipes/openvino-int8.yaml": "the one that ships wins over this",
    }
    install(
        files,
        "[edgecompile.targets]\nx = example_targets\n"
        "[edgecompile.recipes]\nx = example_targets.recipes\n",
    )
    target = load_target("box")
    assert target.id == "example-box"
    assert load_recipe(target.recipe, target).name == "box-recipe"
    assert load_recipe("openvino-int8", target).name == "openvino-int8"


def test_a_name_that_two_targets_claim(install):
    install(
        {"__init__.py": "", "example-box.yaml": EXAMPLE.replace("[box]", "[nuc]")},
        "[edgecompile.targets]\nx = example_targets\n",
    )
    with pytest.raises(EdgecompileError) as caught:
        load_target("intel-nuc")
    (problem,) = caught.value.diagnostics
    assert problem.code == "EC-204"
    assert all(name in problem.message for name in ("'nuc'", "'example-box'", "'intel-nuc'"))


def test_an_entry_point_that_names_no_package(install):
    install({"__init__.py": ""}, "[edgecompile.targets]\nx = no_such_package_here\n")
    with pytest.raises(EdgecompileError) as caught:
        load_target("intel-nuc")
    (problem,) = caught.value.diagnostics
    assert problem.code == "EC-205"
    assert "no_such_package_here" in problem.message


def test_a_file_that_is_not_named_after_its_id(install):
    install(
        {"__init__.py": "", "other-box.yaml": EXAMPLE},
        "[edgecompile.targets]\nx = example_targets\n",
    )
    with pytest.raises(EdgecompileError) as caught:
        load_target("other-box")
    (problem,) = caught.value.diagnostics
    assert problem.code == "EC-203"
    assert "'example-box'" in problem.message
