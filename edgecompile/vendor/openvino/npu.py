"""The NPU compiler of OpenVINO: whether it is here, and a worker that compiles with it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from edgecompile.vendor.extras import ToolStatus, versions
from edgecompile.vendor.worker import Session

COMPILER = "openvino-npu-compiler"
_STEM = "openvino_intel_npu_compiler"
_LOADER = "loader"


def npu_compiler() -> Path | None:
    """The library that holds the compiler, if the installed OpenVINO has it; imports nothing."""
    try:
        found = files("openvino") or []
    except PackageNotFoundError:
        return None
    for file in found:
        if _STEM in file.name and _LOADER not in file.name:
            return Path(str(file.locate()))
    return None


def compiler_status() -> ToolStatus:
    """The compiler as a line of `edgecompile toolchain doctor`."""
    found = npu_compiler()
    return ToolStatus(
        name=COMPILER,
        purpose="compiles blobs for Intel's NPU (openvino-blob-npu); without it the device does",
        present=found is not None,
        versions={} if found is None else versions("openvino"),
        missing=() if found is not None else (COMPILER,),
        install="on Windows: pip install 'edgecompile[openvino]'; the wheel for Linux has none",
        directory="" if found is None else str(found.parent),
    )


def compile_blob(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Compile the IR `model` for the NPU that `config` names, and export it to `blob`."""
    import openvino as ov

    del session
    core = ov.Core()
    compiled = core.compile_model(core.read_model(payload["model"]), "NPU", payload["config"])
    Path(payload["blob"]).write_bytes(compiled.export_model())
    return {}
