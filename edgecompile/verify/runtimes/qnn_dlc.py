"""A DLC with the tools of Qualcomm's SDK, where the user has it; without it, nothing runs one.

The SDK's own reader must take the file. For a Tensor Processor its `qnn-net-run` then runs the DLC
on the SDK's emulator; a DSP has none. The status stays `checked`: that is what the target allows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgecompile.artifacts.types import Latency
from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue.budget import NO_RUNTIME
from edgecompile.diagnostics.catalogue.qnn import SDK_READ
from edgecompile.emitters.base import KITS
from edgecompile.targets.schema import Target
from edgecompile.vendor.guarded import GuardedProcess
from edgecompile.vendor.qnn.dlc import describe_dlc
from edgecompile.vendor.qnn.sdk import READERS, ROOTS, Sdk, find_sdk, found_here, wrong_roots
from edgecompile.verify.compare import Array, Outputs
from edgecompile.verify.runtimes.base import Account, ArtifactRuntime, Nodes, OpenArtifact, Stage
from edgecompile.verify.runtimes.feeds import write_feeds

_WORKER = "edgecompile.vendor.qnn.sdk_tools"
_RUNNER = KITS.joinpath("qnn_dlc", "runner.py")
NET_RUN = "qnn-net-run"
DLC = ".dlc"
Feeds = Mapping[str, Array]


class QnnDlcRuntime(ArtifactRuntime):
    """Reads and, where it can, runs `qnn-dlc`."""

    id: ClassVar[str] = "qnn-dlc"

    @classmethod
    def host_tools(cls) -> dict[str, str]:
        """The SDK's version and tools, where there is one, and variables that name none."""
        return found_here()

    @contextmanager
    def open(
        self, path: Path, target: Target, workdir: Path, *, threads: int
    ) -> Iterator[OpenArtifact]:
        """Let the SDK read the file. Raises EC-510 when it does not take it."""
        del threads
        sdk, wrong = find_sdk(), [*wrong_roots().values()]
        if sdk is None or not sdk.here:
            yield _Session([*wrong, NO_RUNTIME.at(format=self.id)])
            return
        # A file for several chips lies beside its wrapper.
        (file,) = [path] if path.suffix == DLC else path.parent.glob(f"*{DLC}")
        assert target.qnn is not None
        runs = NET_RUN in sdk.here and target.qnn.backend == "htp" and path.suffix == DLC
        with GuardedProcess(
            f"QAIRT {sdk.version}".strip(), workdir=workdir, extra_environment=_surroundings(sdk)
        ) as worker:
            given = {"dlc": str(file.resolve()), "runner": str(_RUNNER)}
            notes = [*wrong, *_read(worker, sdk, given)]
            if not runs:
                yield _Session([*notes, NO_RUNTIME.at(format=self.id)])
                return
            (graph,) = describe_dlc(file.read_bytes())["graphs"]
            outputs = {port["name"]: port["shape"] for port in graph["outputs"]}
            worker.call(f"{_WORKER}:open_dlc", {**given, "tool": NET_RUN, "outputs": outputs})
            yield _Session(notes, worker, workdir, f"{NET_RUN} of QAIRT {sdk.version}, emulator")


def _surroundings(sdk: Sdk) -> dict[str, str]:
    """Of the caller's variables only the SDK's own reach its tools."""
    known = {name: os.environ[name] for name in ROOTS if name in os.environ}
    return {**known, ROOTS[0]: str(sdk.root)}


def _read(worker: GuardedProcess, sdk: Sdk, given: Mapping[str, Any]) -> list[Diagnostic]:
    """That the SDK's reader takes the file; nothing where it has none for this machine."""
    tool = next((name for name in READERS if name in sdk.here), None)
    if tool is None:
        return []
    worker.call(f"{_WORKER}:read_dlc", {**given, "tool": tool})
    return [SDK_READ.at(tool=tool, version=sdk.version)]


class _Session(OpenArtifact):
    """The DLC in a worker, or only the notes on it."""

    def __init__(
        self,
        notes: list[Diagnostic],
        worker: GuardedProcess | None = None,
        workdir: Path = Path(),
        runtime: str = "",
    ) -> None:
        self.notes = notes
        self.stages = []
        if worker is not None:
            self.stages = [
                Stage(
                    name="artifact",
                    arithmetic="runtime",
                    runtime=runtime,
                    judged=True,
                    emulated=True,
                )
            ]
        self._worker = worker
        self._workdir = workdir

    def run(self, samples: Sequence[Feeds]) -> list[dict[str, Outputs]]:
        """Outputs of the samples from the SDK's tool."""
        if self._worker is None or not samples:
            return [{} for _ in samples]
        results = self._workdir / "results.npz"
        given = {**write_feeds(self._workdir, samples), "results": str(results)}
        names = self._worker.call(f"{_WORKER}:run", given)["outputs"]
        with np.load(results) as stored:
            return [
                {"artifact": {name: stored[f"{at}/{i}"] for i, name in enumerate(names)}}
                for at in range(len(samples))
            ]

    def account(self, feeds: Feeds, kept_float: Mapping[str, str], nodes: Nodes) -> Account | None:
        """Nothing beyond what reading the DLC back has told."""
        return None

    def latency(self, float_model: Path, feeds: Feeds) -> Latency | None:
        """None: an emulator's time says nothing about the chip."""
        return None
