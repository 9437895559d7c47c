"""Puts off costly imports of onnx_ir until they are used.

`import onnx_ir` loads sympy, 0.18 s of CPU time, only to do arithmetic on symbolic dimensions. A
cached build never does any. Both modules are wrapped in the standard library's `LazyLoader`: the
first attribute that is read loads them, so nothing changes but the time.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

DEFERRED = ("sympy", "onnx_ir._symbolic_shapes")


class _DeferringFinder:
    """A meta path finder that makes the modules in `DEFERRED` lazy, and no other."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in DEFERRED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


def import_onnx_ir() -> None:
    """Import onnx_ir without the modules that it seldom needs. Does nothing if it is imported."""
    if "onnx_ir" in sys.modules:
        return
    sys.meta_path.insert(0, _DeferringFinder)
    try:
        importlib.import_module("onnx_ir")
    finally:
        sys.meta_path.remove(_DeferringFinder)
