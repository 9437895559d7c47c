"""`Fit`: how samples of other lengths are made to fit an input of fixed shape.

What is added is stated, never guessed: a mask of ones would let a network look at what is not
there, and grey beside a picture is another number in every preprocessing. Padding at the end and
cropping from the end are what tokenizers do (`padding_side` and `truncation` in Hugging Face's).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from edgecompile.calibration.digests import combine
from edgecompile.calibration.sources.base import Source

if TYPE_CHECKING:
    import numpy as np

    from edgecompile.ir.facts import TensorSpec


class Fit(BaseModel):
    """What is done to the samples of one input whose axes are shorter or longer than it takes.

    A first axis of 1 is the batch, and left alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pad: bool | int | float | None = None
    """What shorter samples are filled up with, such as 0 for a mask; null refuses them."""
    crop: bool = False
    """Whether longer samples are cut; else they are refused."""
    side: Literal["end", "start"] = "end"
    """Where padding is added and the rest is cut off."""


def fitted(array: np.ndarray, spec: TensorSpec, fit: Fit) -> np.ndarray:
    """`array`, padded and cropped to the fixed axes of `spec` as far as `fit` allows.

    What it does not allow is left as it is: the check of samples tells.
    """
    import numpy as np

    if not spec.ranked or array.ndim != len(spec.shape):
        return array
    widths = [(0, 0)] * array.ndim
    cuts = [slice(None)] * array.ndim
    for axis, (have, want) in enumerate(zip(array.shape, spec.shape, strict=True)):
        if not isinstance(want, int) or (axis == 0 and want == 1 and array.ndim > 1):
            continue
        if have < want and fit.pad is not None:
            widths[axis] = (0, want - have) if fit.side == "end" else (want - have, 0)
        elif have > want and fit.crop:
            cuts[axis] = slice(want) if fit.side == "end" else slice(have - want, None)
    array = array[tuple(cuts)]
    if not any(before or after for before, after in widths):
        return array
    return np.pad(array, widths, constant_values=fit.pad or 0)


def holds(spec: TensorSpec, value: float) -> bool:
    """Whether an element of the input can have this value: not 0.5 in integers, nor -1 in uint8."""
    import numpy as np

    if spec.dtype.kind not in "fiub":
        return False
    if spec.dtype.kind == "f":
        return True
    if spec.dtype.kind == "b":
        return value in {0, 1}
    limits = np.iinfo(spec.dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max


class FittedSource(Source):
    """The samples of another source, each made to fit."""

    def __init__(
        self, source: Source, fits: Mapping[str, Fit], inputs: Sequence[TensorSpec]
    ) -> None:
        """`fits` by input name; inputs that it does not name stay as they are."""
        self._source, self._fits = source, dict(fits)
        self._specs = {spec.name: spec for spec in inputs}
        self.labels, self.task = source.labels, source.task
        self.random, self.diagnostics = source.random, source.diagnostics

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._source)

    def load(self, index: int) -> dict[str, np.ndarray]:
        """The arrays of one sample, fitted."""
        return {
            name: fitted(array, self._specs[name], self._fits[name])
            if name in self._fits and name in self._specs
            else array
            for name, array in self._source.load(index).items()
        }

    def name(self, index: int) -> str:
        """As the source has it."""
        return self._source.name(index)

    def sample_digest(self, index: int) -> str:
        """Digest of the sample as it is stored."""
        return self._source.sample_digest(index)

    def content_digest(self, indices: Sequence[int]) -> str:
        """Digest of what is stored, of the rules and of the shapes that they led to."""
        rules = {
            name: [fit.model_dump(), self._specs[name].shape] for name, fit in self._fits.items()
        }
        stored = self._source.content_digest(indices)
        return combine("fit", stored, json.dumps(rules, sort_keys=True))
