"""`open_dataset`: calibration and evaluation samples from whatever the user points at."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgecompile.calibration.checks import conform
from edgecompile.calibration.kinds import Kind, by_kind, lone_files, sorted_files
from edgecompile.calibration.sample import Sample, Task
from edgecompile.calibration.sources.base import Source
from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.data import (
    DATA_EMPTY,
    DATA_KIND,
    DATA_MIXED,
    DATA_NOT_FOUND,
)

if TYPE_CHECKING:
    from edgecompile.ir.facts import TensorSpec

Role = Literal["calibration", "evaluation"]
DATASET_FILE = "dataset.yaml"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Samples for a model's inputs, read one at a time and checked as they are read.

    `source` is what the user gave. Reading raises EC-306, EC-307 or EC-310 to EC-314.
    """

    origin: Source
    inputs: Sequence[TensorSpec]
    indices: tuple[int, ...]
    source: str
    diagnostics: tuple[Diagnostic, ...] = ()
    """Warnings about how the data was understood, for the sink."""

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`, in the shapes and types that the model takes."""
        at = self.indices[index]
        name = self.origin.name(at)
        feeds = conform(self.origin.load(at), self.inputs, name, Where(file=self.source))
        labels = self.origin.labels
        return Sample(feeds=feeds, label=None if labels is None else labels[at], name=name)

    def __iter__(self) -> Iterator[Sample]:
        """All samples in order, one in memory at a time."""
        return (self[i] for i in range(len(self)))

    @functools.cached_property
    def sha256(self) -> str:
        """Digest of the content of the samples, their order, and how they are read."""
        return self.origin.digest(self.indices)

    def sample_sha256(self, index: int) -> str:
        """Content digest of one sample: the same for the same content under another name."""
        return self.origin.sample_digest(self.indices[index])

    def subset(self, indices: Sequence[int]) -> Dataset:
        """The samples `indices` of this data set, in that order."""
        picked = tuple(self.indices[i] for i in indices)
        return Dataset(
            origin=self.origin,
            inputs=self.inputs,
            indices=picked,
            source=self.source,
            diagnostics=self.diagnostics,
        )

    @property
    def random(self) -> bool:
        """Whether this is random data, asked for by name."""
        return self.origin.random

    @property
    def task(self) -> Task | None:
        """What the labels mean; `None` without labels."""
        return self.origin.task

    @property
    def labelled(self) -> bool:
        """Whether every sample has a label."""
        return self.origin.labels is not None


def open_dataset(
    source: str,
    inputs: Sequence[TensorSpec],
    *,
    limit: int | None = None,
    role: Role = "calibration",
) -> Dataset:
    """Open `source`: a directory, an `.npz` or `.npy`, a `dataset.yaml`, or `random:N`.

    `limit` keeps the first samples only; `role` picks the split of a dataset.yaml that has splits.
    The first sample is read and checked at once. Raises EC-301 to EC-329.
    """
    origin = _origin(source, inputs, role)
    if len(origin) == 0:
        raise DATA_EMPTY.error(Where(file=source), path=source, found="there are none in it")
    count = len(origin) if limit is None else min(limit, len(origin))
    data = Dataset(
        origin=origin,
        inputs=tuple(inputs),
        indices=tuple(range(count)),
        source=source,
        diagnostics=origin.diagnostics,
    )
    data[0]
    return data


def _origin(source: str, inputs: Sequence[TensorSpec], role: Role) -> Source:
    from edgecompile.calibration.sources.described import described
    from edgecompile.calibration.sources.noise import PREFIX, RandomSource
    from edgecompile.calibration.sources.npz import stacked

    if source.startswith(PREFIX):
        return RandomSource(source, inputs)
    path = Path(source)
    if path.is_dir():
        described_by = path / DATASET_FILE
        if described_by.is_file():
            return described(described_by, inputs, role)
        return _directory(path, inputs)
    if not path.exists():
        raise DATA_NOT_FOUND.error(Where(file=source), path=source)
    suffix = path.suffix.lower()
    if suffix in {".npz", ".npy"}:
        return stacked(path, inputs)
    if suffix in {".yaml", ".yml"}:
        return described(path, inputs, role)
    raise DATA_KIND.error(Where(file=source), path=source)


def _directory(path: Path, inputs: Sequence[TensorSpec]) -> Source:
    from edgecompile.calibration.sources.column import ColumnSource, FilesColumn
    from edgecompile.calibration.sources.images import images_by_default
    from edgecompile.calibration.sources.npz import NpzFilesSource

    where = Where(file=str(path))
    kinds = by_kind(sorted_files(path, "**/*"))
    if not kinds:
        found = "it is empty" if not any(path.iterdir()) else "no file in it is of a known kind"
        raise DATA_EMPTY.error(where, path=str(path), found=found)
    if len(kinds) > 1:
        text = ", ".join(f"{len(files)} {kind}" for kind, files in sorted(kinds.items()))
        raise DATA_MIXED.error(where, path=str(path), kinds=text)
    kind, files = next(iter(kinds.items()))
    if kind == Kind.IMAGE:
        return images_by_default(files, path, inputs)
    if kind == Kind.NPZ:
        return NpzFilesSource(files, path, inputs)
    if len(inputs) != 1:
        raise lone_files(inputs, where)
    return ColumnSource({inputs[0].name: FilesColumn(files, path, inputs[0])}, where)
