"""What holds for every file: size, no loose ends, nothing of the machine it was written on."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = sorted(
    p for top in ("edgecompile", "benchmarks", "examples") for p in (ROOT / top).rglob("*.py")
)
PACKAGE = [p for p in CODE if p.is_relative_to(ROOT / "edgecompile")]

# Spelt in two halves, so that this file does not find itself.
LOOSE_ENDS = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|raise NotImpl" + r"ementedError")
MACHINE_PATHS = re.compile(r"(?<![\w.~])/(wo" + r"rk|ro" + r"ot|tm" + r"p|home/\w+)/")
REGISTRIES = re.compile(r"py" + r"pi\.org|python" + r"hosted|npm" + r"js|artif" + r"actory", re.I)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked() -> list[Path]:
    """Files of the repository, or of the folder when this is no clone."""
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]
    return [p for p in ROOT.rglob("*") if p.is_file() and ".venv" not in p.parts]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked():
        try:
            found.append((path, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in CODE}


def test_no_file_is_over_400_lines():
    assert [name(p) for p in CODE if len(p.read_text(encoding="utf-8").splitlines()) > 400] == []


def test_no_function_is_over_60_lines(trees):
    long = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > 60
    ]
    assert long == []


def test_nothing_is_left_for_later():
    loose = [
        f"{name(path)}:{number} {line.strip()}"
        for path in CODE
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if LOOSE_ENDS.search(line)
    ]
    assert loose == []


# The worker sends every failure of what it calls to its parent, which decides what it means.
BOUNDARY = {"edgecompile/vendor/worker.py"}


def test_no_handler_swallows_everything(trees):
    blanket = [
        f"{name(path)}:{node.lineno}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
        )
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
        and name(path) not in BOUNDARY
    ]
    assert blanket == []


def test_every_public_name_is_annotated(trees):
    bare = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path, tree in trees.items()
        if path in PACKAGE
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and node.returns is None
    ]
    assert bare == []


def test_no_file_names_a_path_of_somebodys_machine():
    assert [name(path) for path, text in texts() if MACHINE_PATHS.search(text)] == []


def test_no_file_names_a_package_registry():
    assert [name(path) for path, text in texts() if REGISTRIES.search(text)] == []


def test_no_tracked_file_is_over_one_megabyte():
    assert [name(p) for p in tracked() if p.stat().st_size > 1_000_000] == []
