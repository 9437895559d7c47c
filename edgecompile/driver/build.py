"""`build`: the result of the last build when nothing has changed since, else the whole story."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.diagnostics import ExitCode
from edgecompile.driver.request import BuildRequest
from edgecompile.driver.sink import Sink
from edgecompile.store.location import cache_root
from edgecompile.store.store import Store

if TYPE_CHECKING:
    from edgecompile.artifacts.manifest import Manifest
    from edgecompile.artifacts.report import Report


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """A finished build.

    One that missed a budget or failed verification lies in `<output>.failed`, for a look at its
    report; the output is then as it was, and the exit code is 1.
    """

    directory: Path
    manifest: Manifest
    report: Report
    exit_code: ExitCode


def build(request: BuildRequest, sink: Sink) -> BuildResult:
    """Build the artifact that `request` asks for.

    Raises `EdgecompileError` for everything that a user can cause or mend; then the output is as it
    was, and nothing lies beside it.
    """
    from edgecompile.driver.replay import keep, replay, replay_key

    store = Store(cache_root(request.cache_dir), sink.diagnostic)
    key = replay_key(request, store)
    result = replay(request, key, store, sink) if key is not None else None
    if result is None:
        from edgecompile.driver.story import tell

        result, journal = tell(request, store, sink)
        keep(request, key, store, journal, result)
    return result
