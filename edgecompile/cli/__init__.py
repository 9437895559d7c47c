"""The command line: one file per command, one output sink, exit codes that tell the truth.

Nothing here imports numpy or onnx at the top: `edgecompile --help` must stay quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

PROGRAM = "edgecompile"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and give its exit code."""
    from edgecompile.cli.guard import Guard
    from edgecompile.cli.session import Session
    from edgecompile.cli.streams import make_safe

    arguments = list(sys.argv[1:] if argv is None else argv)
    make_safe()
    guard = Guard(Session.sniff(arguments))
    with guard:
        from edgecompile.cli.app import run

        guard.exit_code = run(guard.session, arguments)
    return guard.exit_code


__all__ = ["PROGRAM", "main"]
