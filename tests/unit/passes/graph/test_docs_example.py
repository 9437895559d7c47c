"""The example of docs/add-a-pass.md works as it stands there, test and entry point included."""

from __future__ import annotations

import re
import tomllib
import types
from pathlib import Path

from edgecompile.passes.base import Pass
from edgecompile.passes.registry import ENTRY_POINTS

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "add-a-pass.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.S)


def module(*sources: str) -> types.ModuleType:
    made = types.ModuleType("drop_abs")
    for source in sources:
        exec(compile(source, "add-a-pass.md", "exec"), vars(made))
    return made


def test_the_tests_on_the_page_pass():
    made = module(*blocks("python"))
    tests = [value for name, value in vars(made).items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_the_recipe_and_the_entry_point_name_the_pass_and_its_options():
    drop_abs = module(blocks("python")[0]).DropAbs
    assert issubclass(drop_abs, Pass)
    (step,) = blocks("yaml")
    assert f"pass: {drop_abs.id}" in step
    assert [field for field in drop_abs.model_fields if f"{field}:" in step] == ["after"]
    (project,) = blocks("toml")
    entry_points = tomllib.loads(project)["project"]["entry-points"]
    assert entry_points == {ENTRY_POINTS: {"drop_abs": "my_package.drop_abs:DropAbs"}}
