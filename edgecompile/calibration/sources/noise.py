"""`random:N`: seeded noise in the shapes of the inputs, only when asked for by that name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecompile.calibration.digests import combine, feeds_digest
from edgecompile.calibration.sources.base import Source
from edgecompile.diagnostics.catalogue.data import RANDOM_DATA, RANDOM_SPEC

if TYPE_CHECKING:
    import numpy as np

    from edgecompile.ir.facts import TensorSpec

PREFIX = "random:"
_FREE_AXIS = 32
"""Length of a free axis other than the batch; a multiple of the strides of most networks."""


class RandomSource(Source):
    """Floats from the standard normal distribution; integers and bools 0 or 1, valid for any use.

    Sample i depends only on i and the inputs: NumPy's PCG64, seeded with i.
    """

    random = True

    def __init__(self, spec: str, inputs: Sequence[TensorSpec]) -> None:
        """`spec` is `random:N`. Raises EC-322."""
        number = spec.removeprefix(PREFIX)
        if not (number.isascii() and number.isdigit() and 0 < int(number) <= 1_000_000):
            raise RANDOM_SPEC.error(source=spec)
        self._count, self._inputs = int(number), inputs
        self.diagnostics = (RANDOM_DATA.at(source=spec),)

    def __len__(self) -> int:
        """N."""
        return self._count

    def load(self, index: int) -> dict[str, np.ndarray]:
        """The noise of sample `index`."""
        import numpy as np

        generator = np.random.default_rng(index)
        feeds: dict[str, np.ndarray] = {}
        for spec in self._inputs:
            shape = [
                d if isinstance(d, int) else (1 if axis == 0 else _FREE_AXIS)
                for axis, d in enumerate(spec.shape)
            ]
            is_float = spec.dtype.kind == "f"
            array = (
                generator.standard_normal(shape) if is_float else generator.integers(2, size=shape)
            )
            feeds[spec.name] = np.asarray(array).astype(spec.dtype)
        return feeds

    def name(self, index: int) -> str:
        """`random[3]`."""
        return f"random[{index}]"

    def sample_digest(self, index: int) -> str:
        """Digest of the noise."""
        return feeds_digest(self.load(index))

    def content_digest(self, indices: Sequence[int]) -> str:
        """Digest of what determines the noise."""
        shapes = [f"{s.name}{s.dtype}{s.shape}" for s in self._inputs]
        return combine("random", *shapes, ",".join(map(str, indices)))
