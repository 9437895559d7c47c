"""ONNX Runtime's CPU kernels for artifacts that are ONNX files made for other providers of it.

The arithmetic is that of the graph; the device's provider has other kernels for it. What ran is the
very file that ships, read from disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from edgecompile.artifacts.types import Latency
from edgecompile.calibration.session import Session, run_session
from edgecompile.ir.load import load
from edgecompile.targets.schema import Target
from edgecompile.vendor import versions
from edgecompile.verify.compare import Array, Outputs
from edgecompile.verify.runtimes.base import Account, ArtifactRuntime, Nodes, OpenArtifact, Stage

Feeds = Mapping[str, Array]


@contextmanager
def _opened(path: Path, threads: int) -> Iterator[OpenArtifact]:
    yield _File(run_session(load(path), threads=threads, exact=True))


class DirectMlOnCpu(ArtifactRuntime):
    """Runs `onnx-directml`."""

    id: ClassVar[str] = "onnx-directml"

    @contextmanager
    def open(
        self, path: Path, target: Target, workdir: Path, *, threads: int
    ) -> Iterator[OpenArtifact]:
        """Load the file. Raises EC-340."""
        with _opened(path, threads) as opened:
            yield opened


class WinMlOnCpu(ArtifactRuntime):
    """Runs `onnx-winml`."""

    id: ClassVar[str] = "onnx-winml"

    @contextmanager
    def open(
        self, path: Path, target: Target, workdir: Path, *, threads: int
    ) -> Iterator[OpenArtifact]:
        """Load the file. Raises EC-340."""
        with _opened(path, threads) as opened:
            yield opened


class VitisAiOnCpu(ArtifactRuntime):
    """Runs `onnx-vitisai`."""

    id: ClassVar[str] = "onnx-vitisai"

    @contextmanager
    def open(
        self, path: Path, target: Target, workdir: Path, *, threads: int
    ) -> Iterator[OpenArtifact]:
        """Load the file. Raises EC-340."""
        with _opened(path, threads) as opened:
            yield opened


class _File(OpenArtifact):
    """Quantization is computed exactly: this CPU's integer kernels may saturate, the device not."""

    def __init__(self, session: Session) -> None:
        version = versions("onnxruntime").get("onnxruntime", "")
        self._session = session
        name = f"onnxruntime {version} CPU, QDQ fusion off"
        self.stages = [Stage(name="artifact", arithmetic="exact", runtime=name, judged=True)]

    def run(self, samples: Sequence[Feeds]) -> list[dict[str, Outputs]]:
        """Outputs of the file for each sample."""
        return [{"artifact": self._session.run(feeds)} for feeds in samples]

    def account(self, feeds: Feeds, kept_float: Mapping[str, str], nodes: Nodes) -> Account | None:
        """Nothing: the emitter has told from the operator table where nodes run."""
        return None

    def latency(self, float_model: Path, feeds: Feeds) -> Latency | None:
        """None: the time of this CPU says nothing about the device."""
        return None
