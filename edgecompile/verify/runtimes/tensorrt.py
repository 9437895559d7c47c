"""TensorRT engines on the GPU of this machine, in a guarded process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgecompile.artifacts.types import Latency
from edgecompile.emitters.base import KITS
from edgecompile.store.files import sha256_of_file
from edgecompile.targets.schema import Target
from edgecompile.vendor.guarded import GuardedProcess
from edgecompile.verify.compare import Array, Outputs
from edgecompile.verify.coverage import account
from edgecompile.verify.runtimes.base import Account, ArtifactRuntime, Nodes, OpenArtifact, Stage
from edgecompile.verify.runtimes.feeds import write_feeds

_WORKER = "edgecompile.vendor.tensorrt.engine"
Feeds = Mapping[str, Array]


class TensorRtRuntime(ArtifactRuntime):
    """Runs `tensorrt-engine`, which is built only where it can be run."""

    id: ClassVar[str] = "tensorrt-engine"
    extra: ClassVar[str | None] = "tensorrt"

    @contextmanager
    def open(
        self, path: Path, target: Target, workdir: Path, *, threads: int
    ) -> Iterator[OpenArtifact]:
        """Load the engine in a worker. `verify` has held its digest against the artifact's."""
        del target, threads
        with GuardedProcess("tensorrt", workdir=workdir) as worker:
            payload = {
                "engine": str(path.resolve()),
                "sha256": sha256_of_file(path),
                "runner": str(KITS.joinpath("tensorrt", "runner.py")),
                "module": "tensorrt",
            }
            facts = worker.call(f"{_WORKER}:open_engine", payload)
            yield _Session(worker, workdir, facts["runtime"])


class _Session(OpenArtifact):
    """A worker with the engine loaded."""

    def __init__(self, worker: GuardedProcess, workdir: Path, runtime: str) -> None:
        self.stages = [Stage(name="artifact", arithmetic="runtime", runtime=runtime, judged=True)]
        self._worker = worker
        self._workdir = workdir
        self._runtime = runtime

    def run(self, samples: Sequence[Feeds]) -> list[dict[str, Outputs]]:
        """Outputs of the samples, by name."""
        results = self._workdir / "results.npz"
        given = {**write_feeds(self._workdir, samples), "results": str(results)}
        names = self._worker.call(f"{_WORKER}:run", given)["outputs"]
        with np.load(results) as stored:
            return [
                {"artifact": {name: stored[f"{k}/{i}"] for i, name in enumerate(names)}}
                for k in range(len(samples))
            ]

    def account(self, feeds: Feeds, kept_float: Mapping[str, str], nodes: Nodes) -> Account:
        """Layers and precisions, as the engine's inspector tells them."""
        del feeds
        report = self._worker.call(f"{_WORKER}:layers", {})
        return account(report["layers"], nodes.macs, kept_float, nodes)

    def latency(self, float_model: Path, feeds: Feeds) -> Latency | None:
        """Medians of alternating runs of an FP32 engine of the float model and of this one."""
        shapes = {name: [list(array.shape)] * 3 for name, array in feeds.items()}
        payload = {
            **write_feeds(self._workdir, [feeds]),
            "float": str(float_model),
            "library": "tensorrt",
            "module": "tensorrt",
            "shapes": shapes,
            "workdir": str(self._workdir),
        }
        times = self._worker.call(f"{_WORKER}:latency", payload)
        return Latency(
            runtime=self._runtime,
            threads=1,
            float_ms=times["float_ms"],
            artifact_ms=times["artifact_ms"],
        )
