"""`Checkpoint`: what a calibration has seen so far, on disk, so that a killed one continues.

A checkpoint is written between two samples whose values are all counted, so that a calibration
that continues from it gives the very ranges of one that was never stopped.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.store.files import write_atomically

if TYPE_CHECKING:
    from edgecompile.calibration.tally import Tally

_FORM = 1
_INTERVAL_S = 2.0
"""Writing takes some milliseconds: at most this often it costs well below 1 %."""
_META = "meta"


@dataclass
class Checkpoint:
    """Progress of one calibration in the file `path`.

    `key` names everything that the result depends on: progress of another key is ignored. What
    cannot be read or written is ignored too, since it only costs time.
    """

    path: Path
    key: str
    resumed: int = 0
    """Samples that an earlier, interrupted run had seen."""
    _written_s: float = field(default_factory=time.monotonic)

    def load(self, tallies: Sequence[Tally]) -> tuple[int, Any]:
        """Bring `tallies` to where they were.

        Returns the number of samples that they hold, and what `save` was given besides: 0 and None
        when there is nothing to continue.
        """
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                meta = json.loads(arrays[_META].tobytes())
                if meta["form"] != _FORM or meta["key"] != self.key:
                    return 0, None
                for number, (tally, state) in enumerate(zip(tallies, meta["tallies"], strict=True)):
                    names = state["histograms"]
                    tally.restore(state, {name: arrays[f"{number}/{name}"] for name in names})
                self.resumed = int(meta["done"])
                return self.resumed, meta["besides"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return 0, None

    def save(self, done: int, tallies: Sequence[Tally], besides: Any) -> None:
        """Write that `done` samples are counted, unless that was done a moment ago."""
        if time.monotonic() - self._written_s < _INTERVAL_S:
            return
        meta = {
            "form": _FORM,
            "key": self.key,
            "done": done,
            "tallies": [tally.state() for tally in tallies],
            "besides": besides,
        }
        counts: dict[str, np.ndarray] = {
            f"{number}/{name}": histogram.counts
            for number, tally in enumerate(tallies)
            for name, histogram in tally.histograms.items()
        }
        arrays = {_META: np.frombuffer(json.dumps(meta).encode(), np.uint8), **counts}
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **arrays)
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, stream.getvalue())
        self._written_s = time.monotonic()

    def clear(self) -> None:
        """The calibration is finished: what it had seen is of no use any more."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
