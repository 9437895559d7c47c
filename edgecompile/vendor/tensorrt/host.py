"""NVIDIA's own TensorRT on this machine, as JetPack or its owner installed it: found, never
downloaded. Nothing is started and nothing imported: versions are read from names of files.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecompile.vendor.extras import ToolStatus, versions
from edgecompile.vendor.tensorrt.gpu import driver_is_here

NAME = "tensorrt-host"
PROGRAMS = ("usr/src/tensorrt/bin/trtexec", "usr/bin/trtexec", "opt/tensorrt/bin/trtexec")
"""Where JetPack, Debian packages and containers put it."""
LIBRARIES = ("usr/lib/*-linux-gnu", "usr/lib64", "usr/local/lib", "opt/tensorrt/lib",
             "usr/local/cuda/lib64")  # fmt: skip
_LIBRARY = re.compile(r"libnvinfer\.so\.(\d+\.\d+\.\d+)")
_MODULE = "tensorrt"


@dataclass(frozen=True, kw_only=True)
class Host:
    """What was found; empty texts for what was not."""

    trtexec: str
    """The program that `build.sh` and the bench use."""
    library: str
    """Version of libnvinfer."""
    module: str
    """Version of the Python package, or `yes` where it does not tell."""


def find_host(environment: Mapping[str, str] | None = None, root: Path = Path("/")) -> Host:
    """Look where TensorRT is installed; `TRTEXEC` names another program, as in `build.sh`."""
    known = os.environ if environment is None else environment
    asked = known.get("TRTEXEC", "")
    candidates = (asked, shutil.which("trtexec", path=known.get("PATH", "")) or "")
    programs = [*candidates, *(str(root / name) for name in PROGRAMS)]
    trtexec = next((p for p in programs if p and os.access(p, os.X_OK) and Path(p).is_file()), "")
    folders = [folder for pattern in LIBRARIES for folder in sorted(root.glob(pattern))]
    if trtexec:
        folders.insert(0, Path(trtexec).resolve().parent.parent / "lib")
    return Host(trtexec=trtexec, library=_version(folders), module=_module())


def _version(folders: list[Path]) -> str:
    for folder in folders:
        names = (path.name for path in sorted(folder.glob("libnvinfer.so.*.*.*")))
        found = [match.group(1) for name in names if (match := _LIBRARY.match(name))]
        if found:
            return found[-1]
    return ""


def _module() -> str:
    here = versions(_MODULE)
    if here:
        return here[_MODULE]
    try:
        return "yes" if importlib.util.find_spec(_MODULE) is not None else ""
    except (ImportError, ValueError):
        return ""


def host_status(environment: Mapping[str, str] | None = None, root: Path = Path("/")) -> ToolStatus:
    """TensorRT of this host as a line of `edgecompile toolchain doctor`."""
    host = find_host(environment, root)
    told = {"libnvinfer": host.library, "Python package": host.module}
    if host.trtexec or host.module:
        told["NVIDIA driver"] = "is here" if driver_is_here() else "is not here"
    gone = {"trtexec": host.trtexec, "the Python package tensorrt": host.module}
    return ToolStatus(
        name=NAME,
        purpose="NVIDIA's TensorRT: builds, runs and times engines on this machine's GPU; bundles "
        "for other machines need none",
        present=bool(host.trtexec or host.module),
        versions={name: text for name, text in told.items() if text},
        missing=tuple(name for name, text in gone.items() if not text),
        install="sudo apt install tensorrt (Jetson, Ubuntu with NVIDIA's repository); in a virtual "
        "environment also --system-site-packages; TRTEXEC names a trtexec elsewhere",
        directory=str(Path(host.trtexec).parent) if host.trtexec else "",
    )
