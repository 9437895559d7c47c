"""The wheel: made here, unpacked elsewhere, and used from there."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.cli import ROOT, run_process


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (built,) = folder.glob("*.whl")
    return built


def test_it_carries_recipes_targets_and_the_makefile_rules(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for recipe in (ROOT / "recipes").glob("*.yaml"):
        assert f"edgecompile/recipes/builtin/{recipe.name}" in names
    for target in (ROOT / "edgecompile/targets/data").glob("*.yaml"):
        assert f"edgecompile/targets/data/{target.name}" in names
    data = [
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "edgecompile").rglob("*")
        if p.is_file() and p.suffix not in (".pyc",)
    ]
    assert sorted(set(data) - names) == []
    assert {"edgecompile/edgecompile.mk", "edgecompile/py.typed"} <= names


def test_it_carries_nothing_else(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edgecompile"}
    assert wheel.stat().st_size < 2_000_000


def test_it_works_from_where_it_is_unpacked(wheel, tmp_path, monkeypatch):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    # Run from elsewhere: Python puts the current folder before PYTHONPATH.
    monkeypatch.chdir(tmp_path)
    makefile = run_process("--makefile")
    assert Path(makefile.out.strip()).is_relative_to(tmp_path)
    assert "intel-nuc" in run_process("targets").out
    assert "openvino-int8" in run_process("recipes").out
