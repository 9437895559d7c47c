"""Build and prove on a device over SSH: the bundle goes there, engine and report come home.

The folder on the device is named after the kit, so a lost connection goes on where it ended: files
that are there are not sent again, an engine that was built is not built again. When the device has
answered, well or not, nothing of the build is left on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from edgecompile.artifacts.kit import FOLDER, OUTPUTS_FILE, REPORT_FILE
from edgecompile.artifacts.manifest import DiagnosticRecord, Manifest
from edgecompile.artifacts.report import Report
from edgecompile.diagnostics import ExitCode
from edgecompile.diagnostics.catalogue.device import NO_KIT
from edgecompile.diagnostics.catalogue.remote import REMOTE_FAILED
from edgecompile.driver.build import BuildResult
from edgecompile.driver.prove import Proof, prove
from edgecompile.driver.workspace import MANIFEST
from edgecompile.store.files import sha256_of_file
from edgecompile.vendor.ssh import Connection, parse_address

LOG, TIMINGS = "remote.log", "timing.cache"
TOLD = ("layers.json", "profile.json", TIMINGS, "build.log", "built.json")
"""What a kit may leave beside its report and is worth having."""
NOT_NEAR, CANNOT_RUN = 1, 3
"""Exit codes of `prove.py`."""
_NAME = re.compile(r"[\w.+-]+")

_OPEN = (
    'umask 077 && d="${XDG_CACHE_HOME:-$HOME/.cache}/edgecompile/$1" '
    '&& mkdir -p "$d" && cd "$d" && pwd'
)
_DIGESTS = 'cd "$1" && find . -type f -exec sha256sum {} +'
_PUT = 'cd "$1" && mkdir -p "$(dirname "$2")" && cat > "$2.part" && mv "$2.part" "$2"'
_PROVE = 'cd "$1/artifacts/device" && exec python3 prove.py 2>&1'
_GET = 'cd "$1/artifacts/device" && cat -- "$2"'
_HAS = 'cd "$1/artifacts/device" && ls'
_CLOSE = 'cd / && rm -rf -- "$1" && rmdir -- "$(dirname "$1")" 2>/dev/null; :'

Told = Callable[[str], None]


def prove_on(
    directory: Path,
    address: str,
    *,
    told: Told | None = None,
    options: Mapping[str, str] | None = None,
) -> Proof:
    """Let the device at `address` (`ssh://user@host:port`) prove the build in `directory`.

    `options` are settings for ssh. Raises EC-530 to EC-532 when the device cannot be reached,
    EC-533 when it cannot build or run the artifact, EC-670 for a build without a kit, and what
    `prove` raises.
    """
    manifest = Manifest.load(directory / MANIFEST) if (directory / MANIFEST).is_file() else None
    if manifest is None or manifest.kit is None:
        raise NO_KIT.error(directory=directory)
    files = sorted({*manifest.artifacts[0].files, *manifest.kit.files})
    if (directory / FOLDER / TIMINGS).is_file():  # of an earlier build there
        files.append(f"{FOLDER}/{TIMINGS}")
    with Connection(parse_address(address), options=options) as device:
        _, answer = device.run(_OPEN, manifest.kit.sha256[:32])
        place = answer.decode().strip()
        _send(device, place, directory, files)
        code, output = device.run(_PROVE, place, told=told)
        (directory / FOLDER / LOG).write_bytes(output)
        _fetch(device, place, directory / FOLDER)
        device.run(_CLOSE, place)
    if code not in (0, NOT_NEAR):
        lines = output.decode("utf-8", errors="replace").strip().splitlines() or ["no output"]
        log = str(directory / FOLDER / LOG)
        what = "run the artifact" if code == CANNOT_RUN else f"finish prove.py (exit code {code})"
        hints = tuple(hint.replace("{log}", log) for hint in REMOTE_FAILED.fix)
        raise REMOTE_FAILED.error(address=address, what=what, reason=lines[-1][:300], hints=hints)
    return prove(directory)


def reachable(address: str) -> None:
    """Raise what is wrong with the address, or with ssh here, before any work.

    Raises EC-530 and EC-531. Nothing is connected to.
    """
    Connection(parse_address(address))


def proven_on(built: BuildResult, address: str, *, told: Told | None = None) -> BuildResult:
    """`built` with what the device at `address` has proven. Raises what `prove_on` raises.

    What does not hold there makes the exit code 1; the build then stays as it was.
    """
    proof = prove_on(built.directory, address, told=told)
    report = Report.load(built.directory / "report.json")
    told_too = [DiagnosticRecord(**d.to_json()) for d in (*proof.problems, *proof.remarks)]
    report = report.model_copy(update={"diagnostics": (*report.diagnostics, *told_too)})
    if not proof.problems:
        return replace(built, manifest=proof.manifest, report=report)
    return replace(built, report=report, exit_code=ExitCode.REJECTED)


def _send(device: Connection, place: str, directory: Path, files: list[str]) -> None:
    """Copy what is not there yet, or is not the same."""
    _, output = device.run(_DIGESTS, place)
    lines = (line.split(maxsplit=1) for line in output.decode().splitlines())
    there = {PurePosixPath(parts[1]).as_posix(): parts[0] for parts in lines if len(parts) == 2}
    for name in files:
        path = directory / name
        if there.get(PurePosixPath(name).as_posix()) == sha256_of_file(path):
            continue
        with path.open("rb") as stream:
            code, output = device.run(_PUT, place, name, stdin=stream)
        if code:
            reason = " ".join(output.decode(errors="replace").split()) or f"exit code {code}"
            raise REMOTE_FAILED.error(
                address=device.address, what=f"keep '{name}'", reason=reason, hints=()
            )


def _fetch(device: Connection, place: str, folder: Path) -> None:
    """Bring home what the device has made, under names that this side chooses."""
    _, output = device.run(_HAS, place)
    there = set(output.decode(errors="replace").split())
    wanted = [name for name in (REPORT_FILE, OUTPUTS_FILE, *TOLD) if name in there]
    for name in wanted:
        _get(device, place, name, folder / name)
    for name in _built(folder / REPORT_FILE) & there:
        _get(device, place, name, folder / name)


def _get(device: Connection, place: str, name: str, target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    with part.open("wb") as stream:
        code, output = device.run(_GET, place, name, stdout=stream)
    if code:
        part.unlink()
        reason = " ".join(output.decode(errors="replace").split()) or f"exit code {code}"
        what = f"give back '{name}'"
        raise REMOTE_FAILED.error(address=device.address, what=what, reason=reason, hints=())
    part.replace(target)


def _built(report: Path) -> set[str]:
    """Names of the files that the report calls built; those that are no plain names are left."""
    try:
        listed = json.loads(report.read_text(encoding="utf-8"))["built"]
        names = {str(entry["file"]) for entry in listed}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {name for name in names if _NAME.fullmatch(name) and not name.startswith(".")}
