"""`Target`: the facts about a device that passes, emitters and checks query.

Code never switches on a target's name. A figure without a source is null, and null means
"unknown, refuse to estimate", never zero.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Scalar = float | int | str | bool


class Frozen(BaseModel):
    """Base of every fact: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Kind(StrEnum):
    """What a figure rests on."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    DERIVED = "derived"
    MEASURED = "measured"
    RECOLLECTION = "recollection"
    NOT_SOURCED = "not_sourced"


class Fact(Frozen):
    """One hardware figure (units are in its name) with its sources."""

    value: Scalar | tuple[Scalar, ...] | None
    kind: Kind
    source: tuple[str, ...] = ()
    note: str = ""


class Saturation(StrEnum):
    """Whether u8 x s8 pair sums can saturate 16 bits on the device (AVX2 without VNNI does)."""

    NEVER = "never"
    SOME = "some"
    """Some members of the family do: emit weights that cannot overflow."""
    ALWAYS = "always"


class Activations(Frozen):
    """How the target wants activations in Q/DQ form."""

    type: Literal["uint8", "int8", "uint16", "int16"] = "uint8"
    symmetric: bool = False


class Weights(Frozen):
    """How the target wants weights in Q/DQ form."""

    type: Literal["int8", "uint8", "int4", "int16"] = "int8"
    symmetric: bool = True
    per_channel: bool = True
    narrow_range: bool = True
    """Symmetric integers stay in [-127, 127]."""


class QdqStyle(Frozen):
    """The Q/DQ form that the target's runtime fuses into integer kernels."""

    activations: Activations = Activations()
    weights: Weights = Weights()
    bias: Literal["int32", "float"] = "float"
    power_of_two_scales: bool = False
    operators: tuple[str, ...]
    """Operators that have an integer kernel and gain from it."""
    shared_scale: tuple[str, ...] = ()
    """Operators whose inputs and outputs must carry one scale and zero point."""
    unify_elementwise_inputs: bool = False
    fused_activations: tuple[str, ...] = ()
    """Activations that the runtime fuses into the operator before: no Q/DQ pair between."""
    saturation: Saturation = Saturation.NEVER


class Opsets(Frozen):
    """Range of `ai.onnx` opsets that the target's importer takes."""

    min: int = 7
    max: int


class OpenVino(Frozen):
    """Facts for the OpenVINO emitter and verifier."""

    device: Literal["CPU", "GPU", "NPU", "MYRIAD"]


class ArtifactRule(Frozen):
    """One artifact format that the target takes, and the status that a build elsewhere reaches."""

    format: str
    status: Literal["verified", "simulated", "checked", "needs-device-build"]
    why: str
    """Why the status is not higher (or why it may be this high)."""


class Target(Frozen):
    """One device, or one compute unit of a device, as facts."""

    schema_: Annotated[Literal["edgecompile/target@1"], Field(alias="schema")]
    id: str
    aliases: tuple[str, ...] = ()
    vendor: str
    soc: str
    accelerator: str
    summary: str
    artifacts: tuple[ArtifactRule, ...]
    recipe: str
    """Name of the default recipe."""
    precisions: dict[str, tuple[str, ...]]
    """Compute unit -> precisions it computes in (`int8`, `fp16`, `bf16`, `fp32`)."""
    opset: Opsets
    static_shapes: bool = False
    quantization: QdqStyle | None = None
    openvino: OpenVino | None = None
    hardware: dict[str, Fact] = {}
    graph_notes: tuple[str, ...] = ()
    sources: dict[str, str] = {}
    """Source id -> page or repository@commit."""
