"""Qualcomm's Cloud AI SDK: where its compiler is, and a worker that runs it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from edgecompile.vendor.extras import ToolStatus
from edgecompile.vendor.worker import Session

SDK = "qaic-sdk"
COMPILER = "qaic-exec"
PLACE = Path("/opt/qti-aic/exec/qaic-exec")


def find_compiler() -> Path | None:
    """`qaic-exec` on PATH, or where the SDK puts it."""
    named = shutil.which(COMPILER)
    if named is not None:
        return Path(named)
    return PLACE if PLACE.is_file() else None


def sdk_status() -> ToolStatus:
    """The SDK as a line of `edgecompile toolchain doctor`."""
    compiler = find_compiler()
    return ToolStatus(
        name=SDK,
        purpose="Qualcomm's Cloud AI SDK: compiles a qaic-bundle here, not on the card's host",
        present=compiler is not None,
        versions={} if compiler is None else {COMPILER: _version(str(compiler))},
        missing=() if compiler is not None else (COMPILER,),
        install=f"install the Cloud AI Apps SDK from Qualcomm (Linux x86_64): {PLACE}, or on PATH",
        directory="" if compiler is None else str(compiler.parent),
    )


def compile_model(payload: dict[str, Any], session: Session) -> dict[str, str]:
    """Run each of `commands` in `folder`; the container comes to lie there. Gives the version.

    Raises `RuntimeError` with the last line that the compiler has said when it fails.
    """
    folder = Path(payload["folder"])
    for done, arguments in enumerate(payload["commands"]):
        session.progress(done, len(payload["commands"]))
        ran = subprocess.run(
            [payload["compiler"], *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if ran.returncode:
            said = (ran.stderr.strip() or ran.stdout.strip()).splitlines()
            raise RuntimeError(said[-1] if said else f"it ended with {ran.returncode}")
    made = folder / "qpc" / "programqpc.bin"
    if not made.is_file() or not made.stat().st_size:
        raise RuntimeError("it wrote no programqpc.bin")
    made.rename(folder / "programqpc.bin")
    return {"qaic-exec": _version(payload["compiler"])}


def _version(compiler: str) -> str:
    ran = subprocess.run([compiler, "-v"], capture_output=True, text=True, check=False)
    lines = (ran.stdout + ran.stderr).strip().splitlines()
    return lines[0][:80] if lines else "unknown"
