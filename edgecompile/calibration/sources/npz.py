"""An `.npz` with one key per model input (or a lone `.npy`): samples along the first axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.calibration.arrays import ArrayFile, open_npy, open_npz
from edgecompile.calibration.checks import check_names, raise_all, shape_text
from edgecompile.calibration.digests import Digests, combine, feeds_digest
from edgecompile.calibration.sample import Label, Task
from edgecompile.calibration.sources.base import Source
from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.data import INPUT_RANK, LABELS, SAMPLE_COUNTS

if TYPE_CHECKING:
    import numpy as np

    from edgecompile.ir.facts import TensorSpec

LABELS_KEY = "labels"
"""Key of an `.npz` that holds labels: ids `[N]`, or accepted ids `[N, K]` padded with -1."""
_UNNAMED = "arr_0"


class _Column:
    """One model input's array, cut into samples.

    With the rank of the input, each sample is as many rows as the input's first axis is long (one
    where it is free); with one axis more, each entry of the first axis is a whole sample.
    """

    def __init__(self, array: ArrayFile, spec: TensorSpec) -> None:
        self._array = array
        self._whole_entries = len(array.shape) == len(spec.shape) + 1
        first = spec.shape[0] if spec.shape else None
        self.batch = first if isinstance(first, int) and not self._whole_entries else 1
        self.count = len(array) // max(self.batch, 1)

    def read(self, index: int) -> np.ndarray:
        start = index * self.batch
        rows = self._array.rows(start, start + self.batch)
        return rows[0] if self._whole_entries else rows


class NpzSource(Source):
    """Samples along the first axis of the arrays of one file. Never unpickles."""

    def __init__(
        self, arrays: Mapping[str, ArrayFile], path: Path, inputs: Sequence[TensorSpec], d: Digests
    ) -> None:
        """Check names, ranks and counts. Raises EC-310, EC-312, EC-315 or EC-329."""
        self._path, self._digests = path, d
        where = Where(file=str(path))
        arrays = dict(arrays)
        names = [spec.name for spec in inputs]
        labels = None if LABELS_KEY in names else arrays.pop(LABELS_KEY, None)
        if len(names) == 1 and list(arrays) == [_UNNAMED]:
            arrays = {names[0]: arrays[_UNNAMED]}
        check_names(arrays, inputs, where)
        raise_all(_rank_problems(arrays, inputs, where))
        self._columns = {spec.name: _Column(arrays[spec.name], spec) for spec in inputs}
        counts = {name: column.count for name, column in self._columns.items()}
        if len(set(counts.values())) > 1:
            text = ", ".join(f"'{name}' {count}" for name, count in counts.items())
            raise SAMPLE_COUNTS.error(where, counts=text)
        self._count = min(counts.values())
        self._labels = None if labels is None else self._read_labels(labels, where)
        if self._labels is not None:
            self.task = Task()
        self._sample_digests: dict[int, str] = {}

    @classmethod
    def open(cls, path: Path, inputs: Sequence[TensorSpec], digests: Digests) -> NpzSource:
        """The source of an `.npz` or `.npy` file."""
        if path.suffix.lower() == ".npy":
            return cls({_UNNAMED: open_npy(path)}, path, inputs, digests)
        return cls(open_npz(path), path, inputs, digests)

    def _read_labels(self, array: ArrayFile, where: Where) -> list[Label]:
        if array.dtype.kind not in "iu" or len(array.shape) not in {1, 2}:
            problem = f"'{LABELS_KEY}' must be integers [N] or [N, K], not {array.dtype}"
            raise LABELS.error(where, problem=f"{problem} {shape_text(array.shape)}")
        if len(array) != self._count:
            problem = f"'{LABELS_KEY}' has {len(array)} entries for {self._count} samples"
            raise LABELS.error(where, problem=problem)
        table = array.whole().reshape(self._count, -1).tolist()
        return [tuple(i for i in row if i >= 0) for row in table]

    def __len__(self) -> int:
        """Number of samples."""
        return self._count

    def load(self, index: int) -> dict[str, np.ndarray]:
        """The rows of sample `index`."""
        return {name: column.read(index) for name, column in self._columns.items()}

    def name(self, index: int) -> str:
        """`data.npz[7]`."""
        return f"{self._path.name}[{index}]"

    def label(self, index: int) -> Label | None:
        """The entry of the key `labels`."""
        return None if self._labels is None else self._labels[index]

    def sample_digest(self, index: int) -> str:
        """Digest of the sample's arrays, as stored; all of the file's are made in one read."""
        listed = self._digests.of(self._path, f"samples:{','.join(self._columns)}", self._all)
        return listed.split("\n")[index]

    def _all(self) -> str:
        if not self._sample_digests:
            for i in range(self._count):
                self._sample_digests[i] = feeds_digest(self.load(i))
        return "\n".join(self._sample_digests[i] for i in range(self._count))

    def digest(self, indices: Sequence[int]) -> str:
        """Digest of the file's bytes and of which samples are taken: no decompression."""
        picked = ",".join(map(str, indices)) if len(indices) != self._count else "all"
        return combine("npz", self._digests.file(self._path), *self._columns, picked)


def _rank_problems(
    arrays: Mapping[str, ArrayFile], inputs: Sequence[TensorSpec], where: Where
) -> list[Diagnostic]:
    return [
        INPUT_RANK.at(
            where,
            input=spec.name,
            actual=len(shape),
            shape=shape_text(shape),
            expected=len(spec.shape),
            expected_shape=shape_text(spec.shape),
        )
        for spec in inputs
        for shape in (arrays[spec.name].shape,)
        if len(shape) not in {len(spec.shape), len(spec.shape) + 1} or not shape
    ]
