"""What loading a model must not import: it is on the way of a cached build."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.protos import linear, write

SCRIPT = """
import sys, pathlib
from edgecompile.ir import load
from edgecompile.ir.facts import input_specs
model = load(pathlib.Path(sys.argv[1]))
model.digest, input_specs(model)
print(" ".join(name for name in sys.argv[2:] if name in sys.modules))
import onnx_ir
print(onnx_ir.SymbolicDim("N") + 1, "mpmath" in sys.modules)
"""
HEAVY = [
    "mpmath",
    "sympy.core",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "onnx.reference",
]


def test_loading_imports_nothing_heavy_and_symbols_still_work(tmp_path: Path) -> None:
    path = write(linear(), tmp_path)
    command = [sys.executable, "-c", SCRIPT, path, *HEAVY]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["", "N + 1 True"]
