"""The device kit: what a device needs to prove the artifact, and what it says afterwards.

A kit is the folder `artifacts/device` of a build whose artifact could not be run in the device's
own runtime: golden inputs and outputs, `prove.py` (which needs Python 3.6 and numpy), the runner of
the artifact's format, and `kit.json`. It travels with the artifact. `prove.py` writes a
`DeviceReport`, which `edgecompile prove` merges into the manifest.
"""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import Field

from edgecompile.artifacts.document import Document, Record

FOLDER = "artifacts/device"
KIT_FILE = "kit.json"
GOLDEN_FILE = "golden.npz"
PROVE_FILE = "prove.py"
REPORT_FILE = "device-report.json"
OUTPUTS_FILE = "device-outputs.npz"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class KitInput(Record):
    """One input of the model, as the golden data holds it."""

    name: str
    dtype: str


class KitArtifact(Record):
    """The artifact to prove. `path` is relative to the folder `artifacts`."""

    path: str
    format: str
    files: tuple[str, ...]
    """Relative to the build directory."""
    sha256: Sha256


class KitGolden(Record):
    """The golden data: arrays `input/N/NAME`, `float/N/NAME`, `quantized/N/NAME` of sample N.

    `float` are the outputs of the float model, `quantized` those of the quantized ONNX in exact
    fake-quant arithmetic.
    """

    file: str
    sha256: Sha256
    samples: int = Field(ge=1)
    random: bool = False
    """True when no data was given and the inputs are random numbers."""


class DeviceKit(Document):
    """`kit.json`, schema `edgecompile/device-kit@1`."""

    schema_: Annotated[Literal["edgecompile/device-kit@1"], Field(alias="schema")] = (
        "edgecompile/device-kit@1"
    )
    target: str
    artifact: KitArtifact
    golden: KitGolden
    inputs: tuple[KitInput, ...]
    outputs: tuple[str, ...]
    limits: dict[str, float]
    """Output -> smallest cosine with the float model that passes on the device."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What the runner needs to know, such as the name of the device."""


class DeviceName(Record):
    """The machine that ran the artifact, in its own words."""

    machine: str
    system: str
    node: str


class DeviceFigures(Record):
    """One output as the device has found it; the merge computes it again from the outputs."""

    cosine: float
    sqnr_db: float | None
    max_abs: float | None
    limit: float
    passed: bool


class DeviceLatency(Record):
    """Time of one inference on the device, in milliseconds."""

    median: float
    p90: float
    runs: int


class ProvenArtifact(Record):
    """Which file ran: the artifact of the build, or one that the device built from it."""

    path: str
    sha256: Sha256
    replaced_by: Sha256 | None = None


class BuiltFile(Record):
    """A file that the device has built from the artifact and ran, beside its report."""

    file: Annotated[str, Field(pattern=r"^[\w.+-]+$")]
    format: str
    sha256: Sha256
    executable: bool = False


class DeviceReport(Document):
    """`device-report.json`, schema `edgecompile/device-report@1`."""

    schema_: Annotated[Literal["edgecompile/device-report@1"], Field(alias="schema")] = (
        "edgecompile/device-report@1"
    )
    kit_sha256: Sha256
    outputs_sha256: Sha256
    artifact: ProvenArtifact
    device: DeviceName
    runtime: str
    samples: int = Field(ge=1)
    outputs: dict[str, DeviceFigures]
    latency_ms: DeviceLatency
    passed: bool
    built: tuple[BuiltFile, ...] = ()
    facts: dict[str, Any] = Field(default_factory=dict)
    """What else the runner has to tell, such as the precision of each layer."""


def prove_script() -> str:
    """The text of `prove.py`, the same in every kit."""
    folder = resources.files("edgecompile.artifacts") / "device_side"
    return (folder / PROVE_FILE).read_text(encoding="utf-8")
