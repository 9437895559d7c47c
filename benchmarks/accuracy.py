"""`python -m benchmarks.accuracy [MODEL ...]`: the zoo table, ours and the peers', in one run.

Every artifact is made in one child process and evaluated in others: as this machine runs it, in
exact arithmetic, and, for OpenVINO on a CPU with VNNI, as a CPU without would run it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import contest, machine
from benchmarks.contest import Made, Way
from benchmarks.measure import ChildFailedError, run_function
from benchmarks.metrics import TASKS
from benchmarks.runtimes import SATURATING
from benchmarks.table import Table, write
from benchmarks.zoo.provide import provide
from benchmarks.zoo.store import NotFetchedError

HERE = Path(__file__).resolve().parent
SETS = {"int8": contest.STATIC, "int8-weights": contest.WEIGHTS_8BIT, "int4": contest.WEIGHTS_4BIT}
COST = ("CPU s", "of it proof", "wall s", "peak MB", "size MB", "CPU ms/inference")


def main() -> int:
    """Exit code 1 when one of ours failed or a model cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("model", nargs="*", help=f"of {', '.join(TASKS)}; default: all")
    parser.add_argument("--set", choices=SETS, action="append", dest="sets", help="default: int8")
    parser.add_argument("--recipe", action="append", default=[], help="more of ours, by recipe")
    parser.add_argument("--ours", action="store_true", help="leave the peers out")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    unknown = sorted(set(options.model) - set(TASKS))
    if unknown:
        parser.error(f"no model is called {', '.join(unknown)}; there are {', '.join(TASKS)}")
    ways = [way for name in options.sets or ["int8"] for way in SETS[name]]
    ways += [Way(name=f"edgecompile {recipe}", recipe=recipe) for recipe in options.recipe]
    if options.ours:
        ways = [way for way in ways if way.ours]
    facts, tables, failed = machine.describe(), [], False
    for name in options.model or TASKS:
        try:
            table, broken = compete(name, ways)
        except NotFetchedError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
            continue
        print(table.markdown(), flush=True)
        tables.append(table)
        failed |= broken
    label = "-".join(["accuracy", *(options.sets or []), *options.model])
    write(tables, options.results / label, facts)
    return int(failed)


def compete(name: str, ways: Sequence[Way]) -> tuple[Table, bool]:
    """All `ways` on one model, and whether one of ours failed."""
    model, data = provide(name)
    columns = TASKS[name].columns
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "reference.npz"
        common = {
            "name": name,
            "model": str(model),
            "data": str(data),
            "reference": str(reference),
        }
        plain = Path(folder) / "float.xml"
        first = _evaluate(model, common)
        run_function("benchmarks.peers:float_ir", model=str(model), output=str(plain))
        rows = [_row("FP32, onnxruntime", "", columns, first, size=model.stat().st_size / 1e6)]
        rows.append(_row("FP32, openvino", "", columns, _evaluate(plain, common)))
        notes, broken = [], False
        for way in ways:
            print(f"{name}: {way.name} ...", file=sys.stderr, flush=True)
            try:
                made = contest.make(way, name, model, data, Path(folder) / "artifact")
                found = _arithmetics(made, common)
            except ChildFailedError as error:
                rows.append([way.name, "FAILED", *[None] * (len(columns) + len(COST))])
                notes.append(f"{way.name}: {str(error)[-300:]}")
                broken |= way.ours
                continue
            for arithmetic, result in found.items():
                cost = made if arithmetic == next(iter(found)) else None
                rows.append(_row(way.name, arithmetic, columns, result, made=cost))
            if made.note:
                notes.append(f"{way.name}: {made.note}")
    title = f"{name} ({len(list((data / 'calibration').glob('*.npz')))} calibration samples)"
    heads = ["method", "arithmetic", *columns, *COST]
    return Table(title=title, columns=heads, rows=rows, notes=notes), broken


def _arithmetics(made: Made, common: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The artifact as it runs here, exactly, and saturating where that is another thing."""
    found = {"as run": _evaluate(made.path, common)}
    if made.path.suffix == ".xml" and machine.has_vnni():
        found["saturating"] = _evaluate(made.path, common, environment=SATURATING)
    found["exact"] = _evaluate(made.path, common, exact=True)
    return found


def _evaluate(
    artifact: Path, common: dict[str, Any], *, exact: bool = False, environment: Any = None
) -> dict[str, Any]:
    before = dict(os.environ)
    os.environ.update(environment or {})
    try:
        arguments = {"artifact": str(artifact), "exact": exact, **common}
        result = run_function("benchmarks.contest:evaluate", **arguments).result
    finally:
        os.environ.clear()
        os.environ.update(before)
    scores: dict[str, Any] = result
    return scores


def _row(
    method: str,
    arithmetic: str,
    columns: Sequence[str],
    result: dict[str, Any],
    *,
    made: Made | None = None,
    size: float | None = None,
) -> list[Any]:
    cost: list[Any] = [None, None, None, None, size]
    if made is not None:
        peak = made.cost.peak_rss_bytes / 1e6
        cost = [made.cost.cpu_s, made.proof_s, made.cost.wall_s, peak, made.megabytes]
    values = [result["scores"].get(name) for name in columns]
    return [method, arithmetic, *values, *cost, result["cpu_ms"]]


if __name__ == "__main__":
    sys.exit(main())
