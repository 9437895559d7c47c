"""`python -m benchmarks [NAME ...]`: run the benchmarks, print the tables, write the results."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks import machine, table
from benchmarks.measure import ChildFailedError
from benchmarks.zoo.store import NotFetchedError

HERE = Path(__file__).resolve().parent


def names() -> list[str]:
    """Every `bench_NAME.py` beside this file."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def main() -> int:
    """Exit code 1 when a benchmark could not run or a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(names())}; default: all")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where to write")
    options = parser.parse_args()
    unknown = sorted(set(options.name) - set(names()))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(names())}")
    facts, tables, failed = machine.describe(), [], []
    for name in options.name or names():
        print(f"bench {name} ...", file=sys.stderr, flush=True)
        try:
            made = importlib.import_module(f"benchmarks.bench_{name}").tables()
        except (ChildFailedError, NotFetchedError) as error:
            print(f"bench {name} failed: {error}", file=sys.stderr)
            failed.append(name)
            continue
        for one in made:
            print(one.markdown(), flush=True)
        tables += made
    stem = "bench" if not options.name else "bench-" + "-".join(options.name)
    table.write(tables, options.results / stem, facts)
    missed = [f.what for one in tables for f in one.figures if f.met is False]
    for what in missed:
        print(f"goal missed: {what}", file=sys.stderr)
    return 1 if failed or missed else 0


if __name__ == "__main__":
    sys.exit(main())
