"""The device kit of an artifact that cannot be run here in the device's own runtime, cached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.artifacts.kit import (
    FOLDER,
    GOLDEN_FILE,
    KIT_FILE,
    PROVE_FILE,
    DeviceKit,
    KitArtifact,
    KitGolden,
    KitInput,
    prove_script,
)
from edgecompile.artifacts.manifest import KitRecord
from edgecompile.artifacts.types import Artifact, Status
from edgecompile.driver.cached import Journal, Made, cached_stage
from edgecompile.driver.loading import Loaded
from edgecompile.driver.resolve import Resolved
from edgecompile.driver.samples import Samples
from edgecompile.emitters.base import KitScripts
from edgecompile.passes.cached_step import State
from edgecompile.recipes import Recipe
from edgecompile.store.code import code_sha256
from edgecompile.store.files import sha256_of_file
from edgecompile.vendor import versions

if TYPE_CHECKING:
    from edgecompile.calibration.dataset import Dataset
    from edgecompile.verify.golden import Golden

ROOMS = ("ir", "artifacts", "calibration", "emitters", "verify")
LIBRARIES = ("numpy", "onnx", "onnx-ir", "onnxruntime")
SAMPLES = 4
"""Golden samples; fewer where they are large."""


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What a kit is made of."""

    loaded: Loaded
    samples: Samples
    state: State
    artifact: Artifact
    scripts: KitScripts


def write_kit(
    resolved: Resolved,
    journal: Journal,
    *,
    loaded: Loaded,
    samples: Samples,
    state: State,
    artifact: Artifact,
    build: Path,
) -> KitRecord | None:
    """Write the kit of `artifact` into `build`; None where the build itself proves the artifact.

    Raises EC-340 and EC-341 when ONNX Runtime cannot run a model.
    """
    rule = next(rule for rule in resolved.target.artifacts if rule.format == artifact.format)
    if Status(rule.status) is Status.VERIFIED:
        return None
    emitter = next(emitter for emitter in resolved.emitters if emitter.id == artifact.format)
    scripts = emitter.kit(artifact, resolved.target)
    if scripts is None:
        return None
    parts = _Parts(loaded=loaded, samples=samples, state=state, artifact=artifact, scripts=scripts)
    held_out = samples.held_out
    material = {
        "kind": "kit",
        "code": code_sha256(ROOMS, resolved.memo),
        "inputs": {
            "original": loaded.model.digest,
            "model": state.model.digest,
            "artifact": artifact.sha256,
            "samples": held_out.digest if held_out else "random",
        },
        "options": {"files": dict(scripts.files), "options": dict(scripts.options)},
        "target": resolved.target.id,
        "libraries": versions(*LIBRARIES),
    }
    document = cached_stage(
        resolved,
        journal,
        "kit",
        material,
        lambda: _make(resolved, parts, build),
        directory=build,
        makers={"model": state.model.maker, "artifact": f"emit {artifact.format}"},
    )
    return KitRecord(**document)


def _make(resolved: Resolved, parts: _Parts, build: Path) -> Made:
    folder = build / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    golden, random = _golden(resolved, parts, folder / GOLDEN_FILE)
    texts = {**parts.scripts.files, PROVE_FILE: prove_script()}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    kit = _document(resolved, parts, golden, random=random, folder=folder)
    kit.write(folder / KIT_FILE)
    files = tuple(sorted(f"{FOLDER}/{name}" for name in (*texts, GOLDEN_FILE, KIT_FILE)))
    record = KitRecord(
        files=files,
        sha256=sha256_of_file(folder / KIT_FILE),
        samples=golden.samples,
        random=random,
    )
    summary = f"{golden.samples} golden samples"
    return Made(result=record.model_dump(mode="json"), files=files, summary=summary)


def _golden(resolved: Resolved, parts: _Parts, path: Path) -> tuple[Golden, bool]:
    from edgecompile.verify.golden import write_golden

    state, held_out = parts.state, parts.samples.held_out
    data = held_out.get() if held_out else _noise(parts.loaded, resolved.recipe)
    golden = write_golden(
        path,
        original=parts.loaded.model.get(),
        quantized=None if state.artifact else state.model.get(),
        data=data,
        samples=SAMPLES,
        threads=resolved.request.threads,
    )
    return golden, data.random


def _noise(loaded: Loaded, recipe: Recipe) -> Dataset:
    """Random numbers: without data, they at least show that the device computes the same."""
    from edgecompile.calibration.dataset import open_dataset

    return open_dataset(f"random:{SAMPLES}", loaded.specs(recipe))


def _document(
    resolved: Resolved, parts: _Parts, golden: Golden, *, random: bool, folder: Path
) -> DeviceKit:
    artifact = parts.artifact
    return DeviceKit(
        target=resolved.target.id,
        artifact=KitArtifact(
            path=artifact.path.removeprefix("artifacts/"),
            format=artifact.format,
            files=artifact.files,
            sha256=artifact.sha256,
        ),
        golden=KitGolden(
            file=GOLDEN_FILE,
            sha256=sha256_of_file(folder / GOLDEN_FILE),
            samples=golden.samples,
            random=random,
        ),
        inputs=tuple(KitInput(name=n, dtype=dtype) for n, dtype in golden.inputs.items()),
        outputs=tuple(golden.quantized),
        limits=golden.limits,
        options=dict(parts.scripts.options),
    )
