"""Qualcomm's SDK (QAIRT, once QNN SDK or SNPE) where the user has it: found, never downloaded.

The wheel of onnxruntime-qnn compiles and emulates; the SDK has what runs a DLC, on a device or on
this machine. Its root is named by an environment variable, as its own setup script does.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue.qnn import SDK_ROOT_WRONG
from edgecompile.vendor.extras import ToolStatus

NAME = "qairt-sdk"
ROOTS = ("QAIRT_SDK_ROOT", "QNN_SDK_ROOT", "SNPE_ROOT")
"""Environment variables that name the root, the newest first."""
READERS = ("qairt-dlc-info", "snpe-dlc-info")
"""What prints the content of a DLC."""
TOOLS = ("qnn-net-run", "snpe-net-run", *READERS)
"""What is looked for below `bin/PLATFORM`."""
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:\.\d+)?")


@dataclass(frozen=True, kw_only=True)
class Sdk:
    """An SDK on this machine."""

    root: Path
    version: str
    """Empty when it does not say."""
    tools: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """Tool -> its file for each platform."""

    @property
    def here(self) -> tuple[str, ...]:
        """The tools that this machine can run."""
        return tuple(
            name for name, files in self.tools.items() if any(_fits(f.parent.name) for f in files)
        )


def find_sdk(environment: Mapping[str, str] | None = None) -> Sdk | None:
    """The SDK that `environment` (default: this process's) names; None where there is none."""
    known = os.environ if environment is None else environment
    for variable in ROOTS:
        root = Path(known.get(variable) or "")
        if known.get(variable) and not _problem(root):
            tools = {
                name: tuple(sorted([*root.glob(f"bin/*/{name}"), *root.glob(f"bin/*/{name}.exe")]))
                for name in TOOLS
            }
            present = {name: files for name, files in tools.items() if files}
            return Sdk(root=root, version=_version(root), tools=present)
    return None


def wrong_roots(environment: Mapping[str, str] | None = None) -> dict[str, Diagnostic]:
    """The variables of `environment` (default: this process's) that name no SDK: EC-629 for each.

    Paths stay out of what is said: it comes to stand in the manifest of a build.
    """
    known = os.environ if environment is None else environment
    named = {variable: Path(known[variable]) for variable in ROOTS if known.get(variable)}
    return {
        variable: SDK_ROOT_WRONG.at(variable=variable, problem=problem)
        for variable, root in named.items()
        if (problem := _problem(root))
    }


def found_here() -> dict[str, str]:
    """Version and tools of the SDK, and what is wrong with variables that name none.

    A result from the cache holds where this is what it was.
    """
    sdk = find_sdk()
    found = {} if sdk is None else {"QAIRT": f"{sdk.version} {' '.join(sorted(sdk.here))}"}
    return {**found, **{name: told.message for name, told in wrong_roots().items()}}


def _problem(root: Path) -> str:
    """Why `root` is not that of an SDK; empty when it is."""
    if not root.exists():
        return "it does not exist"
    return "" if (root / "bin").is_dir() else "it has no folder 'bin'"


def _fits(folder: str) -> bool:
    """Whether what lies in `bin/FOLDER` is for this machine, as the kit's runner decides it."""
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    windows = sys.platform == "win32"
    named = folder.startswith(machine) and "android" not in folder
    return named and ("windows" in folder) == windows


def _version(root: Path) -> str:
    """From `sdk.yaml`, or else the name of the folder, which is the version as it is unpacked."""
    described = root / "sdk.yaml"
    text = described.read_text("utf-8", "replace") if described.is_file() else ""
    line = next((x for x in text.splitlines() if x.strip().startswith("version")), "")
    found = _VERSION.search(line) or _VERSION.search(root.resolve().name)
    return found.group() if found else ""


def sdk_status(environment: Mapping[str, str] | None = None) -> ToolStatus:
    """The SDK as a line of `edgecompile toolchain doctor`."""
    sdk = find_sdk(environment)
    return ToolStatus(
        name=NAME,
        purpose="Qualcomm's SDK: reads and emulates a DLC here, and runs it on a device",
        present=sdk is not None,
        versions={} if sdk is None else {"QAIRT": sdk.version or "of unknown version"},
        missing=(NAME,) if sdk is None else tuple(t for t in TOOLS if t not in sdk.tools),
        install=f"install it from Qualcomm and set {ROOTS[0]} to its root",
        directory="" if sdk is None else str(sdk.root),
        problems=tuple(wrong_roots(environment).values()),
    )
