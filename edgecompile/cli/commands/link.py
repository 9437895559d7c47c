"""`edgecompile link`: several builds for one device in one artifact that shares what is equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecompile.cli import options as o
from edgecompile.cli.common import new_app, replies
from edgecompile.cli.page import Cell, Column, Page
from edgecompile.cli.reply import Reply

if TYPE_CHECKING:
    from edgecompile.artifacts.link import MemberRecord

app = new_app()


def _cosine(member: MemberRecord) -> str:
    if not member.outputs:
        return "not run"
    return f"{min(float(f.cosine) for f in member.outputs.values()):.5f}"


@app.command(rich_help_panel="Compile")
@replies
def link(
    builds: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Two build directories or more.", show_default=False),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to make.", show_default=False),
    ],
    threads: o.ThreadsOption = 1,
) -> Reply:
    """Put the models of one application into one artifact, equal weights stored once.

    Every graph is read back from the artifact. Prints the path of each wrapper.
    """
    from edgecompile.cli.units import bytes_text
    from edgecompile.diagnostics import Diagnostic
    from edgecompile.driver.link import link as run

    done = run(tuple(builds), output, threads=threads)
    manifest = done.manifest
    paths = [str(output / member.wrapper) for member in manifest.members]

    def render(page: Page) -> None:
        for path in paths:
            page.verbatim(path)

    def summary(page: Page) -> None:
        (artifact,) = manifest.artifacts
        alone = sum(member.alone_bytes for member in manifest.members)
        page.table(
            (
                Column("model", style="code"),
                Column("samples", number=True),
                Column("cosine with its quantized model", number=True),
                Column("alone", number=True),
            ),
            [
                (
                    member.name,
                    str(member.samples),
                    _cosine(member),
                    bytes_text(member.alone_bytes),
                )
                for member in manifest.members
            ],
        )
        text = f"{bytes_text(artifact.bytes)} together, {bytes_text(alone)} apart"
        page.line(Cell(f"{artifact.status}: {text}", "good"))

    document = json.loads(manifest.to_text())
    return Reply(
        result={"directory": str(output), "wrappers": paths, "manifest": document},
        render=render,
        summary=summary,
        diagnostics=[Diagnostic.from_json(d.model_dump(mode="json")) for d in manifest.diagnostics],
    )
