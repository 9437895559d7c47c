"""What machine and which versions the figures come from."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

FLAGS = ("avx2", "avx_vnni", "avx512_vnni", "amx_int8", "avx512_bf16")
LIBRARIES = ("edgecompile", "onnxruntime", "openvino", "nncf", "onnx", "onnx-ir", "numpy")


def describe() -> dict[str, str]:
    """CPU, memory, load and versions, as lines for a report."""
    return {
        "cpu": f"{_cpu_name()}, {os.cpu_count()} cores, {' '.join(_flags()) or 'flags unknown'}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "load average at the start": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {_version(name)}" for name in LIBRARIES),
    }


def has_vnni() -> bool:
    """Whether this CPU multiplies u8 by s8 without 16-bit saturation."""
    return any("vnni" in flag for flag in _flags())


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _cpu_name() -> str:
    return _cpuinfo().get("model name", platform.processor() or platform.machine())


def _flags() -> list[str]:
    present = set(_cpuinfo().get("flags", "").split())
    return [flag for flag in FLAGS if flag in present]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
