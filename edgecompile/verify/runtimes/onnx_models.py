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


class _OnCpu(ArtifactRuntime):
    """What the formats have in common: all of it but their names."""

    @contextmanager
    def open(
        self, path: Path, target: Target, workdir: Path, *, threads: int
    ) -> Iterator[OpenArtifact]:
        """Load the file. Raises EC-340."""
        yield _File(run_session(load(path), threads=threads, exact=True))


class DirectMlOnCpu(_OnCpu):
    """Runs `onnx-directml`."""

    id: ClassVar[str] = "onnx-directml"


class WinMlOnCpu(_OnCpu):
    """Runs `onnx-winml`."""

    id: ClassVar[str] = "onnx-winml"


class VitisAiOnCpu(_OnCpu):
    """Runs `onnx-vitisai`."""

    id: ClassVar[str] = "onnx-vitisai"


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
