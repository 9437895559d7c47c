"""Lazy imports, and a bare core: what is loaded when, and what must not be needed."""

from __future__ import annotations

import json
import pkgutil

import pytest

import edgecompile
from edgecompile.cli.app import command_names
from tests.support.cli import run_process

HEAVY = (
    "numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "openvino", "nncf", "PIL",
    "ml_dtypes", "psutil", "pydantic", "ruamel", "sympy",
)  # fmt: skip
OPTIONAL = ("openvino", "nncf", "torch", "tensorrt", "tensorrt_rtx", "onnxruntime_qnn", "sklearn")

LOADED = """
import json, sys
from edgecompile.cli import main
code = main(sys.argv[2:])
heavy = json.loads(sys.argv[1])
print(json.dumps([code, [name for name in heavy if name in sys.modules]]), file=sys.stderr)
"""

BLOCK = """
import importlib.abc, json, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
BLOCKED = set(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Blocker())
"""

IMPORT_ALL = (
    BLOCK
    + """
import importlib
for name in sys.argv[2:]:
    importlib.import_module(name)
print(len(sys.argv) - 2)
"""
)

HELP_ALL = (
    BLOCK
    + """
from edgecompile.cli import main
for name in sys.argv[2:]:
    assert main([*name.split(), "--help"]) == 0, name
"""
)

COMMANDS = ["", *command_names()]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda name: name or "edgecompile")
def test_help_loads_nothing_heavy(command):
    arguments = [*command.split(), "--help"]
    ran = run_process(json.dumps(HEAVY), *arguments, python=("-c", LOADED))
    code, heavy = json.loads(ran.err.splitlines()[-1])
    assert code == 0
    assert "Usage: edgecompile" in ran.out
    assert heavy == []


def modules() -> list[str]:
    walked = pkgutil.walk_packages(edgecompile.__path__, "edgecompile.")
    return sorted(info.name for info in walked if not info.name.endswith("__main__"))


def test_every_module_imports_without_vendor_packages():
    names = modules()
    ran = run_process(json.dumps(OPTIONAL), *names, python=("-c", IMPORT_ALL))
    assert ran.code == 0, ran.err
    assert int(ran.out) == len(names) > 80


def test_every_command_answers_help_without_vendor_packages():
    ran = run_process(json.dumps(OPTIONAL), *command_names(), python=("-c", HELP_ALL))
    assert ran.code == 0, ran.err
    assert ran.out.count("Usage: ") == len(command_names())


BUILD = (
    BLOCK
    + """
from edgecompile.cli import main
sys.exit(main(sys.argv[2:]))
"""
)


def test_the_catalogues_can_be_read_without_vendor_packages():
    for command in ("targets", "recipes", "passes", "explain"):
        ran = run_process(json.dumps(OPTIONAL), command, python=("-c", BUILD))
        assert ran.code == 0, ran.err
        assert len(ran.out.splitlines()) > 2
