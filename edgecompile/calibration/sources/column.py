"""`Column`: the data of one model input, sample by sample; and a source made of columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.calibration.arrays import ArrayFile, open_npy
from edgecompile.calibration.digests import combine, feeds_digest, file_digest
from edgecompile.calibration.sources.base import Source
from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.data import SAMPLE_COUNTS

if TYPE_CHECKING:
    import numpy as np

    from edgecompile.ir.facts import TensorSpec


class Column(ABC):
    """One input's data. Nothing of a sample stays in memory after it was read."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """The array of one sample, batch axis included."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Where the sample comes from, for messages."""

    @abstractmethod
    def sample_digest(self, index: int) -> str:
        """Digest of one sample's content; cheap enough to compare all samples with."""

    @abstractmethod
    def digest(self, indices: Sequence[int]) -> str:
        """Digest of what the samples `indices` are read from, and how."""


class StackColumn(Column):
    """Samples along the first axis of one array.

    With the rank of the input, each sample is as many rows as the input's first axis is long (one
    where it is free); with one axis more, each entry of the first axis is a whole sample.
    """

    def __init__(self, array: ArrayFile, spec: TensorSpec) -> None:
        """`array` has the rank of `spec`, or one more."""
        self._array = array
        self._whole_entries = spec.ranked and len(array.shape) == len(spec.shape) + 1
        first = spec.shape[0] if spec.shape else None
        self._batch = first if isinstance(first, int) and not self._whole_entries else 1
        self._count = len(array) // max(self._batch, 1)

    def __len__(self) -> int:
        """Number of samples."""
        return self._count

    def read(self, index: int) -> np.ndarray:
        """The rows of one sample."""
        start = index * self._batch
        rows = self._array.rows(start, start + self._batch)
        return rows[0] if self._whole_entries else rows

    def name(self, index: int) -> str:
        """`data.npz[7]`."""
        return f"{self._array.path.name}[{index}]"

    def sample_digest(self, index: int) -> str:
        """Digest of the rows."""
        return feeds_digest({"": self.read(index)})

    def digest(self, indices: Sequence[int]) -> str:
        """Digest of the file's bytes, nothing decompressed, and of which samples are taken."""
        picked = "all" if len(indices) == self._count else ",".join(map(str, indices))
        return combine("stack", file_digest(self._array.path), self._array.key, picked)


class FilesColumn(Column):
    """One `.npy` file per sample, so that samples may differ in shape."""

    def __init__(self, files: Sequence[Path], root: Path, spec: TensorSpec) -> None:
        """`files` lie below `root`."""
        self._files, self._root, self._spec = list(files), root, spec

    def __len__(self) -> int:
        """Number of files."""
        return len(self._files)

    def read(self, index: int) -> np.ndarray:
        """The array of one file, with a batch axis."""
        return with_batch(open_npy(self._files[index]).whole(), self._spec)

    def name(self, index: int) -> str:
        """The path of the file in the directory."""
        return self._files[index].relative_to(self._root).as_posix()

    def sample_digest(self, index: int) -> str:
        """Digest of the array."""
        return feeds_digest({"": self.read(index)})

    def digest(self, indices: Sequence[int]) -> str:
        """Digest of the files' bytes."""
        return combine("npy", *(file_digest(self._files[i]) for i in indices))


def with_batch(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """`array` with a batch axis of 1 in front, where only that is missing."""
    first = spec.shape[0] if spec.shape else None
    if spec.ranked and array.ndim == len(spec.shape) - 1 and first in {1, None, str(first)}:
        return array[None]
    return array


class ColumnSource(Source):
    """Samples put together from one column per model input."""

    def __init__(self, columns: Mapping[str, Column], where: Where) -> None:
        """Raises EC-315 when the columns differ in length."""
        self._columns = dict(columns)
        counts = {name: len(column) for name, column in columns.items()}
        if len(set(counts.values())) > 1:
            text = ", ".join(f"'{name}' {count}" for name, count in counts.items())
            raise SAMPLE_COUNTS.error(where, counts=text)
        self._first = next(iter(columns.values()))
        self._digests: dict[int, str] = {}

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._first)

    def load(self, index: int) -> dict[str, np.ndarray]:
        """Every input's array of sample `index`."""
        return {name: column.read(index) for name, column in self._columns.items()}

    def name(self, index: int) -> str:
        """The name that the first input's data gives."""
        return self._first.name(index)

    def sample_digest(self, index: int) -> str:
        """Digest of every input's data."""
        if index not in self._digests:
            self._digests[index] = combine(
                *(f"{n}={c.sample_digest(index)}" for n, c in sorted(self._columns.items()))
            )
        return self._digests[index]

    def content_digest(self, indices: Sequence[int]) -> str:
        """Digest of every input's data."""
        return combine(*(f"{n}={c.digest(indices)}" for n, c in sorted(self._columns.items())))
