"""The optional toolchains: what each is for, whether it is here, and how to get it.

Looks at installed metadata only; nothing is imported before `require` is called.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from edgecompile.diagnostics import Diagnostic, EdgecompileError
from edgecompile.diagnostics.catalogue.toolchain import (
    TOOLCHAIN_BROKEN,
    TOOLCHAIN_MISSING,
    TOOLCHAIN_UNKNOWN,
)
from edgecompile.diagnostics.nearest import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Extra:
    """One optional extra of this package."""

    name: str
    distributions: tuple[str, ...]
    module: str
    """The module to import first."""
    purpose: str


@dataclass(frozen=True, kw_only=True)
class ToolStatus:
    """One line of `edgecompile toolchain doctor`."""

    name: str
    purpose: str
    present: bool
    versions: Mapping[str, str]
    """Installed distributions and their versions."""
    missing: tuple[str, ...]
    """Distributions that are not installed."""
    install: str
    """What to type when something is missing."""
    isolated: bool = False
    """Whether it lives in an environment of its own."""
    directory: str = ""
    """Where that environment is; empty when there is none."""
    python: str = ""
    """Its version of Python."""
    answer: str = ""
    """`yes`, or why it does not answer; empty when nobody asked."""
    licence: str = ""
    size_bytes: int = 0
    """About what it takes, or will take, on disk; 0 where that is not known."""
    notes: tuple[str, ...] = ()
    problems: tuple[Diagnostic, ...] = ()
    """What is wrong with how it is set up."""


_EXTRAS = (
    Extra(
        name="openvino",
        distributions=("openvino", "nncf"),
        module="openvino",
        purpose="OpenVINO IR for Intel CPUs and GPUs, its verification, and NNCF's quantizer",
    ),
    Extra(
        name="qnn",
        distributions=("onnxruntime-qnn",),
        module="onnxruntime_qnn",
        purpose="Qualcomm QNN context binaries",
    ),
    Extra(
        name="tensorrt",
        distributions=("tensorrt",),
        module="tensorrt",
        purpose="TensorRT engines for Jetson and NVIDIA GPUs",
    ),
    Extra(
        name="tensorrt-rtx",
        distributions=("tensorrt-rtx",),
        module="tensorrt_rtx",
        purpose="TensorRT for RTX engines on Windows and Linux PCs",
    ),
)
EXTRAS: Mapping[str, Extra] = {extra.name: extra for extra in _EXTRAS}


def versions(*distributions: str) -> dict[str, str]:
    """Versions of those `distributions` that are installed, without importing them."""
    found = {name: _version(name) for name in distributions}
    return {name: version for name, version in found.items() if version is not None}


@functools.cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def forget_versions() -> None:
    """Look installed versions up again; they are asked for once per process otherwise."""
    _version.cache_clear()


def missing(extra: str) -> Diagnostic | None:
    """EC-500 when `extra` is not installed, else None; nothing is imported (for preflight).

    Raises EC-502 for an unknown extra.
    """
    known = _extra(extra)
    here = versions(*known.distributions)
    absent = [name for name in known.distributions if name not in here]
    if not absent:
        return None
    hints = tuple(hint.replace("EXTRA", extra) for hint in TOOLCHAIN_MISSING.fix)
    return TOOLCHAIN_MISSING.at(hints=hints, extra=extra, missing=", ".join(absent))


def demand(extra: str) -> None:
    """Raise EC-500 when `extra` is not installed; nothing is imported."""
    problem = missing(extra)
    if problem is not None:
        raise EdgecompileError((problem,), TOOLCHAIN_MISSING.exit_code)


def require(extra: str) -> ModuleType:
    """Import the main module of `extra`.

    Raises EC-500 when it is not installed (the message says what to type), EC-501 when it is but
    does not load, EC-502 for an unknown extra.
    """
    demand(extra)
    silence_telemetry()
    module = _extra(extra).module
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        hints = tuple(hint.replace("EXTRA", extra) for hint in TOOLCHAIN_BROKEN.fix)
        raise TOOLCHAIN_BROKEN.error(
            hints=hints, extra=extra, module=module, reason=_first_line(error)
        ) from error


def doctor() -> list[ToolStatus]:
    """The state of every toolchain, in order of name."""
    report = []
    for name, extra in sorted(EXTRAS.items()):
        here = versions(*extra.distributions)
        absent = tuple(d for d in extra.distributions if d not in here)
        report.append(
            ToolStatus(
                name=name,
                purpose=extra.purpose,
                present=not absent,
                versions=here,
                missing=absent,
                install=f"pip install 'edgecompile[{name}]'",
            )
        )
    return report


def silence_telemetry() -> None:
    """Keep OpenVINO and NNCF from reporting their use over the network.

    Both fall back to a stub when the package `openvino_telemetry` cannot be imported, and a None
    in `sys.modules` makes Python say exactly that.
    """
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]


def _extra(name: str) -> Extra:
    if name not in EXTRAS:
        hint = did_you_mean(name, EXTRAS, otherwise=TOOLCHAIN_UNKNOWN.fix[0])
        raise TOOLCHAIN_UNKNOWN.error(hints=(hint, *TOOLCHAIN_UNKNOWN.fix), extra=name)
    return EXTRAS[name]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
