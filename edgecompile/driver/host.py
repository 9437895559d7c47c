"""What decides, on this machine, which kernels a runtime picks."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_VECTORS = ("avx", "amx", "asimd", "sve")


def processor() -> Mapping[str, Any]:
    """The machine's architecture, and its vector instructions where the system tells them."""
    flags: list[str] = []
    try:
        with Path("/proc/cpuinfo").open() as lines:
            line = next((at for at in lines if at.startswith(("flags", "Features"))), "")
        flags = sorted(f for f in line.partition(":")[2].split() if f.startswith(_VECTORS))
    except OSError:
        pass
    return {"machine": platform.machine(), "vectors": flags}
