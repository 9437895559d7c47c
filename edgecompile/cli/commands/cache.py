"""`edgecompile cache`: what it holds, why a step ran again, and making room."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecompile.cli import options as o
from edgecompile.cli.common import new_app, replies
from edgecompile.cli.page import Cell, Column, Page
from edgecompile.cli.reply import Reply
from edgecompile.cli.units import bytes_text, parse_age_s, parse_bytes

if TYPE_CHECKING:
    from edgecompile.store.entry import Entry
    from edgecompile.store.history import BuildRecord
    from edgecompile.store.store import Store

HELP = "See what the step cache holds, why a step ran, and make room."
app = new_app(HELP)


def _store(cache_dir: Path | None) -> Store:
    from edgecompile.store.location import cache_root
    from edgecompile.store.store import Store

    return Store(cache_root(cache_dir))


@app.command("list")
@replies
def list_entries(cache_dir: o.CacheDirOption = None) -> Reply:
    """List the results that the cache holds."""
    store = _store(cache_dir)
    entries = list(store.list())
    total = sum(entry.total_bytes for entry in entries)

    def render(page: Page) -> None:
        columns = (
            Column("key", fixed=True, style="code"),
            Column("result of", fixed=True),
            Column("size", number=True),
        )
        rows = [(e.key[:12], _made_by(e), bytes_text(e.total_bytes)) for e in entries]
        if rows:
            page.table(columns, rows)

    def summary(page: Page) -> None:
        page.line(f"{len(entries)} results, {bytes_text(total)}, in {store.root}")

    result = {
        "directory": str(store.root),
        "bytes": total,
        "entries": [
            {"key": e.key, "made_by": _made_by(e), "bytes": e.total_bytes} for e in entries
        ],
    }
    return Reply(result=result, render=render, summary=summary)


def _made_by(entry: Entry) -> str:
    material = entry.material
    return str(material.get("pass") or material.get("emitter") or material.get("kind", ""))


@app.command("why")
@replies
def why(
    output: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Build directory; the last build when left out."),
    ] = None,
    cache_dir: o.CacheDirOption = None,
) -> Reply:
    """Say which steps of the last build ran again, and why."""
    from edgecompile.diagnostics.catalogue.store import CACHE_NO_BUILD
    from edgecompile.store.history import History

    build = History(_store(cache_dir).root / "history").last(output)
    if build is None:
        raise CACHE_NO_BUILD.error(which="" if output is None else f" of '{output}'")

    def render(page: Page) -> None:
        columns = (Column("step", fixed=True, style="code"), Column("", fixed=True), Column("why"))
        page.table(columns, [_why_row(row) for row in _why_json(build)["steps"]])

    return Reply(result=_why_json(build), render=render)


def _why_json(build: BuildRecord) -> dict[str, Any]:
    steps = [
        {"step": s.label, "key": s.key, "cached": s.hit, "reason": s.reason} for s in build.steps
    ]
    return {"build": dict(build.slot), "output": build.output, "steps": steps}


def _why_row(step: dict[str, Any]) -> tuple[str, Cell, str]:
    state = Cell("cached", "good") if step["cached"] else Cell("ran", "warn")
    return step["step"], state, step["reason"]


@app.command("gc")
@replies
def collect(
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="Keep at most this much, such as 5GB."),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="AGE", help="Drop what was not used for 30d, 12h."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Drop everything.")] = False,
    cache_dir: o.CacheDirOption = None,
) -> Reply:
    """Make room: drop the results that were not used for longest.

    Without options only damaged and abandoned files go. What a running build uses stays.
    """
    from dataclasses import asdict

    from edgecompile.store.gc import gc

    max_bytes = 0 if everything else None if max_size is None else parse_bytes(max_size)
    age_s = None if older_than is None else parse_age_s(older_than)
    swept = gc(_store(cache_dir), max_bytes=max_bytes, older_than_s=age_s)

    def render(page: Page) -> None:
        page.line(f"removed {swept.removed} results, {bytes_text(swept.removed_bytes)}")
        page.line(f"kept {swept.kept} results, {bytes_text(swept.kept_bytes)}")
        if swept.in_use:
            page.line(f"{swept.in_use} of those kept are in use by a running build")

    return Reply(result=asdict(swept), render=render)
