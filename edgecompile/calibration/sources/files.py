"""A directory of arrays, one sample per file: `.npy` for one input, `.npz` for several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.calibration.arrays import open_npy, open_npz
from edgecompile.calibration.checks import raise_all, shape_text
from edgecompile.calibration.digests import Digests, combine, feeds_digest
from edgecompile.calibration.sources.base import Source
from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.data import INPUT_NAME

if TYPE_CHECKING:
    import numpy as np

    from edgecompile.ir.facts import TensorSpec


def with_batch(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """`array` with a batch axis of 1 in front, where only that is missing."""
    first = spec.shape[0] if spec.shape else None
    if array.ndim == len(spec.shape) - 1 and (first == 1 or not isinstance(first, int)):
        return array[None]
    return array


class ArrayFilesSource(Source):
    """Each file is one sample, so samples may differ in shape."""

    def __init__(
        self, files: Sequence[Path], root: Path, inputs: Sequence[TensorSpec], digests: Digests
    ) -> None:
        """`files` are all `.npy` (single-input models only) or all `.npz`. Raises EC-310."""
        self._files, self._root, self._inputs, self._digests = list(files), root, inputs, digests
        if files[0].suffix.lower() == ".npy" and len(inputs) != 1:
            names = ", ".join(f"'{spec.name}' {shape_text(spec.shape)}" for spec in inputs)
            problem = f"a .npy file feeds one input, and the model has {len(inputs)}: {names}"
            hint = "save one .npz per sample, with one key per model input"
            raise_all([INPUT_NAME.at(Where(file=str(root)), problem=problem, hints=(hint,))])

    def __len__(self) -> int:
        """Number of files."""
        return len(self._files)

    def load(self, index: int) -> dict[str, np.ndarray]:
        """The arrays of one file."""
        path = self._files[index]
        if path.suffix.lower() == ".npy":
            found = {self._inputs[0].name: open_npy(path).whole()}
        else:
            found = {key: array.whole() for key, array in open_npz(path).items()}
            if len(self._inputs) == 1 and list(found) == ["arr_0"]:
                found = {self._inputs[0].name: found["arr_0"]}
        specs = {spec.name: spec for spec in self._inputs}
        return {
            name: with_batch(array, specs[name]) if name in specs else array
            for name, array in found.items()
        }

    def name(self, index: int) -> str:
        """The path of the file in the directory."""
        return self._files[index].relative_to(self._root).as_posix()

    def sample_digest(self, index: int) -> str:
        """Digest of the sample's arrays."""
        return self._digests.of(self._files[index], "feeds", lambda: feeds_digest(self.load(index)))

    def digest(self, indices: Sequence[int]) -> str:
        """Digest of the bytes of the files."""
        names = [spec.name for spec in self._inputs]
        return combine("files", *names, *(self._digests.file(self._files[i]) for i in indices))
