"""`python -m benchmarks.zoo fetch [MODEL ...]`: packages, then models, then data."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.zoo.catalogue import ZOO
from benchmarks.zoo.fetch import fetch, make_environment
from benchmarks.zoo.store import VARIABLE, NotFetchedError, Places, places

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Exit code 1 when a model could not be made."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("command", choices=["fetch", "list"])
    parser.add_argument("model", nargs="*", help=f"of {', '.join(ZOO)}; default: all")
    options = parser.parse_args()
    unknown = sorted(set(options.model) - set(ZOO))
    if unknown:
        parser.error(f"no model is called {', '.join(unknown)}; there are {', '.join(ZOO)}")
    where, failed = places(), False
    for name in options.model or ZOO:
        if options.command == "list":
            print(f"{name}: {'ready' if _ready(where, name) else 'not fetched'}")
            continue
        try:
            _make(where, name)
        except NotFetchedError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
        else:
            print(f"{name}: ready in {where.root}")
    return int(failed)


def _ready(where: Places, name: str) -> bool:
    try:
        where.need(name)
    except NotFetchedError:
        return False
    return True


def _make(where: Places, name: str) -> None:
    if _ready(where, name):
        return
    where.root.mkdir(parents=True, exist_ok=True)
    fetch(ZOO[name], where)
    make_environment(where)
    if not where.model(name).exists():
        _inside(where, "benchmarks.zoo.export", name)
    _inside(where, "benchmarks.zoo.prepare", name)


def _inside(where: Places, module: str, name: str) -> None:
    """Run a module of ours with the interpreter of the environment."""
    environment = {**os.environ, VARIABLE: str(where.root), "PYTHONPATH": str(ROOT)}
    command = [str(where.python), "-m", module, name]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=sys.stderr, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise NotFetchedError(f"{module} failed with exit code {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
