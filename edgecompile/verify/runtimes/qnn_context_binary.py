"""QNN's emulator of the Hexagon Tensor Processor, in a guarded process.

It runs the compiled graph itself, sum for sum, and is hundreds of times slower than the chip: only
the samples that are compared go through it. It shows neither the chip's speed nor whether the
chip's firmware takes the binary, and it computes half precision in single.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgecompile.artifacts.types import Latency
from edgecompile.targets.schema import Target
from edgecompile.vendor import demand, versions
from edgecompile.vendor.guarded import GuardedProcess
from edgecompile.verify.compare import Array, Outputs
from edgecompile.verify.runtimes.base import Account, ArtifactRuntime, Nodes, OpenArtifact, Stage

_RUNNER = "edgecompile.vendor.qnn.runner"
Feeds = Mapping[str, Array]


class QnnContextRuntime(ArtifactRuntime):
    """Runs `qnn-context-binary`."""

    id: ClassVar[str] = "qnn-context-binary"
    extra: ClassVar[str | None] = "qnn"

    @contextmanager
    def open(
        self, path: Path, target: Target, workdir: Path, *, threads: int
    ) -> Iterator[OpenArtifact]:
        """Start a worker that holds the compiled graph."""
        demand("qnn")
        assert target.qnn is not None
        (chip,) = target.qnn.chips
        with GuardedProcess("onnxruntime-qnn", workdir=workdir) as worker:
            payload = {
                "model": str(path.resolve()),
                "options": {"backend_type": "htp", "soc_model": str(chip.soc_model)},
                "threads": threads,
            }
            facts = worker.call(f"{_RUNNER}:open_model", payload)
            version = versions("onnxruntime-qnn").get("onnxruntime-qnn", "")
            stage = Stage(
                name="artifact",
                arithmetic="runtime",
                runtime=f"onnxruntime-qnn {version}, emulator of the Hexagon processor",
                judged=True,
                emulated=True,
            )
            yield _Session(worker, workdir, facts["outputs"], stage)


class _Session(OpenArtifact):
    def __init__(
        self, worker: GuardedProcess, workdir: Path, outputs: list[str], stage: Stage
    ) -> None:
        self.stages = [stage]
        self._worker = worker
        self._workdir = workdir
        self._outputs = outputs

    def run(self, samples: Sequence[Feeds]) -> list[dict[str, Outputs]]:
        """Outputs of the samples, as the compiled graph gives them."""
        if not samples:
            return []
        feeds, results = self._workdir / "feeds.npz", self._workdir / "results.npz"
        inputs = list(samples[0])
        arrays = {
            f"{at}/{i}": sample[name]
            for at, sample in enumerate(samples)
            for i, name in enumerate(inputs)
        }
        np.savez(feeds, **arrays)  # type: ignore[arg-type]
        payload = {
            "feeds": str(feeds),
            "results": str(results),
            "inputs": inputs,
            "samples": len(samples),
        }
        self._worker.call(f"{_RUNNER}:run", payload)
        with np.load(results) as stored:
            return [
                {"artifact": {n: stored[f"{at}/{i}"] for i, n in enumerate(self._outputs)}}
                for at in range(len(samples))
            ]

    def account(self, feeds: Feeds, kept_float: Mapping[str, str], nodes: Nodes) -> Account | None:
        """Nothing beyond what the compiler has told when it made the artifact."""
        return None

    def latency(self, float_model: Path, feeds: Feeds) -> Latency | None:
        """None: the time of an emulator says nothing about the chip."""
        return None
