"""`targets`, `recipes`, `passes`, `explain`, `toolchain`: what can be looked up."""

from __future__ import annotations

import json

import pytest

from edgecompile.passes.registry import all_passes
from edgecompile.recipes import read_recipe, shipped_recipes
from edgecompile.targets.catalogue import all_targets
from tests.support.cli import run


@pytest.mark.parametrize("name", all_targets())
def test_a_target_shows_each_figure_with_its_source(capsys, name):
    target = all_targets()[name]
    out = run(capsys, "targets", name).out
    for alias in target.aliases:
        assert run(capsys, "targets", alias).out == out
    for figure, fact in target.hardware.items():
        (line,) = [row for row in out.splitlines() if row.startswith(f"{figure} ")]
        if fact.value is None:
            assert "unknown" in line
        for source in fact.source:
            assert source in line
    for source, page in target.sources.items():
        assert f"{source} " in out
        assert page in out


def test_the_table_of_targets_has_them_all(capsys):
    ran = run(capsys, "targets")
    assert ran.err == "facts, sources and aliases: edgecompile targets NAME\n"
    for name, target in all_targets().items():
        assert any(row.startswith(f"{name} ") for row in ran.out.splitlines())
        assert target.artifacts[0].format in ran.out


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_printed_recipe_is_the_recipe(capsys, tmp_path, name):
    ran = run(capsys, "recipes", name)
    copy = tmp_path / "copy.yaml"
    copy.write_text(ran.out, encoding="utf-8")
    assert ran.err == ""
    assert read_recipe(str(copy)).sha256 == read_recipe(name).sha256


def test_the_schema_of_recipes_is_plain_json(capsys):
    schema = json.loads(run(capsys, "recipes", "--schema").out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(all_passes()) <= set(schema["$defs"])


@pytest.mark.parametrize("name", all_passes())
def test_a_pass_shows_its_options(capsys, name):
    facts = run(capsys, "passes", name, "--format", "json").document["result"]
    out = run(capsys, "passes", name).out
    assert list(all_passes()[name].model_fields) == [o["name"] for o in facts["options"]]
    for option in facts["options"]:
        assert f"  {option['name']}  {option['type']}" in out
        assert option["description"], f"{name}.{option['name']} has no description"
    assert facts["summary"].endswith(".")


@pytest.mark.parametrize("text", ["EC-201", "ec-201", "EC201", "201", "unknown-target"])
def test_a_code_is_found_however_it_is_written(capsys, text):
    ran = run(capsys, "explain", text)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("EC-201  unknown-target")


def test_the_doctor_says_what_a_target_lacks(capsys, monkeypatch):
    assert run(capsys, "toolchain", "doctor", "--target", "intel-nuc").code == 0
    monkeypatch.setattr("edgecompile.vendor.extras.versions", lambda *names: {})
    ran = run(capsys, "toolchain", "doctor", "--target", "intel-nuc")
    assert ran.code == 3
    assert "openvino is not installed" in ran.out
    assert "pip install 'edgecompile[openvino]'" in ran.out
    assert "qnn" not in ran.out
