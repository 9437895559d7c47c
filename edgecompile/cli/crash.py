"""A crash report: everything needed to mend a bug, and nothing of the user's model."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgecompile import __version__
from edgecompile.diagnostics import EdgecompileError
from edgecompile.diagnostics.catalogue.bug import INTERNAL_ERROR

LIBRARIES = ("onnx", "onnx-ir", "onnxruntime", "onnxscript", "numpy", "openvino")


def crash_error(error: BaseException, *, show: bool) -> EdgecompileError:
    """`error` as EC-900, with a report on disk. `show` prints the traceback as well."""
    trace = "".join(traceback.format_exception(error))
    try:
        hints = (f"the crash report is in {_write(trace)}", *INTERNAL_ERROR.fix)
    except OSError as unwritable:
        hints = (f"no crash report could be written: {unwritable}", INTERNAL_ERROR.fix[-1])
        show = True
    if show:
        sys.stderr.write(trace)
        hints = tuple(hint for hint in hints if "--traceback" not in hint)
    text = str(error).split("\n", 1)[0] or "no message"
    return INTERNAL_ERROR.error(hints=hints, kind=type(error).__name__, text=text)


def _write(trace: str) -> Path:
    lines = [
        f"edgecompile {__version__}",
        f"python {platform.python_version()} on {platform.platform()}",
        *(f"{name} {_version(name)}" for name in LIBRARIES),
        f"arguments: {sys.argv[1:]}",
        "",
        trace,
    ]
    handle, name = tempfile.mkstemp(prefix="edgecompile-crash-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write("\n".join(lines))
    return Path(name)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "is not installed"
