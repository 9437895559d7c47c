"""`edgecompile build`: a model in, a verified artifact out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.cli import options as o
from edgecompile.cli.common import new_app, replies
from edgecompile.cli.page import Cell, Page
from edgecompile.cli.reply import Reply
from edgecompile.cli.session import Session

if TYPE_CHECKING:
    from edgecompile.driver.request import BuildRequest

app = new_app()


@app.command(rich_help_panel="Compile")
@replies
def build(
    session: Session,
    *,
    asked: o.Asked,
    output: o.OutputOption = None,
    budgets: o.BudgetOption = None,
    artifacts: o.ArtifactOption = None,
    require_npu: o.RequireNpuOption = False,
    builder: o.BuilderOption = None,
    dry_run: o.DryRunOption = False,
    locked: o.LockedOption = False,
    no_cache: o.NoCacheOption = False,
    dump_ir: o.DumpIrOption = None,
    verify_each: o.VerifyEachOption = False,
) -> Reply:
    """Build a verified artifact for a device.

    Prints the path of the artifact; progress and the table of figures go to standard error.
    """
    request = asked.request(
        output,
        budgets=tuple(budgets or ()),
        artifacts=tuple(artifacts or ()),
        require_npu=require_npu,
        no_cache=no_cache,
        locked=locked,
        dump_ir=dump_ir,
        verify_each=verify_each,
    )
    return _plan(request, session) if dry_run else _build(request, session, builder)


def _build(request: BuildRequest, session: Session, builder: str | None) -> Reply:
    from edgecompile.cli.render.build import render_build
    from edgecompile.diagnostics import Diagnostic, ExitCode
    from edgecompile.driver.build import build as run
    from edgecompile.driver.remote import proven_on, reachable

    if session.talks:
        recipe = f", recipe {request.recipe}" if request.recipe else ""
        session.err.line(Cell(f"{request.model} for {request.target}{recipe}", "strong"))
    if builder is not None:
        reachable(builder)
    done = run(request, session.sink)
    if builder is not None and done.exit_code is ExitCode.OK:
        done = proven_on(done, builder, told=session.err.line if session.talks else None)
    report = json.loads(done.report.to_text())
    good = done.exit_code is ExitCode.OK
    directory = _shown(done.directory)
    paths = [str(directory / artifact.path) for artifact in done.manifest.artifacts]

    def render(page: Page) -> None:
        for path in paths if good else ():
            page.verbatim(path)

    def summary(page: Page) -> None:
        verbose = session.verbosity > 0
        render_build(page, report, directory, good=good, verbose=verbose)

    return Reply(
        result={"directory": str(directory), "artifacts": paths, "report": report},
        render=render,
        summary=summary,
        summary_last=False,
        exit_code=done.exit_code,
        diagnostics=[Diagnostic.from_json(d) for d in report["diagnostics"]],
    )


def _shown(path: Path) -> Path:
    """`path` from the current folder where it lies below it, as users name it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _plan(request: BuildRequest, session: Session) -> Reply:
    from edgecompile.cli.render.plan import render_plan
    from edgecompile.driver.plan import plan as run

    planned = run(request, session.sink).to_json()

    def render(page: Page) -> None:
        render_plan(page, planned)

    return Reply(result=planned, render=render)
