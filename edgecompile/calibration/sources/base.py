"""`Source`: samples of one kind of data, read one at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecompile.calibration.digests import combine
from edgecompile.calibration.sample import Label, Task
from edgecompile.diagnostics import Diagnostic

if TYPE_CHECKING:
    import numpy as np


class Source(ABC):
    """An ordered set of samples on disk. Reading one must not keep the others in memory."""

    labels: Sequence[Label] | None = None
    """The label of every sample, where the data has labels."""
    task: Task | None = None
    """What the labels mean; set where there are any."""
    random: bool = False
    diagnostics: tuple[Diagnostic, ...] = ()
    """What the user should know about how the data was understood."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def load(self, index: int) -> dict[str, np.ndarray]:
        """The arrays of one sample by input name, batch axis included, types as stored."""

    @abstractmethod
    def name(self, index: int) -> str:
        """The sample's name in messages."""

    @abstractmethod
    def sample_digest(self, index: int) -> str:
        """Content digest of one sample: equal content, equal digest, whatever the file's name."""

    @abstractmethod
    def content_digest(self, indices: Sequence[int]) -> str:
        """Content digest of the samples `indices`, in this order, and of how they are read."""

    def digest(self, indices: Sequence[int]) -> str:
        """As `content_digest`, labels included."""
        labels = [] if self.labels is None else [str(self.labels[i]) for i in indices]
        return combine(self.content_digest(indices), *labels, str(self.task if labels else None))
