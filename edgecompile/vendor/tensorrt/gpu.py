"""Which GPUs this machine has: asked of the driver in a guarded process, and only where one is."""

from __future__ import annotations

import ctypes
import functools
import tempfile
from pathlib import Path
from typing import Any

from edgecompile.diagnostics import EdgecompileError
from edgecompile.vendor.guarded import run_guarded
from edgecompile.vendor.worker import Session

_NODES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu/igpu0/ctrl", "/dev/dxg")
"""What the drivers of PCs, Jetsons and WSL leave in /dev."""
_MAJOR, _MINOR = 75, 76
_TIMEOUT_S = 30.0


@functools.cache
def gpu_capabilities() -> tuple[str, ...]:
    """Compute capability of each GPU, such as `8.7`; empty without a GPU or its driver."""
    if not driver_is_here():
        return ()
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        try:
            found = run_guarded(
                f"{__name__}:ask", {}, tool="cuda", workdir=Path(scratch), timeout_s=_TIMEOUT_S
            )
        except EdgecompileError:
            return ()
    return tuple(found["capabilities"])


def driver_is_here() -> bool:
    """Whether a driver of NVIDIA's has left a device node."""
    return any(Path(node).exists() for node in _NODES)


def ask(payload: dict[str, Any], session: Session) -> dict[str, Any]:
    """Worker: what the CUDA driver says. Raises `OSError` without one."""
    del payload, session
    cuda = ctypes.CDLL("libcuda.so.1")
    if cuda.cuInit(0):
        return {"capabilities": []}
    count = ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    return {"capabilities": [_capability(cuda, index) for index in range(count.value)]}


def _capability(cuda: ctypes.CDLL, index: int) -> str:
    parts = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, index)
        parts.append(str(value.value))
    return ".".join(parts)
