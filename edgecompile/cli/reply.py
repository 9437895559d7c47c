"""`Reply`: what a command answers, once for programs and once for people."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgecompile import __version__
from edgecompile.diagnostics import Diagnostic, ExitCode

if TYPE_CHECKING:
    from edgecompile.cli.page import Page


def nothing(page: Page) -> None:
    """Render nothing: the answer is the exit code alone."""
    del page


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The result of a command.

    `result` is the JSON form; `render` writes the same to standard output for people. `summary`
    writes what people want to see on standard error besides, such as the table of a build.
    """

    result: Any
    render: Callable[[Page], None] = nothing
    summary: Callable[[Page], None] = nothing
    summary_last: bool = True
    """Whether the summary comes after the result; progress belongs before it."""
    exit_code: ExitCode = ExitCode.OK
    diagnostics: Sequence[Diagnostic] = ()
    diagnostics_rendered: bool = False
    """True when `render` writes the diagnostics: they are the result, not remarks on it."""


def document(
    command: str, result: object, exit_code: int, diagnostics: Sequence[Diagnostic]
) -> dict[str, Any]:
    """The one JSON document that `--format json` prints, for success and failure alike."""
    return {
        "schema": f"edgecompile/{command}@1",
        "edgecompile": __version__,
        "exit_code": int(exit_code),
        "diagnostics": [d.to_json() for d in diagnostics],
        "result": result,
    }


def to_text(value: object) -> str:
    """Strict JSON: figures that JSON cannot hold are the strings `Infinity`, `-Infinity` and
    `NaN`."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
