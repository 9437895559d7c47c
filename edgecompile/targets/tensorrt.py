"""Facts for the TensorRT emitters: which library, which GPU, and the DLA beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgecompile.targets.frozen import Frozen

Capability = Annotated[str, Field(pattern=r"^\d{1,2}\.\d$")]


class Dla(Frozen):
    """NVIDIA's deep-learning accelerator beside a Jetson's GPU, and what it takes."""

    generation: Literal["xavier", "orin"]
    """Column of the operator table `tensorrt-dla`."""
    cores: int
    max_batch: int
    max_dimension: int
    """Of every axis but the first."""
    max_loadables: int
    """Networks that one core holds at a time."""
    source: tuple[str, ...]
    note: str = ""


class TensorRt(Frozen):
    """Facts for the TensorRT emitters."""

    library: Literal["tensorrt", "tensorrt-rtx"]
    compute_capabilities: tuple[Capability, ...]
    """Of the device, or of every GPU that one plan is made for."""
    version: str | None = None
    """Of the library in the chosen release of the target's software; null when nobody chose."""
    dla: Dla | None = None
    source: tuple[str, ...]

    @property
    def major(self) -> int:
        """Generation of the library's rules: TensorRT-RTX has those of TensorRT 10."""
        return 10 if self.version is None else int(self.version.partition(".")[0])

    @property
    def cited(self) -> tuple[str, ...]:
        """Ids of the sources that these facts name."""
        return (*self.source, *(self.dla.source if self.dla else ()))

    @property
    def lowest(self) -> tuple[int, int]:
        """The oldest GPU among them, as (major, minor)."""
        return min(capability(text) for text in self.compute_capabilities)


def capability(text: str) -> tuple[int, int]:
    """`8.7` -> (8, 7)."""
    major, minor = text.split(".")
    return int(major), int(minor)
