"""Finding a Python of a wanted version: this one, `python3.X` on PATH, or one of pyenv."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edgecompile.diagnostics import EdgecompileError
from edgecompile.diagnostics.catalogue.toolchain import NO_INTERPRETER
from edgecompile.vendor.toolchains.spec import Toolchain

_ASK = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
_ANSWER_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Python:
    """An interpreter that answered."""

    executable: str
    version: str
    """`3.11`."""


def find_python(toolchain: Toolchain, named: str | None = None) -> Python:
    """The interpreter to make the environment with: `named`, or the best that is here.

    Raises EC-523, which says what is wanted and what was found.
    """
    if named is not None:
        found = ask(named)
        if found is None:
            raise _error(toolchain, f"'{named}' does not answer (or lacks venv and ensurepip)")
        if found.version not in toolchain.python:
            raise _error(toolchain, f"'{named}' is Python {found.version}")
        return found
    for version in toolchain.python:
        for executable in _candidates(version):
            found = ask(executable)
            if found is not None and found.version == version:
                return found
    here = ".".join(map(str, sys.version_info[:2]))
    raise _error(toolchain, f"there is none on PATH (this is Python {here})")


def _candidates(version: str) -> list[str]:
    here = ".".join(map(str, sys.version_info[:2]))
    # A virtual environment of a virtual environment works, but not after the first is removed.
    own = [getattr(sys, "_base_executable", sys.executable)] if version == here else []
    on_path = [shutil.which(name) for name in (f"python{version}", "python3", "python")]
    return [*own, *(path for path in on_path if path is not None), *_managed(version)]


def _managed(version: str) -> list[str]:
    """Pythons of this version that pyenv keeps: those that are not on its PATH count too."""
    place = os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv"
    found = Path(place).glob(f"versions/{version}.*/bin/python")
    return sorted(map(str, found), reverse=True)


def ask(executable: str) -> Python | None:
    """The version of `executable`, or None when it does not answer or cannot make environments."""
    try:
        done = subprocess.run(
            [executable, "-I", "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=_ANSWER_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = done.stdout.strip()
    if done.returncode != 0 or not version:
        return None
    return Python(executable=executable, version=version)


def _error(toolchain: Toolchain, found: str) -> EdgecompileError:
    hints = tuple(hint.replace("NAME", toolchain.name) for hint in NO_INTERPRETER.fix)
    wanted = " or ".join(toolchain.python)
    return NO_INTERPRETER.error(hints=hints, name=toolchain.name, wanted=wanted, found=found)
