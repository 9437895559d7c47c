"""An `.npz` with one key per model input (or a lone `.npy`): samples along the first axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.calibration.arrays import ArrayFile, open_npy, open_npz
from edgecompile.calibration.checks import check_names, raise_all, shape_text
from edgecompile.calibration.digests import combine, feeds_digest, file_digest
from edgecompile.calibration.labels import labels_of_array
from edgecompile.calibration.sample import Task
from edgecompile.calibration.sources.base import Source
from edgecompile.calibration.sources.column import ColumnSource, StackColumn, with_batch
from edgecompile.diagnostics import Diagnostic, Where
from edgecompile.diagnostics.catalogue.data import INPUT_RANK

if TYPE_CHECKING:
    import numpy as np

    from edgecompile.ir.facts import TensorSpec

LABELS_KEY = "labels"
UNNAMED = "arr_0"
"""The key that `numpy.savez` gives to an array without a name."""


def stacked(path: Path, inputs: Sequence[TensorSpec]) -> ColumnSource:
    """The samples of an `.npz` or `.npy`. Raises EC-305, EC-306, EC-310, EC-312, EC-315, EC-329.

    A key `labels` that is no input of the model holds class ids `[N]`, or accepted ids `[N, K]`
    padded with -1.
    """
    where = Where(file=str(path))
    lone = path.suffix.lower() == ".npy"
    arrays = {UNNAMED: open_npy(path)} if lone else open_npz(path)
    names = [spec.name for spec in inputs]
    labels = None if LABELS_KEY in names else arrays.pop(LABELS_KEY, None)
    if len(names) == 1 and list(arrays) == [UNNAMED]:
        arrays = {names[0]: arrays[UNNAMED]}
    check_names(arrays, inputs, where)
    raise_all([p for spec in inputs for p in rank_problems(arrays[spec.name], spec, where)])
    columns = {spec.name: StackColumn(arrays[spec.name], spec) for spec in inputs}
    source = ColumnSource(columns, where)
    if labels is not None:
        source.labels, source.task = labels_of_array(labels, len(source), where), Task()
    return source


def rank_problems(array: ArrayFile, spec: TensorSpec, where: Where) -> list[Diagnostic]:
    """EC-312 unless `array` has the axes of `spec`, or one more in front."""
    if array.shape and (not spec.ranked or len(array.shape) - len(spec.shape) in {0, 1}):
        return []
    return [
        INPUT_RANK.at(
            where,
            input=spec.name,
            actual=len(array.shape),
            shape=shape_text(array.shape),
            expected=len(spec.shape),
            expected_shape=shape_text(spec.shape),
        )
    ]


class NpzFilesSource(Source):
    """One `.npz` per sample, with one key per model input, so that samples may differ in shape."""

    def __init__(self, files: Sequence[Path], root: Path, inputs: Sequence[TensorSpec]) -> None:
        """`files` lie below `root`."""
        self._files, self._root = list(files), root
        self._specs: Mapping[str, TensorSpec] = {spec.name: spec for spec in inputs}

    def __len__(self) -> int:
        """Number of files."""
        return len(self._files)

    def load(self, index: int) -> dict[str, np.ndarray]:
        """The arrays of one file."""
        found = {key: array.whole() for key, array in open_npz(self._files[index]).items()}
        if len(self._specs) == 1 and list(found) == [UNNAMED]:
            found = {next(iter(self._specs)): found[UNNAMED]}
        return {
            name: with_batch(array, self._specs[name]) if name in self._specs else array
            for name, array in found.items()
        }

    def name(self, index: int) -> str:
        """The path of the file in the directory."""
        return self._files[index].relative_to(self._root).as_posix()

    def sample_digest(self, index: int) -> str:
        """Digest of the sample's arrays."""
        return feeds_digest(self.load(index))

    def content_digest(self, indices: Sequence[int]) -> str:
        """Digest of the files' bytes."""
        return combine("npz", *(file_digest(self._files[i]) for i in indices))
