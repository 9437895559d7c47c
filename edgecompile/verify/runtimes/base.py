"""The contract of a runtime: how artifacts of one format are run on the build machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from edgecompile.artifacts.types import Coverage, Latency
from edgecompile.diagnostics import Diagnostic
from edgecompile.targets.schema import Target

if TYPE_CHECKING:
    from edgecompile.verify.compare import Array, Outputs


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One way in which the artifact is run."""

    name: str
    """`artifact`, `artifact_exact` or `artifact_saturating`."""
    arithmetic: Literal["exact", "runtime"]
    runtime: str
    """Which runtime, version and precision, in words."""
    judged: bool
    """Whether the target computes like this, so that budgets apply."""
    saturates: bool = False
    emulated: bool = False
    """Whether it is slow beyond use: it runs only the samples that are compared, and task metrics
    come from the quantized ONNX model."""


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """The nodes of the model that an artifact was made from."""

    makers: Mapping[str, str]
    """Tensor -> node that makes it: some runtimes name operators after their result."""
    operators: Mapping[str, str]
    """Node -> operator."""
    macs: Mapping[str, int | None] = field(default_factory=dict)
    """Product -> multiply-accumulates, None where they cannot be told."""
    integer: tuple[str, ...] = ()
    """Products that the passes made INT8, or FP8."""
    narrow_floats: bool = False
    """Whether they are in FP8."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The runtime's own account of what it runs."""

    coverage: Coverage
    integer_macs: float | None
    """Share of multiply-accumulates in integer kernels; None when they could not be counted."""


class OpenArtifact(ABC):
    """A loaded artifact. Outputs are named as in the model."""

    stages: Sequence[Stage]
    """Empty for an artifact that can be read here and not run. May shrink while samples are run,
    when a way of running turns out not to work here."""
    notes: Sequence[Diagnostic] = ()
    """What there is to say about the runs."""

    @abstractmethod
    def run(self, samples: Sequence[Mapping[str, Array]]) -> list[dict[str, Outputs]]:
        """For each of `samples` (inputs by name) the outputs of each stage, by its name."""

    @abstractmethod
    def account(
        self,
        feeds: Mapping[str, Array],
        kept_float: Mapping[str, str],
        nodes: Nodes,
    ) -> Account | None:
        """Coverage; `feeds` fixes dynamic shapes, `kept_float` says why nodes stay in float.

        None where the runtime tells nothing that the compiler has not told before.
        """

    @abstractmethod
    def latency(self, float_model: Path, feeds: Mapping[str, Array]) -> Latency | None:
        """Time of one inference of `float_model` (ONNX) and of the artifact, on this machine.

        None where it cannot be run, or would say nothing about the device.
        """


class ArtifactRuntime(ABC):
    """Runs artifacts of the format `id`; found by file, like passes and emitters."""

    id: ClassVar[str]
    extra: ClassVar[str | None] = None

    @classmethod
    def host_tools(cls) -> dict[str, str]:
        """Name -> version of tools that are found on the machine and not installed with pip.

        They decide whether figures from the cache still hold.
        """
        return {}

    @abstractmethod
    def open(
        self, path: Path, target: Target, workdir: Path, *, threads: int
    ) -> AbstractContextManager[OpenArtifact]:
        """Load the artifact whose main file is `path`. Raises EC-500 to EC-514."""
