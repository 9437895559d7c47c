"""Image files, one sample each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.calibration.checks import quoted
from edgecompile.calibration.digests import combine, file_digest
from edgecompile.calibration.preprocess import ImageReader, Preprocess
from edgecompile.calibration.sources.column import Column, ColumnSource
from edgecompile.diagnostics import Where
from edgecompile.diagnostics.catalogue.data import ASSUMED_PREPROCESSING, NOT_AN_IMAGE_INPUT

if TYPE_CHECKING:
    import numpy as np

    from edgecompile.ir.facts import TensorSpec


class ImageColumn(Column):
    """Images for one input, decoded and preprocessed as they are read."""

    def __init__(self, files: Sequence[Path], root: Path, reader: ImageReader) -> None:
        """`files` lie below `root`."""
        self._files, self._root, self._reader = list(files), root, reader

    def __len__(self) -> int:
        """Number of images."""
        return len(self._files)

    def read(self, index: int) -> np.ndarray:
        """One image as the model takes it. Raises EC-307."""
        return self._reader.read(self._files[index])

    def name(self, index: int) -> str:
        """The path of the image in the directory."""
        return self._files[index].relative_to(self._root).as_posix()

    def sample_digest(self, index: int) -> str:
        """Digest of the file's bytes: nothing is decoded."""
        return file_digest(self._files[index])

    def digest(self, indices: Sequence[int]) -> str:
        """Digest of the files' bytes and of the preprocessing."""
        options = self._reader.options.model_dump_json()
        return combine("images", options, *(file_digest(self._files[i]) for i in indices))


def images_by_default(
    files: Sequence[Path], root: Path, inputs: Sequence[TensorSpec]
) -> ColumnSource:
    """Images without a dataset.yaml: preprocessing follows from the input, with warning EC-320.

    Raises EC-321 when the model does not take one image.
    """
    where = Where(file=str(root))
    if len(inputs) != 1:
        what = f"a model with {len(inputs)} inputs: {quoted(spec.name for spec in inputs)}"
        raise NOT_AN_IMAGE_INPUT.error(where, what=what)
    reader = ImageReader(Preprocess(), inputs[0], where)
    source = ColumnSource({inputs[0].name: ImageColumn(files, root, reader)}, where)
    text = f"schema: edgecompile/dataset@1; files: '**/*'; {reader.as_yaml()}"
    hint = f"write what the model was trained with into {root / 'dataset.yaml'}, such as: {text}"
    source.diagnostics = (
        ASSUMED_PREPROCESSING.at(where, source=str(root), assumed=reader.told(), hints=(hint,)),
    )
    return source
