"""Make a model and its data if they are not there yet: packages, then the model, then samples."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.zoo.catalogue import ZOO
from benchmarks.zoo.fetch import fetch, make_environment
from benchmarks.zoo.store import VARIABLE, NotFetchedError, Places, places

ROOT = Path(__file__).resolve().parents[2]


def is_ready(name: str, where: Places) -> bool:
    """Whether model and data of `name` are there."""
    try:
        where.need(name)
    except NotFetchedError:
        return False
    return True


def provide(name: str) -> tuple[Path, Path]:
    """The ONNX file and the data folder of `name`, made now if need be.

    Raises `NotFetchedError` when a package cannot be had or a step fails.
    """
    where = places()
    if not is_ready(name, where):
        print(f"fetching {name} into {where.root}", file=sys.stderr, flush=True)
        where.root.mkdir(parents=True, exist_ok=True)
        fetch(ZOO[name], where)
        make_environment(where)
        if not where.model(name).exists():
            _inside(where, "benchmarks.zoo.export", name)
        _inside(where, "benchmarks.zoo.prepare", name)
    return where.need(name)


def _inside(where: Places, module: str, name: str) -> None:
    """Run a module of ours with the interpreter of the environment."""
    environment = {**os.environ, VARIABLE: str(where.root), "PYTHONPATH": str(ROOT)}
    command = [str(where.python), "-m", module, name]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=sys.stderr, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise NotFetchedError(f"{module} failed with exit code {done.returncode}")
