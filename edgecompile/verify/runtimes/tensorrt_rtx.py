"""A plan of TensorRT-RTX, read and not run: loading it needs a GPU of the kind that it is for.

What its products multiply in is told by the plan itself, so coverage is known without a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from edgecompile.artifacts.types import Latency
from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue.budget import NO_RUNTIME
from edgecompile.diagnostics.catalogue.tensorrt import FLOAT_PLANNED, PLAN_SILENT
from edgecompile.targets.schema import Target
from edgecompile.vendor.tensorrt.plan import PRODUCTS, Plan, read_plan
from edgecompile.verify.compare import Array, Outputs
from edgecompile.verify.coverage import account
from edgecompile.verify.runtimes.base import Account, ArtifactRuntime, Nodes, OpenArtifact, Stage

_NAMED = 5


class TensorRtRtxPlan(ArtifactRuntime):
    """Reads `tensorrt-rtx-engine`."""

    id: ClassVar[str] = "tensorrt-rtx-engine"

    @contextmanager
    def open(
        self, path: Path, target: Target, workdir: Path, *, threads: int
    ) -> Iterator[OpenArtifact]:
        """Read the plan at `path`."""
        del target, workdir, threads
        yield _ReadPlan(read_plan(path))


class _ReadPlan(OpenArtifact):
    """A plan as a document: it has layers, and no way to run them."""

    stages: Sequence[Stage] = ()

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.notes: list[Diagnostic] = [NO_RUNTIME.at(format=TensorRtRtxPlan.id)]

    def run(self, samples: Sequence[Mapping[str, Array]]) -> list[dict[str, Outputs]]:
        """Nothing: there are no stages."""
        return [{} for _ in samples]

    def latency(self, float_model: Path, feeds: Mapping[str, Array]) -> Latency | None:
        """None: it cannot be run."""

    def account(
        self, feeds: Mapping[str, Array], kept_float: Mapping[str, str], nodes: Nodes
    ) -> Account:
        """The products by the types that they multiply; those made INT8 in vain are told."""
        del feeds
        layers = [
            {
                "name": layer.name,
                "kind": PRODUCTS[layer.kind],
                "precision": layer.precision,
                "origins": list(layer.origins),
            }
            for layer in self._plan.layers
        ]
        if not layers:
            self.notes.append(PLAN_SILENT.at(reason="it names no layer"))
        self._tell_lost(nodes)
        return account(layers, nodes.macs, kept_float, nodes)

    def _tell_lost(self, nodes: Nodes) -> None:
        kept = "f8e4m3" if nodes.narrow_floats else "i8"
        planned = {
            name: layer.multiplies(kept) for layer in self._plan.layers for name in layer.origins
        }
        lost = [name for name in nodes.integer if not planned.get(name, True)]
        if lost:
            shown = ", ".join(f"'{name}'" for name in lost[:_NAMED])
            more = ", ..." if len(lost) > _NAMED else ""
            promised = len(nodes.integer)
            title, names = ("FP8" if nodes.narrow_floats else "INT8"), shown + more
            self.notes.append(
                FLOAT_PLANNED.at(count=len(lost), promised=promised, kind=title, nodes=names)
            )
