"""`edgecompile prove`: what a device has found, merged into the manifest of its build."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecompile.cli import options as o
from edgecompile.cli.common import new_app, replies
from edgecompile.cli.page import Cell, Column, Page
from edgecompile.cli.reply import Reply
from edgecompile.cli.session import Session

if TYPE_CHECKING:
    from edgecompile.driver.prove import Proof

app = new_app()


@app.command(rich_help_panel="Compile")
@replies
def prove(
    session: Session,
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A build directory with a device kit.", show_default=False
        ),
    ],
    *,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="What the device wrote. (default: DIR/artifacts/device/device-report.json)",
        ),
    ] = None,
    builder: o.BuilderOption = None,
) -> Reply:
    """Merge the report of a device into the build that ran there.

    Run `python3 device/prove.py` on the device first, or let --builder do it. Exit 1 when it does
    not hold.
    """
    from edgecompile.driver.prove import prove as merge

    if builder is not None:
        from edgecompile.driver.remote import prove_on

        proof = prove_on(directory, builder, told=session.err.line if session.talks else None)
    else:
        proof = merge(directory, report)
    return _told(directory, proof)


def _told(directory: Path, proof: Proof) -> Reply:
    """What the device has proven, and what speaks against it."""
    from edgecompile.cli.render.diagnostics import render_diagnostics
    from edgecompile.diagnostics import ExitCode
    from edgecompile.driver.prove import times_of

    artifact = proof.manifest.artifacts[0]
    times = times_of(proof.report)

    def render(page: Page) -> None:
        page.heading(f"{artifact.path} on {proof.report.device.node}")
        page.table(
            (Column("output", style="code"), Column("cosine", number=True), Column("SQNR dB")),
            [
                (name, f"{figures.cosine:.6f}", f"{figures.sqnr_db:.1f}")
                for name, figures in proof.fidelity.outputs.items()
            ],
        )
        latency = proof.report.latency_ms
        page.line(f"{latency.median:.3f} ms per inference there, median of {latency.runs}")
        for name, ms in sorted(times.items()):
            if name != "artifact":
                ratio = ms / times["artifact"]
                page.line(f"{ratio:.2f} times as fast as the same network in {name.upper()}")
        render_diagnostics(page, (*proof.problems, *proof.remarks))
        if not proof.problems:
            page.line(Cell(f"{artifact.status}: {artifact.why}", "good"))

    return Reply(
        result={
            "directory": str(directory),
            "status": artifact.status,
            "proven": not proof.problems,
            "device": proof.report.device.model_dump(mode="json"),
            "runtime": proof.report.runtime,
            "samples": proof.report.samples,
            "latency_ms": proof.report.latency_ms.model_dump(mode="json"),
            "times_ms": times,
            "outputs": {name: vars(f) for name, f in proof.fidelity.outputs.items()},
        },
        render=render,
        exit_code=ExitCode.REJECTED if proof.problems else ExitCode.OK,
        diagnostics=(*proof.problems, *proof.remarks),
        diagnostics_rendered=True,
    )
