"""What `--help` costs over a bare Python, a cached rebuild, and the installed size."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from benchmarks.measure import ROOT, median, run_command
from benchmarks.table import Figure, Table

RUNS = 7
HELP_GOAL_S = 0.2
REBUILD_GOAL_S = 1.0
SIZE_GOAL_MB = 400.0


def tables() -> list[Table]:
    """One table each for start-up, rebuild and size."""
    return [_start(), _rebuild(), _size()]


def _cpu_s(*code: str) -> float:
    """Median CPU seconds of `python CODE`, after one run that fills the disk cache."""
    command = [sys.executable, *code]
    run_command(command)
    return median([run_command(command).cpu_s for _ in range(RUNS)])


def _start() -> Table:
    bare = _cpu_s("-c", "pass")
    libraries = {
        "typer": _cpu_s("-c", "import typer"),
        "typer and rich": _cpu_s("-c", "import typer, rich.console, rich.table, rich.progress"),
    }
    commands = {
        "edgecompile --help": ["--help"],
        "edgecompile build --help": ["build", "--help"],
        "edgecompile --version": ["--version"],
    }
    figures = [
        Figure(
            what=name,
            ours=_cpu_s("-m", "edgecompile", *arguments),
            unit="CPU s",
            floor=bare,
            goal=bare + HELP_GOAL_S,
            peers={f"import {library}": cost for library, cost in libraries.items()},
        )
        for name, arguments in commands.items()
    ]
    return Table(title="Start-up (floor: a bare Python)", figures=figures)


def _rebuild() -> Table:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            *("-m", "edgecompile", "build", str(ROOT / "examples/digits/model.onnx")),
            *("--target", "intel-nuc", "--quiet"),
            *("--calibration", str(ROOT / "calibration_data/digits/calibration.npz")),
            *("--cache-dir", f"{folder}/cache", "-o", f"{folder}/out"),
        ]
        cold = run_command(command)
        warm = [run_command(command) for _ in range(RUNS)]
    peers = {"the first build": cold.wall_s}
    figures = [
        Figure(
            what="identical rebuild, whole process",
            ours=median([run.wall_s for run in warm]),
            unit="s",
            goal=REBUILD_GOAL_S,
            peers=peers,
        ),
        Figure(
            what="identical rebuild, CPU",
            ours=median([run.cpu_s for run in warm]),
            unit="CPU s",
            peers={"the first build": cold.cpu_s},
        ),
    ]
    return Table(title="Cached rebuild of examples/digits", figures=figures)


def _size() -> Table:
    sizes = {name: _installed_bytes(name) / 1e6 for name in core_distributions()}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:6]
    figure = Figure(what="core installed", ours=sum(sizes.values()), unit="MB", goal=SIZE_GOAL_MB)
    note = "largest: " + ", ".join(f"{name} {size:.0f}" for name, size in largest)
    return Table(title="Installed size without extras", figures=[figure], notes=[note])


def core_distributions(roots: Sequence[str] = ("edgecompile",)) -> list[str]:
    """`roots` and everything that they need without any extra, as far as it is installed."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found.add(name)
        for requirement in requirements:
            match = re.match(r"[A-Za-z0-9._-]+", requirement)
            if match and "extra ==" not in requirement:
                waiting.append(re.sub(r"[-_.]+", "-", match[0]).lower())
    return sorted(found)


def _installed_bytes(name: str) -> int:
    files = [Path(str(file.locate())) for file in distribution(name).files or []]
    return sum(file.stat().st_size for file in files if file.is_file())
