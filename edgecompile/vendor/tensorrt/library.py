"""What the builder asks of a library, and both libraries' answers to it.

Only what the two, and the generations of TensorRT, do differently is here; everything else is one
piece of code in `builder`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from edgecompile.diagnostics.catalogue.tensorrt import CAPABILITY_REFUSED

MIB = 2**20


class Library(ABC):
    """One of the twins, imported."""

    module_name: ClassVar[str]
    title: ClassVar[str]

    def __init__(self) -> None:
        """Import the library. Raises `ImportError` or `OSError`."""
        self.api: Any = importlib.import_module(self.module_name)

    @property
    def version(self) -> tuple[int, ...]:
        """Numbers of its version."""
        return tuple(int(part) for part in str(self.api.__version__).split(".") if part.isdigit())

    @property
    def name(self) -> str:
        """Title and version, for messages."""
        return f"{self.title} {self.api.__version__}"

    @abstractmethod
    def network_flags(self) -> int:
        """Flags of `create_network`."""

    @abstractmethod
    def configure(self, config: Any, options: Mapping[str, Any]) -> None:
        """What only this library has to set."""

    @abstractmethod
    def constrain(self, network: Any, config: Any, options: Mapping[str, Any]) -> None:
        """Set the precision of single layers, where the graph does not say it."""


class TensorRt(Library):
    """TensorRT 8.2 to 11: an engine for the GPU of this machine."""

    module_name: ClassVar[str] = "tensorrt"
    title: ClassVar[str] = "TensorRT"

    def network_flags(self) -> int:
        """TensorRT 10 types strongly when asked to, 11 always, 8 cannot."""
        if self.version[0] >= 11:
            return 0
        flags = self.api.NetworkDefinitionCreationFlag
        wanted = "STRONGLY_TYPED" if self.version[0] == 10 else "EXPLICIT_BATCH"
        return 1 << int(getattr(flags, wanted))

    def configure(self, config: Any, options: Mapping[str, Any]) -> None:
        """Precisions by flag, which only TensorRT 8 knows, and the DLA."""
        flags = self.api.BuilderFlag
        if self.version[0] < 10:
            for precision in options.get("precisions", ()):
                config.set_flag(getattr(flags, precision.upper()))
        core = options.get("dla_core")
        if core is not None:
            config.default_device_type = self.api.DeviceType.DLA
            config.DLA_core = core
            config.set_flag(flags.GPU_FALLBACK)

    def constrain(self, network: Any, config: Any, options: Mapping[str, Any]) -> None:
        """As `emitters.tensorrt_precision` wants it, for TensorRT 8 alone; flags are of 8.2."""
        wanted, rule = options.get("layer_precisions", {}), options.get("constraint")
        if self.version[0] >= 10 or not rule or options.get("dla_core") is not None:
            return
        kinds = {"fp16": self.api.DataType.HALF, "fp32": self.api.DataType.FLOAT}
        config.set_flag(getattr(self.api.BuilderFlag, f"{rule.upper()}_PRECISION_CONSTRAINTS"))
        for index in range(network.num_layers):
            layer = network.get_layer(index)
            if layer.name in wanted:
                layer.precision = kinds[wanted[layer.name]]
                if wanted[layer.name] == "fp32":
                    layer.set_output_type(0, kinds["fp32"])


class TensorRtRtx(Library):
    """TensorRT-RTX: a plan for several generations of GPUs, made on the CPU."""

    module_name: ClassVar[str] = "tensorrt_rtx"
    title: ClassVar[str] = "TensorRT-RTX"

    def network_flags(self) -> int:
        """Strongly typed is all it knows."""
        return 1 << int(self.api.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    def configure(self, config: Any, options: Mapping[str, Any]) -> None:
        """Which GPUs. `set_compute_capability` returns False and does not raise.

        Raises EC-682 for a capability that it has no code generator for.
        """
        known = self.api.ComputeCapability.__members__
        wanted = options.get("capabilities", ())
        config.num_compute_capabilities = len(wanted)
        for index, text in enumerate(wanted):
            member = known.get(f"SM{text.replace('.', '')}")
            if member is None or not config.set_compute_capability(member, index):
                raise CAPABILITY_REFUSED.error(
                    library=self.name, capability=text, known=", ".join(_shown(known))
                )

    def constrain(self, network: Any, config: Any, options: Mapping[str, Any]) -> None:
        """The graph types every layer."""


def _shown(members: Mapping[str, Any]) -> list[str]:
    """`SM120` -> `12.0`."""
    return [f"{name[2:-1]}.{name[-1]}" for name in members if name.startswith("SM")]


LIBRARIES: Mapping[str, type[Library]] = {
    "tensorrt": TensorRt,
    "tensorrt-rtx": TensorRtRtx,
}
