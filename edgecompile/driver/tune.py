"""`edgecompile tune`: measure a few placements of Q/DQ pairs on the device, and keep the fastest.

Where a pair stands decides which kernels a runtime can fuse, and only the device tells which is
faster. So a few recipes that differ in nothing else are built and proven there, and the fastest
whose outputs are near enough and whose budgets hold is the result. What was measured is written
down after every candidate: an interrupted tuning goes on, and kernel timings go along with it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgecompile.artifacts.kit import FOLDER
from edgecompile.diagnostics import EdgecompileError, ExitCode
from edgecompile.diagnostics.catalogue.remote import NOTHING_TUNED, REMOTE_FAILED
from edgecompile.driver.build import BuildResult, build
from edgecompile.driver.remote import TIMINGS
from edgecompile.driver.request import BuildRequest
from edgecompile.driver.sink import Sink
from edgecompile.ir.load import load
from edgecompile.ir.qdq import integer_products
from edgecompile.store.files import write_atomically
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.schema import QdqStyle

SCHEMA = "edgecompile/tuning@1"
STATE = "tuning.json"
PLACED = ("calibrate", "quantize_static")
"""Steps that must agree about where pairs go."""

Prove = Callable[[BuildResult], BuildResult]
"""Lets the device prove a build; the exit code says whether it held."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One placement: options for the steps that place pairs."""

    name: str
    options: dict[str, Any]

    @property
    def overrides(self) -> tuple[str, ...]:
        """As `--set` takes them; JSON is YAML."""
        return tuple(
            f"{step}.{option}={json.dumps(value)}"
            for step in PLACED
            for option, value in self.options.items()
        )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the device said of one candidate."""

    name: str
    artifact_sha256: str
    latency_ms: float | None
    """Median of one inference; None where the candidate could not be built or did not hold."""
    reason: str = ""
    """Why there is none."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Every candidate, and the build that was kept."""

    measured: tuple[Measured, ...]
    best: Measured
    overrides: tuple[str, ...]
    """What to `--set` to build the best one again."""
    result: BuildResult

    def to_json(self) -> dict[str, Any]:
        """The document `edgecompile/tuning@1`."""
        return {
            "schema": SCHEMA,
            "measured": [asdict(one) for one in self.measured],
            "best": self.best.name,
            "set": list(self.overrides),
            "directory": str(self.result.directory),
        }


def candidates(style: QdqStyle, products: Sequence[str]) -> list[Candidate]:
    """Placements worth a try in `style`; `products` are the integer ones of the base, in order."""
    found = [Candidate(name="recipe", options={})]
    if products:
        ends = list(dict.fromkeys((products[0], products[-1])))
        found.append(Candidate(name="first and last in float", options={"keep_float": ends}))
    more = {
        "residual adds in integers": ("Add",),
        "joins in integers": ("Concat",),
        "pooling in integers": ("AveragePool", "GlobalAveragePool"),
    }
    for name, operators in more.items():
        wanted = [op for op in operators if op in style.carriers]
        if wanted:
            options = {"operators": [*style.operators, *wanted]}
            found.append(Candidate(name=name, options=options))
    if "MatMul" in style.operators:
        found.append(Candidate(name="attention in integers", options={"products": "integer"}))
    return found


def tune(request: BuildRequest, sink: Sink, prove: Prove) -> Tuning:
    """Build and prove the candidates for `request`, and leave the fastest in its output.

    Candidates lie in `<output>.tune`, with what was measured in `tuning.json`. Two that give the
    same bytes are measured once. Raises EC-534 when the target places no pairs or no candidate
    holds; what goes wrong with the connection is raised, and the next call goes on from there.
    """
    style = load_target(request.target).quantization
    if style is None:
        raise NOTHING_TUNED.error(target=request.target, reason="it takes no integers")
    folder = request.output.with_name(f"{request.output.name}.tune")
    folder.mkdir(parents=True, exist_ok=True)
    known = _read(folder / STATE)
    base = build(replace(request, output=folder / "0"), sink)
    tried = candidates(style, integer_products(load(base.directory / "model.onnx")))
    measured: list[Measured] = []
    for number, candidate in enumerate(tried):
        place = folder / str(number)
        one = _measure(request, candidate, place, sink=sink, prove=prove, known=known)
        measured.append(one)
        known[one.artifact_sha256] = one
        _write(folder / STATE, known)
    good = [one for one in measured if one.latency_ms is not None]
    if not good:
        reason = f"no candidate holds: {measured[0].reason}"
        raise NOTHING_TUNED.error(target=request.target, reason=reason)
    best = min(good, key=lambda one: one.latency_ms or 0.0)
    chosen = tried[measured.index(best)]
    overrides = (*request.overrides, *chosen.overrides)
    result = build(replace(request, overrides=overrides), sink)
    return Tuning(measured=tuple(measured), best=best, overrides=chosen.overrides, result=result)


def _measure(
    request: BuildRequest,
    candidate: Candidate,
    output: Path,
    *,
    sink: Sink,
    prove: Prove,
    known: dict[str, Measured],
) -> Measured:
    asked = replace(request, output=output, overrides=(*request.overrides, *candidate.overrides))
    try:
        built = build(asked, sink)
    except EdgecompileError as error:
        if error.exit_code is not ExitCode.REJECTED:
            raise
        message = error.diagnostics[0].message
        return Measured(name=candidate.name, artifact_sha256="", latency_ms=None, reason=message)
    digest = built.manifest.artifacts[0].sha256
    if digest in known:
        return replace(known[digest], name=candidate.name)
    _bring_timings(output)
    try:
        proven = prove(built)
    except EdgecompileError as error:
        if error.diagnostics[0].code != REMOTE_FAILED.code:
            raise  # the device is gone, which says nothing about the candidate
        reason = error.diagnostics[0].message
        return Measured(name=candidate.name, artifact_sha256=digest, latency_ms=None, reason=reason)
    _keep_timings(output)
    proof = proven.manifest.artifacts[0].device
    if proven.exit_code is not ExitCode.OK or proof is None:
        reason = "its outputs or its budgets do not hold on the device"
        return Measured(name=candidate.name, artifact_sha256=digest, latency_ms=None, reason=reason)
    return Measured(name=candidate.name, artifact_sha256=digest, latency_ms=proof.latency_ms.median)


def _bring_timings(output: Path) -> None:
    """Kernel timings of the candidates before make the next engine faster to build."""
    kept = output.parent / TIMINGS
    if kept.is_file():
        shutil.copyfile(kept, output / FOLDER / TIMINGS)


def _keep_timings(output: Path) -> None:
    made = output / FOLDER / TIMINGS
    if made.is_file():
        shutil.copyfile(made, output.parent / TIMINGS)


def _read(path: Path) -> dict[str, Measured]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["measured"]
        return {entry["artifact_sha256"]: Measured(**entry) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write(path: Path, known: dict[str, Measured]) -> None:
    entries = [asdict(one) for one in known.values() if one.artifact_sha256]
    document = {"schema": SCHEMA, "measured": entries}
    write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())
