"""`edgecompile check`: what a target would refuse or run elsewhere, before any work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from edgecompile.cli import options as o
from edgecompile.cli.common import new_app, replies
from edgecompile.cli.completion import complete_targets
from edgecompile.cli.page import Cell, Page
from edgecompile.cli.reply import Reply

app = new_app()


@app.command(rich_help_panel="Compile")
@replies
def check(
    *,
    model: o.ModelArgument,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            metavar="TARGET",
            help="Device; 'edgecompile targets' lists them.",
            autocompletion=complete_targets,
            show_default=False,
        ),
    ] = None,
    all_targets: Annotated[
        bool, typer.Option("--all-targets", help="Every device, as a matrix.")
    ] = False,
    shapes: o.ShapeOption = None,
    jetpack: o.JetpackOption = None,
    tensorrt: o.TensorRtOption = None,
    overrides: o.SetOption = None,
) -> Reply:
    """Say what a device would refuse of a model, or run slowly.

    Exit 1 when the target would refuse it, 2 when an option is wrong for the device. With
    --all-targets every device answers, and none of them decides about the exit code.
    """
    from edgecompile.diagnostics.catalogue.usage import BAD_USAGE, MISSING_ARGUMENT

    if all_targets and (target or jetpack or tensorrt or overrides):
        raise BAD_USAGE.error(reason="--all-targets goes with no other choice of a device")
    if target is None and not all_targets:
        raise MISSING_ARGUMENT.error(kind="option", name="--target")
    if target is None:
        return _matrix(model, shapes or ())
    release = o.release_of(jetpack, tensorrt)
    return _one(model, target, shapes=shapes or (), release=release, overrides=overrides or ())


def _matrix(model: Path, shapes: Sequence[str]) -> Reply:
    from edgecompile.cli.render.matrix import render_matrix
    from edgecompile.driver.check import check_all

    verdicts = check_all(model, shapes=shapes)
    return Reply(
        result={"model": model.name, "targets": [verdict.to_json() for verdict in verdicts]},
        render=lambda page: render_matrix(page, verdicts),
    )


def _one(
    model: Path,
    target: str,
    *,
    shapes: Sequence[str],
    release: tuple[str, str] | None,
    overrides: Sequence[str],
) -> Reply:
    from edgecompile.cli.render.diagnostics import render_diagnostics
    from edgecompile.diagnostics import ExitCode, Severity
    from edgecompile.diagnostics.catalogue import exit_code_of
    from edgecompile.driver.check import check as check_against

    found = check_against(model, target, shapes=shapes, release=release, overrides=overrides)
    refused = [d for d in found if d.severity is Severity.ERROR]

    def render(page: Page) -> None:
        render_diagnostics(page, found)
        if found and not refused:
            page.line(Cell(f"'{target}' takes the model, with the remarks above", "good"))
        if not found:
            page.line(Cell(f"'{target}' takes the model, all of it", "good"))

    return Reply(
        result={"model": model.name, "target": target, "accepted": not refused},
        render=render,
        exit_code=exit_code_of(refused) if refused else ExitCode.OK,
        diagnostics=found,
        diagnostics_rendered=True,
    )
