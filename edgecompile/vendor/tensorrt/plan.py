"""Read a plan of TensorRT-RTX without running it: version, GPUs, and the types of its layers.

`deserialize_cuda_engine`, and with it the engine inspector, needs a GPU. But a plan that was built
with detailed profiling holds its own program as text: every tensor with its type, every operation
with the tensors that it reads. The vendor does not document that part (seen in 1.7.1), so what is
not there is "unknown" and never a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"vtrt"
_SHORTEST = 28
_GPUS = re.compile(rb"\n\s*accelerators=\{([^}\n]*)\}")
_TENSOR = re.compile(rb"\n\s*(?:sub_)?tensor=\{[^\n]*? name=\"([^\"\n]*)\"[^\n]*? type=(\w+) \}")
_OPERATION = re.compile(
    rb"\n\s*(\w+)=\{ name=\"?([^\"\n ]*)\"? (?:output=\{[^}\n]*\} )?input(?:_args)?=\{([^}\n]*)\}"
    rb"([^\n]*)"
)
_ORIGIN = re.compile(rb"\[ONNX Layer: ([^\]\n]*)\]")
_NAME = re.compile(rb"\"([^\"\n]*)\"")

PRODUCTS = {
    "corrltn": "Convolution",
    "deconvolution": "Deconvolution",
    "fully_connected": "FullyConnected",
    "runtime_fusion": "FullyConnected",
}
"""Operations that multiply and add, and what they are called elsewhere in edgecompile."""
TYPES = {"int8": "i8", "int4": "i4", "half": "f16", "fp16": "f16", "bf16": "bf16", "fp32": "f32",
         "float": "f32", "fp8_e4m3": "f8e4m3"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PlanLayer:
    """One operation of the plan."""

    name: str
    kind: str
    """`corrltn`, `fully_connected`, ... in the plan's own words."""
    inputs: tuple[str, ...]
    """Types of the tensors that it multiplies, first the data, then the weights."""
    origins: tuple[str, ...]
    """Nodes of the ONNX model that went into it."""

    @property
    def precision(self) -> str:
        """The type that it multiplies in: that of its first input."""
        return TYPES.get(self.inputs[0], self.inputs[0])

    @property
    def integer(self) -> bool:
        """Whether both of what it multiplies are INT8."""
        return self.multiplies("i8")

    def multiplies(self, kind: str) -> bool:
        """Whether both of what it multiplies are of the type `kind`, such as `f8e4m3`."""
        return len(self.inputs) > 1 and {TYPES.get(n) for n in self.inputs[:2]} == {kind}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a plan says of itself."""

    version: tuple[int, int, int, int]
    """Of the library that made it: major, minor, patch, build."""
    gpus: tuple[str, ...]
    """`sm86`, ...; empty where the plan does not tell."""
    layers: tuple[PlanLayer, ...]
    """The products only: what else runs between them is made on the device."""
    functions: int
    """How many fused functions run between the products."""


def read_plan(path: Path) -> Plan:
    """Read the plan at `path`. Raises `ValueError` for what is no plan."""
    data = path.read_bytes()
    if data[:4] != MAGIC or len(data) < _SHORTEST:
        raise ValueError("it does not begin as a plan of TensorRT-RTX does")
    types = {name.decode(): kind.decode() for name, kind in _TENSOR.findall(data)}
    gpus = _GPUS.search(data)
    return Plan(
        version=(data[24], data[25], data[26], data[27]),
        gpus=tuple(gpus.group(1).decode().split()) if gpus else (),
        layers=_layers(data, types),
        functions=len(re.findall(rb"\n\s*function=\{", data)),
    )


def _layers(data: bytes, types: dict[str, str]) -> tuple[PlanLayer, ...]:
    found: dict[tuple[str, tuple[str, ...]], PlanLayer] = {}
    for kind, name, inputs, rest in _OPERATION.findall(data):
        if kind.decode() not in PRODUCTS:
            continue
        names = [text.decode() for text in _NAME.findall(inputs)]
        origins = tuple(dict.fromkeys(text.decode() for text in _ORIGIN.findall(rest)))
        layer = PlanLayer(
            name=name.decode(),
            kind=kind.decode(),
            inputs=tuple(types.get(text, "unknown") for text in names[:2]),
            origins=origins,
        )
        found.setdefault((layer.name, origins), layer)
    return tuple(found.values())
