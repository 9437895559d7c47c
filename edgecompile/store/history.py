"""Why did a step run again? Each build leaves its steps' materials; the next is held against them.

Builds of one model, target and recipe share a slot, and a slot keeps its last build.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgecompile.store.files import write_atomically
from edgecompile.store.keys import Material, canonical, key_of

SCHEMA = "edgecompile/cache-history@1"
INPUTS = "inputs"
"""Field of a material: name of an input (`model`, `ranges`, `data`) -> its digest."""


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What one step of a build depended on, and whether the cache had its result."""

    label: str
    key: str
    hit: bool
    material: Material
    reason: str = ""
    """Why it ran; empty for a hit."""
    makers: Mapping[str, str] = field(default_factory=dict)
    """Name of an input -> label of the step that made it."""


@dataclass(frozen=True, kw_only=True)
class BuildRecord:
    """The steps of one build, in order."""

    slot: Mapping[str, str]
    """What builds must share to be compared: model path, target id, recipe name."""
    output: str
    steps: tuple[StepRecord, ...]


class History:
    """The last build of every slot, below `root`."""

    def __init__(self, root: Path) -> None:
        """Builds are kept as one JSON file per slot in `root`."""
        self._root = root

    def explained(self, build: BuildRecord) -> BuildRecord:
        """`build` with a reason on every step that ran, from the last build of its slot."""
        last = _read(self._place(build.slot))
        steps = tuple(
            step if step.hit else replace(step, reason=_reason(step, last)) for step in build.steps
        )
        return BuildRecord(slot=build.slot, output=build.output, steps=steps)

    def record(self, build: BuildRecord) -> None:
        """Keep `build` as the last one of its slot. A cache that cannot be written keeps none."""
        with suppress(OSError):
            self._root.mkdir(parents=True, exist_ok=True)
            document = {"schema": SCHEMA, **asdict(build)}
            write_atomically(self._place(build.slot), canonical(document))

    def last(self, output: Path | None = None) -> BuildRecord | None:
        """The most recent build, or the most recent that wrote to `output`."""
        places = sorted(self._root.glob("*.json"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
        for build in map(_read, places):
            if build and (output is None or Path(build.output) == output.absolute()):
                return build
        return None

    def _place(self, slot: Mapping[str, str]) -> Path:
        return self._root / f"{key_of(slot)}.json"


def _read(place: Path) -> BuildRecord | None:
    try:
        document: dict[str, Any] = json.loads(place.read_bytes())
        steps = tuple(StepRecord(**step) for step in document["steps"])
        if document["schema"] != SCHEMA:
            return None
        return BuildRecord(slot=document["slot"], output=document["output"], steps=steps)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _reason(step: StepRecord, last: BuildRecord | None) -> str:
    """One line on why `step` ran in this build and not in the last one of its slot."""
    if last is None:
        return "first build of this model for this target with this recipe"
    before = next((s for s in last.steps if s.label == step.label), None)
    if before is None:
        return "the step is new in the recipe"
    if before.key == step.key:
        return "its cached result was removed or damaged"
    causes = _differences(before.material, step)
    return "; ".join(causes) if causes else "its description changed"


def _differences(before: Material, step: StepRecord) -> list[str]:
    old, new = _flat(before), _flat(step.material)
    causes = []
    for name in sorted({*old, *new}):
        if old.get(name) == new.get(name):
            continue
        maker = step.makers.get(name.removeprefix(f"{INPUTS}."))
        if name.startswith(f"{INPUTS}.") and maker:
            causes.append(f"its {name.removeprefix(f'{INPUTS}.')} changed (from {maker})")
        else:
            shown = name.removeprefix(f"{INPUTS}.")
            causes.append(f"{shown} changed: {_short(old.get(name))} -> {_short(new.get(name))}")
    return causes


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one level with dotted names."""
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            flat.update(_flat(inner, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = inner
    return flat


def _short(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):
        hexadecimal = len(value) == 64 and set(value) <= set("0123456789abcdef")
        return f"{value[:12]}..." if hexadecimal else value
    return json.dumps(value)
