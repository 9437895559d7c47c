"""One line per isolated toolchain, for `edgecompile toolchain list` and `doctor`."""

from __future__ import annotations

from edgecompile.diagnostics import EdgecompileError
from edgecompile.vendor.extras import ToolStatus
from edgecompile.vendor.toolchains.isolated import probe
from edgecompile.vendor.toolchains.place import Installed, find
from edgecompile.vendor.toolchains.spec import Toolchain, all_toolchains


def statuses(*, ask: bool, only: set[str] | None = None) -> list[ToolStatus]:
    """The state of the isolated toolchains (of `only`, where given), in order of name.

    Starts no process unless `ask`: then each installed one must import what it promises, which can
    take half a minute.
    """
    return [
        _status(toolchain, ask=ask)
        for name, toolchain in all_toolchains().items()
        if only is None or name in only
    ]


def _status(toolchain: Toolchain, *, ask: bool) -> ToolStatus:
    here = find(toolchain)
    names = [pin.split("==")[0] for pin in toolchain.requirements]
    versions = (
        {}
        if here is None
        else {n: here.versions.get(n.lower().replace("_", "-"), "") for n in names}
    )
    answer = _answer(toolchain, here) if ask and here is not None else ""
    return ToolStatus(
        name=toolchain.name,
        purpose=toolchain.purpose,
        present=here is not None and answer in {"", "yes"},
        versions=versions,
        missing=() if here is not None else toolchain.requirements,
        install=f"edgecompile toolchain install {toolchain.name}",
        isolated=True,
        directory="" if here is None else str(here.directory),
        python="" if here is None else here.python,
        answer=answer,
        licence=toolchain.licence,
        size_bytes=toolchain.size_bytes,
        notes=toolchain.notes,
    )


def _answer(toolchain: Toolchain, here: Installed) -> str:
    try:
        probe(toolchain, here.interpreter)
    except EdgecompileError as error:
        return error.diagnostics[0].message
    return "yes"
