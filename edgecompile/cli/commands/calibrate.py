"""`edgecompile calibrate`: only the ranges, as one JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from edgecompile.cli import options as o
from edgecompile.cli.common import new_app, replies
from edgecompile.cli.completion import complete_targets
from edgecompile.cli.page import Cell, Page
from edgecompile.cli.reply import Reply
from edgecompile.cli.session import Session
from edgecompile.diagnostics.catalogue.usage import BAD_VALUE

ToleranceOption = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        min=0.0,
        max=1.0,
        help="Stop when twice the samples move no range by more than this share of its width.",
    ),
]

SettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="OPTION=VALUE",
        help="An option of the method, such as percentile=99.9.",
    ),
]

ObservedForOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        metavar="TARGET",
        help="Only tensors that this device would quantize. (default: activations at large)",
        autocompletion=complete_targets,
    ),
]

EveryTensorOption = Annotated[
    bool,
    typer.Option(
        "--every-tensor",
        help="Without a target: also what runtimes fuse away, as between Conv and Relu.",
    ),
]

app = new_app()


@app.command(rich_help_panel="Compile")
@replies
def calibrate(
    session: Session,
    *,
    model: o.ModelArgument,
    calibration: o.NeededCalibrationOption,
    method: o.MethodOption = "minmax",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where the ranges go.")
    ] = Path("ranges.json"),
    target: ObservedForOption = None,
    every_tensor: EveryTensorOption = False,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="At most so many. (default: all)")
    ] = None,
    tolerance: ToleranceOption = None,
    settings: SettingsOption = None,
    threads: o.ThreadsOption = 1,
) -> Reply:
    """Measure the ranges of tensors on samples, as a JSON file.

    Prints the path of the file: tensor -> min, max, method and samples.
    """
    from edgecompile.driver.calibrate import calibrate as run

    ranges = run(
        model,
        calibration=calibration,
        method=method,
        options=method_options(settings or ()),
        output=output,
        sink=session.sink,
        samples=samples,
        target=target,
        every_tensor=every_tensor,
        threads=threads,
        tolerance=tolerance,
    )

    def summary(page: Page) -> None:
        if ranges.convergence is not None:
            page.line(str(ranges.convergence))
        for tensor, why in ranges.skipped.items():
            page.line(Cell(f"no range for '{tensor}': {why}", "dim"))

    return Reply(
        result={"output": str(output), "ranges": ranges.to_json()},
        render=lambda page: page.verbatim(str(output)),
        summary=summary,
    )


def method_options(settings: Sequence[str]) -> dict[str, Any]:
    """`OPTION=VALUE` texts as options; values are JSON where they can be. Raises EC-263."""
    options: dict[str, Any] = {}
    for text in settings:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise BAD_VALUE.error(name="--set", reason=f"'{text}' is not of the form OPTION=VALUE")
        try:
            options[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            options[name.strip()] = value
    return options
