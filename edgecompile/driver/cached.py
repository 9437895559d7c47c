"""Steps of a build that are not passes (check, emit, verify): cached in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecompile.driver.resolve import Resolved
from edgecompile.passes.instruments import Stopwatch
from edgecompile.store.entry import DamagedError, Entry
from edgecompile.store.history import StepRecord
from edgecompile.store.keys import Material, key_of


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a step gave: JSON, and files by their path relative to the build directory."""

    result: Mapping[str, Any]
    files: tuple[str, ...] = ()
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class StageTime:
    """What a step took when it was made; for the report."""

    name: str
    seconds: float
    cpu_seconds: float
    cached: bool
    summary: str


@dataclass(kw_only=True)
class Journal:
    """What happened in this build, in order."""

    records: list[StepRecord] = field(default_factory=list)
    times: list[StageTime] = field(default_factory=list)
    watch: Stopwatch = field(default_factory=Stopwatch)
    slot: Mapping[str, str] = field(default_factory=dict)
    """What later builds of the same kind share; see `store.history`."""
    replayable: bool = True
    """Whether all that the build depends on is watched by `replay`."""
    outputs: dict[str, str] = field(default_factory=dict)
    """File of the build directory -> key of the cache entry that holds it."""


@contextmanager
def told_stage(resolved: Resolved, journal: Journal, name: str) -> Iterator[Telling]:
    """Tell sink and journal of a stage that keeps its own memory (load, data)."""
    watch, telling = Stopwatch(), Telling()
    resolved.sink.step_started(name)
    yield telling
    seconds, cpu_seconds = round(watch.seconds, 4), round(watch.cpu_seconds, 4)
    resolved.sink.step_finished(
        name, seconds=seconds, cached=telling.cached, summary=telling.summary
    )
    journal.times.append(
        StageTime(
            name=name,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            cached=telling.cached,
            summary=telling.summary,
        )
    )


@dataclass(kw_only=True)
class Telling:
    """What a stage has to say when it is done."""

    summary: str = ""
    cached: bool = False


def cached_stage(
    resolved: Resolved,
    journal: Journal,
    name: str,
    material: Material,
    make: Callable[[], Made],
    *,
    directory: Path,
    makers: Mapping[str, str] | None = None,
) -> Mapping[str, Any]:
    """The result of `make`, or of an equal earlier one; its files are then in `directory`.

    Raises what `make` raises.
    """
    sink, key, watch = resolved.sink, key_of(material), Stopwatch()
    sink.step_started(name)
    document, files = _restored(resolved, key, name, directory)
    hit = document is not None
    if document is None:
        made = make()
        document = {
            "result": made.result,
            "summary": made.summary,
            "seconds": round(watch.seconds, 4),
            "cpu_seconds": round(watch.cpu_seconds, 4),
        }
        if resolved.store is not None:
            paths = {file: directory / file for file in made.files}
            resolved.store.put(key, material, paths, document)
        files = made.files
    sink.step_finished(name, seconds=watch.seconds, cached=hit, summary=document["summary"])
    journal.outputs.update(dict.fromkeys(files, key))
    journal.times.append(
        StageTime(
            name=name,
            seconds=document["seconds"],
            cpu_seconds=document["cpu_seconds"],
            cached=hit,
            summary=document["summary"],
        )
    )
    journal.records.append(
        StepRecord(label=name, key=key, hit=hit, material=material, makers=makers or {})
    )
    result: Mapping[str, Any] = document["result"]
    return result


def _restored(
    resolved: Resolved, key: str, name: str, directory: Path
) -> tuple[Mapping[str, Any] | None, tuple[str, ...]]:
    """What the cache holds of a step, its files copied to `directory`; None when it must run."""
    store = resolved.store
    entry: Entry | None = store.get(key) if store else None
    if entry is None or store is None:
        return None, ()
    try:
        for file in entry.files:
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            entry.copy_to(file, directory / file)
    except DamagedError as error:
        store.drop(key, name, str(error))
        return None, ()
    return entry.result, tuple(entry.files)
