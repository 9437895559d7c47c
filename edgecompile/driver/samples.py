"""Which samples calibrate and which verify, without opening the data when it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgecompile.artifacts.manifest import DataRecord
from edgecompile.diagnostics import Diagnostic
from edgecompile.driver.cached import Journal, told_stage
from edgecompile.driver.files import data_files, name_of, without_folders
from edgecompile.driver.loading import Loaded
from edgecompile.driver.request import BuildRequest
from edgecompile.driver.resolve import Resolved
from edgecompile.passes.lazy import Lazy
from edgecompile.store.code import code_sha256

if TYPE_CHECKING:
    from edgecompile.calibration.dataset import Dataset
    from edgecompile.calibration.split import Split

DATA = "data"


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The two disjoint sets, either of which may be absent."""

    calibrate: Lazy[Dataset] | None
    held_out: Lazy[Dataset] | None
    calibration: DataRecord | None
    evaluation: DataRecord | None
    labelled: bool
    """Whether the samples to verify with have labels."""
    diagnostics: tuple[Diagnostic, ...]


NO_SAMPLES = Samples(
    calibrate=None,
    held_out=None,
    calibration=None,
    evaluation=None,
    labelled=False,
    diagnostics=(),
)


def choose_samples(resolved: Resolved, journal: Journal, loaded: Loaded) -> Samples:
    """Split the data that the request names.

    With data but no step that calibrates, all of it may verify. Raises EC-3xx.
    """
    request = resolved.request
    if request.calibration is None and request.eval is None:
        return NO_SAMPLES
    opened: list[Split] = []
    specs = loaded.specs(resolved.recipe)

    def split() -> Split:
        if not opened:
            opened.append(_open(resolved, loaded))
        return opened[0]

    sources = [source for source in (request.calibration, request.eval) if source is not None]
    files = [path for source in sources for path in data_files(source)]
    params = {
        "code": code_sha256(("calibration",), resolved.memo),
        "calibration": name_of(request.calibration) if request.calibration else None,
        "evaluation": name_of(request.eval) if request.eval else None,
        "inputs": [[s.name, str(s.dtype), s.shape, s.ranked] for s in specs],
        "needed": resolved.needs_data,
        "calibrate": resolved.calibrate_samples,
        "verify": resolved.recipe.verify.samples,
    }
    with told_stage(resolved, journal, DATA) as told:
        facts = resolved.memo.recall("split", files, params, lambda: _facts(split(), request))
        calibrate, held_out = facts["calibrate"], facts["held_out"]
        told.cached = not opened
        told.summary = f"{calibrate['samples']} to calibrate, {held_out['samples']} to verify"
    diagnostics = tuple(map(Diagnostic.from_json, facts["diagnostics"]))
    for diagnostic in diagnostics:
        resolved.sink.diagnostic(diagnostic)
    return Samples(
        calibrate=Lazy(calibrate["sha256"], lambda: split().calibrate, maker=""),
        held_out=Lazy(held_out["sha256"], lambda: split().held_out, maker=""),
        calibration=DataRecord(**calibrate) if resolved.needs_data else None,
        evaluation=DataRecord(**held_out),
        labelled=facts["labelled"],
        diagnostics=diagnostics,
    )


def _open(resolved: Resolved, loaded: Loaded) -> Split:
    from edgecompile.calibration.dataset import open_dataset
    from edgecompile.calibration.sources.described import has_split
    from edgecompile.calibration.split import Split, split, spread

    request, specs = resolved.request, loaded.specs(resolved.recipe)
    source = request.eval
    if source is None and request.calibration and has_split(request.calibration, "evaluation"):
        source = request.calibration
    # Evaluation data that the user names is used to the last sample: task metrics need it.
    verify_n = resolved.recipe.verify.samples if source is None else None
    calibration = evaluation = None
    if request.calibration is not None:
        calibration = open_dataset(request.calibration, specs)
    if source is not None:
        evaluation = open_dataset(source, specs, role="evaluation")
    if calibration is not None and resolved.needs_data:
        wanted = resolved.calibrate_samples
        return split(calibration, evaluation, calibrate_n=wanted, verify_n=verify_n)
    free = evaluation or calibration
    assert free is not None
    held_out = free.subset(spread(len(free), verify_n))
    return Split(calibrate=free.subset([]), held_out=held_out)


def _facts(split: Split, request: BuildRequest) -> dict[str, Any]:
    found = (*split.calibrate.diagnostics, *split.held_out.diagnostics, *split.diagnostics)
    return {
        "calibrate": _record(split.calibrate),
        "held_out": _record(split.held_out),
        "labelled": split.held_out.labelled,
        "diagnostics": [without_folders(d.to_json(), request) for d in dict.fromkeys(found)],
    }


def _record(data: Dataset) -> Mapping[str, Any]:
    return {
        "sha256": data.sha256,
        "samples": len(data),
        "source": name_of(data.source),
        "random": data.random,
    }
