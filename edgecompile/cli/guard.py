"""The edge of the process: every way to fail becomes one message and one exit code."""

from __future__ import annotations

import signal
import sys
import threading
from types import TracebackType

from edgecompile.cli.session import Session
from edgecompile.cli.streams import discard
from edgecompile.diagnostics import EdgecompileError, ExitCode

BROKEN_PIPE = 141
"""What a shell reports of a process whose reader went away (128 + SIGPIPE)."""


class Guard:
    """A context that ends every exception; `exit_code` holds what the process should give."""

    def __init__(self, session: Session) -> None:
        """Report through `session`."""
        self.session = session
        self.exit_code: int = ExitCode.OK

    def __enter__(self) -> Guard:
        """Turn a request to terminate into an interruption, so that builds clean up."""

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, interrupt)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Report `error`; nothing gets past, except what cannot be reported."""
        if error is None:
            return True
        self.exit_code = self._report(error)
        return True

    def _report(self, error: BaseException) -> int:
        from edgecompile.cli.usage import as_usage_error

        if isinstance(error, SystemExit):
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error, BrokenPipeError):
            discard(sys.stdout)
            return BROKEN_PIPE
        if isinstance(error, KeyboardInterrupt):
            return self.session.interrupted()
        known = error if isinstance(error, EdgecompileError) else as_usage_error(error)
        if known is None:
            from edgecompile.cli.crash import crash_error

            known = crash_error(error, show=self.session.traceback)
        return self.session.fail(known)
