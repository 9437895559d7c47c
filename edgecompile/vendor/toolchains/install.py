"""Making an isolated environment: venv, one pip command, `pip check`, the imports, and the mark.

An install that fails or is stopped leaves nothing that looks installed: the mark comes last, and
what was made is removed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from edgecompile.diagnostics import EdgecompileError
from edgecompile.diagnostics.catalogue.toolchain import INSTALL_FAILED, WRONG_PLATFORM
from edgecompile.vendor.process import describe_exit, kill_tree
from edgecompile.vendor.toolchains import place
from edgecompile.vendor.toolchains.isolated import probe
from edgecompile.vendor.toolchains.place import Installed
from edgecompile.vendor.toolchains.pythons import Python, find_python
from edgecompile.vendor.toolchains.spec import Toolchain, this_platform

Told = Callable[[str], None]
"""Called with what begins now."""

TIMEOUT_S = 2 * 3600.0
"""For pip, which may download gigabytes."""
_POLL_S = 0.1
_TAIL_BYTES = 16 * 1024
_FOREIGN = ("PYTHON", "VIRTUAL_ENV", "CONDA_", "__PYVENV")
_PLACES = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON", "PIP_CONSTRAINT")
"""Settings of pip that would put packages elsewhere; those of indexes and proxies stay."""


def install(toolchain: Toolchain, *, told: Told, python: str | None = None) -> Installed:
    """The environment of `toolchain`, made unless it is there already.

    `python` names an interpreter instead of the best one found. Two installs at once: the second
    waits and takes what the first has made. Raises EC-523 without a suitable Python, EC-524 on a
    system that it has no packages for, and EC-525 when a stage fails.
    """
    platform = this_platform()
    if toolchain.platforms and platform not in toolchain.platforms:
        wanted = " and ".join(toolchain.platforms)
        raise WRONG_PLATFORM.error(name=toolchain.name, wanted=wanted, platform=platform)
    here = place.find(toolchain)
    if here is not None and python is None:
        return here
    found = find_python(toolchain, python)
    lock = place.lock(toolchain.name)
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        told("waiting for another install")
        held = lock.acquire()
    with held:
        return place.read(toolchain, found.version) or _make(toolchain, found, told)


def _make(toolchain: Toolchain, python: Python, told: Told) -> Installed:
    directory = place.directory_of(toolchain, python.version)
    place.clear(directory)  # of an install that was killed
    _room(toolchain, directory)
    done = False
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as folder:
        run = _Runner(toolchain, Path(folder))
        try:
            told(f"making an environment with Python {python.version}")
            run("venv", [python.executable, "-I", "-m", "venv", str(directory)])
            inside = place.interpreter_in(directory)
            pip = [str(inside), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input"]
            if toolchain.requirements:
                told(f"installing {', '.join(toolchain.requirements)}")
                run("pip", [*pip, "install", "-c", run.constraints(), *toolchain.requirements])
            told("checking it")
            run("pip check", [*pip, "check"])
            versions = _probed(toolchain, inside)
            place.mark(toolchain, python.version, versions)
            done = True
        finally:
            if not done:
                with suppress(OSError):
                    place.clear(directory)
    made = place.read(toolchain, python.version)
    if made is None:
        raise _failed(toolchain, "the last check", f"'{directory}' has changed meanwhile")
    return made


def _probed(toolchain: Toolchain, inside: Path) -> dict[str, str]:
    try:
        return dict(probe(toolchain, inside))
    except EdgecompileError as error:
        failure = _failed(toolchain, "the import check", error.diagnostics[0].message)
        failure.details = error.details
        raise failure from error


def _room(toolchain: Toolchain, directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory.parent).free
    if free < toolchain.size_bytes:
        sizes = f"about {toolchain.size_bytes >> 20} MiB are needed and {free >> 20} are free"
        raise _failed(toolchain, "making room", sizes)


class _Runner:
    """Runs the commands of one install, each killed with its children when we are stopped."""

    def __init__(self, toolchain: Toolchain, folder: Path) -> None:
        self._toolchain = toolchain
        self._folder = folder
        self._log = folder / "log"
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_FOREIGN) and name not in _PLACES
        }

    def constraints(self) -> str:
        """A file with the locked versions."""
        path = self._folder / "constraints.txt"
        path.write_text("".join(f"{pin}\n" for pin in self._toolchain.locked), encoding="utf-8")
        return str(path)

    def __call__(self, stage: str, command: Sequence[str]) -> None:
        """Raises EC-525 with the tool's own words when `command` fails."""
        with self._log.open("wb") as log:
            try:
                process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._folder,
                    env=self._environment,
                    start_new_session=True,
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
            except OSError as error:
                raise _failed(self._toolchain, stage, str(error.strerror)) from error
            try:
                self._wait(process, stage)
            finally:
                kill_tree(process)
        if process.returncode != 0:
            raise self._error(stage, describe_exit(process.returncode))

    def _wait(self, process: subprocess.Popen[bytes], stage: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while process.poll() is None:
            if time.monotonic() > deadline:
                raise self._error(stage, f"no end within {TIMEOUT_S:g} s")
            time.sleep(_POLL_S)

    def _error(self, stage: str, otherwise: str) -> EdgecompileError:
        text = self._log.read_bytes()[-_TAIL_BYTES:].decode("utf-8", errors="replace").strip()
        said = [line for line in text.splitlines() if line.startswith("ERROR: ")]
        if said:
            reason = said[-1].removeprefix("ERROR: ")
        else:
            reason = text.splitlines()[-1].strip() if text else otherwise
        error = _failed(self._toolchain, stage, reason)
        error.details = text
        return error


def _failed(toolchain: Toolchain, stage: str, reason: str) -> EdgecompileError:
    return INSTALL_FAILED.error(name=toolchain.name, stage=stage, reason=reason.rstrip("."))
