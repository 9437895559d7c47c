"""`--verify-each`: after every pass the model is still valid, and still computes the same."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.diagnostics import EdgecompileError, Where
from edgecompile.diagnostics.catalogue.passes import VERIFY_EACH_DIFFERS, VERIFY_EACH_INVALID
from edgecompile.ir.model import Model
from edgecompile.passes.instruments import StepLike
from edgecompile.passes.lazy import Lazy
from edgecompile.passes.results import StepResult

if TYPE_CHECKING:
    import numpy as np

    from edgecompile.calibration.dataset import Dataset

Feeds = dict[str, "np.ndarray"]

RELATIVE_TOLERANCE = 1e-3
ABSOLUTE_TOLERANCE = 1e-5
"""An output may differ by `RELATIVE_TOLERANCE` of its largest entry, plus this."""


@dataclass
class VerifyEach:
    """An instrument that checks every changed model, and runs it where the pass is not lossy.

    Runs on `samples` samples of `data`, or on random ones from a fixed seed. Raises EC-410 when
    an output moves, EC-411 when the checker or ONNX Runtime refuses the graph.
    """

    data: Lazy[Dataset] | None = None
    samples: int = 2
    _step: StepLike | None = None
    _model: Lazy[Model] | None = None

    def before(self, step: StepLike, model: Lazy[Model]) -> None:
        """Remember what the pass takes."""
        self._step, self._model = step, model

    def after(self, result: StepResult, model: Lazy[Model]) -> None:
        """Hold what the pass gave against what it took."""
        if not result.changed or self._step is None or self._model is None:
            return
        operation, where = self._step.operation, Where(step=result.label)
        try:
            _check(model.get())
            if not operation.lossy:
                self._compare(self._model.get(), model.get(), where, operation.id)
        except EdgecompileError as error:
            if error.diagnostics[0].code == VERIFY_EACH_DIFFERS.code:
                raise
            problem = error.diagnostics[0].message
            raise VERIFY_EACH_INVALID.error(where, id=operation.id, problem=problem) from error

    def _compare(self, before: Model, after: Model, where: Where, id: str) -> None:
        import numpy as np

        feeds = self._feeds(after)
        for old, new in zip(_run(before, feeds), _run(after, feeds), strict=True):
            for name, wanted in old.items():
                if wanted.dtype.kind not in "fiub":
                    continue
                got = new[name].astype(np.float64)
                want = wanted.astype(np.float64)
                known = np.isfinite(want)
                largest = float(np.abs(want[known]).max(initial=0.0))
                allowed = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * largest
                difference = float(np.abs(got[known] - want[known]).max(initial=0.0))
                if not difference <= allowed:
                    raise VERIFY_EACH_DIFFERS.error(
                        where, id=id, output=name, difference=difference, allowed=allowed
                    )

    def _feeds(self, model: Model) -> list[Feeds]:
        from edgecompile.calibration.dataset import open_dataset
        from edgecompile.ir.facts import input_specs

        if self.data is not None:
            data = self.data.get()
            return [dict(data[i].feeds) for i in range(min(self.samples, len(data)))]
        made = open_dataset(f"random:{self.samples}", input_specs(model))
        return [dict(sample.feeds) for sample in made]


def _run(model: Model, feeds: list[Feeds]) -> list[Feeds]:
    from edgecompile.calibration.session import Optimisation, run_session

    session = run_session(model, optimisation=Optimisation.NONE, exact=True)
    return [dict(session.run(feed)) for feed in feeds]


def _check(model: Model) -> None:
    """Write the model and load it back, as a user's own file would be: checker, shapes, limits."""
    from edgecompile.ir.load import load
    from edgecompile.ir.save import save

    with tempfile.TemporaryDirectory(prefix="edgecompile-") as directory:
        save(model, Path(directory) / "model.onnx")
        load(Path(directory) / "model.onnx")
