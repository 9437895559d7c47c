"""`nncf_quantize`: Intel's NNCF instead of the built-in quantizer, for targets of OpenVINO.

The result is an OpenVINO model with FakeQuantize nodes, which the emitter takes as it is; the ONNX
model stays as it was.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import onnx_ir as ir
from pydantic import Field

from edgecompile.diagnostics import Diagnostic
from edgecompile.diagnostics.catalogue.toolchain import TOOL_NONSENSE
from edgecompile.ir.facts import input_specs
from edgecompile.ir.model import Model
from edgecompile.ir.save import save
from edgecompile.passes.base import Context, Need, Note, Outcome, Pass
from edgecompile.targets.schema import Saturation, Target
from edgecompile.vendor import missing
from edgecompile.vendor.guarded import run_guarded

if TYPE_CHECKING:
    from edgecompile.calibration.dataset import Dataset

_ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Where", "Cast", "Identity", "Dropout"}
_RESHAPING = {"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
_THROUGH = _ELEMENTWISE | _RESHAPING
"""Operators that may stand between an attention's Softmax and its matrix products."""
_STEPS = 6
_DEVICES = {"CPU": "CPU", "GPU": "GPU", "NPU": "NPU"}


class NncfQuantize(Pass):
    """Quantize with NNCF on OpenVINO: calibration, SmoothQuant and bias correction of its own.

    NNCF 3.4, `nncf.quantize`. SmoothQuant: Xiao et al. 2022, arXiv:2211.10438. Fast bias
    correction shifts biases by the error of the mean activation (Nagel et al. 2019,
    arXiv:1906.04721, section 4.2).
    """

    id: ClassVar[str] = "nncf_quantize"
    version: ClassVar[int] = 1
    needs: ClassVar[frozenset[Need]] = frozenset({Need.DATA})
    facts: ClassVar[tuple[str, ...]] = ("quantization", "openvino")
    required_facts: ClassVar[tuple[str, ...]] = ("openvino",)
    libraries: ClassVar[tuple[str, ...]] = ("nncf", "openvino", "onnx-ir")
    extra: ClassVar[str | None] = "openvino"
    lossy: ClassVar[bool] = True

    preset: Literal["auto", "performance", "mixed"] = "auto"
    """`performance` quantizes activations symmetrically, `mixed` asymmetrically where they are
    signed; `auto` is NNCF's choice: `mixed` for transformers, else `performance`."""
    model_type: Literal["auto", "transformer", "none"] = "auto"
    """Transformers get SmoothQuant and keep more of attention in float; `auto` looks for an
    attention: a Softmax between two matrix products."""
    smooth_quant_alpha: Annotated[float, Field(ge=0, le=1)] | Literal["off"] | None = None
    """How much of the activations' spread moves into the weights of a MatMul; null is NNCF's
    default, 0.95 for transformers."""
    fast_bias_correction: bool = True
    """False takes the slower, layer by layer form."""
    overflow_fix: Literal["auto", "enable", "first_layer", "disable"] = "auto"
    """Half the range for weights, so that u8 x s8 products cannot saturate 16 bits; `auto` takes
    the target's facts."""

    def unfit(self, target: Target) -> list[str]:
        """Also refuses devices that NNCF has no rules for."""
        found = super().unfit(target)
        if target.openvino is not None and target.openvino.device not in _DEVICES:
            found.append(f"NNCF has no rules for OpenVINO's device {target.openvino.device}")
        return found

    def requires(self, model: Model, context: Context) -> list[Diagnostic]:
        """OpenVINO and NNCF must be installed."""
        problem = missing("openvino")
        return [] if problem is None else [problem]

    def run(self, model: Model, context: Context) -> Outcome:
        """Quantize in a guarded process. Raises EC-510 to EC-514 when NNCF fails."""
        if context.data is None or context.workdir is None:
            raise ValueError("nncf_quantize needs data and a working directory")
        options = self._options(model, context.target)
        workdir = context.workdir.resolve()  # the worker has a working directory of its own
        made = workdir / "nncf" / "model.xml"
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="samples-", dir=workdir) as scratch:
            given = Path(scratch)
            save(model, given / "model.onnx")
            payload = {
                "model": str(given / "model.onnx"),
                "samples": _write(context.data, given),
                "inputs": [spec.name for spec in input_specs(model)],
                "xml": str(made),
                "options": options,
            }
            report = run_guarded(
                "edgecompile.vendor.openvino.quantize:quantize",
                payload,
                tool="nncf",
                workdir=given,
                progress=context.progress,
            )
        if not report["fake_quantize"]:
            raise TOOL_NONSENSE.error(tool="nncf", reason="it quantized nothing")
        return Outcome(model=model, changed=False, artifact=made, notes=_notes(options, report))

    def _options(self, model: Model, target: Target) -> dict[str, Any]:
        saturates = (
            target.quantization is not None
            and target.quantization.saturation is not Saturation.NEVER
        )
        automatic = "enable" if saturates else "disable"
        alpha = -1.0 if self.smooth_quant_alpha == "off" else self.smooth_quant_alpha
        device = target.openvino.device if target.openvino else "CPU"
        return {
            "preset": None if self.preset == "auto" else self.preset,
            "transformer": self.model_type == "transformer"
            or (self.model_type == "auto" and has_attention(model)),
            "smooth_quant_alpha": alpha,
            "fast_bias_correction": self.fast_bias_correction,
            "overflow_fix": automatic if self.overflow_fix == "auto" else self.overflow_fix,
            "target_device": _DEVICES[device],
        }


def has_attention(model: Model) -> bool:
    """Whether some Softmax (or Attention) weighs the product of two activations."""
    for node in model.graph.graph:
        if node.op_type in {"Attention", "MultiHeadAttention"}:
            return True
        if node.op_type == "Softmax" and _reaches(node, _producers) and _reaches(node, _consumers):
            return True
    return False


def _reaches(node: ir.Node, neighbours: Callable[[ir.Node], list[ir.Node]]) -> bool:
    """Whether a MatMul of two activations is near `node`, through rearranging operators only."""
    front = neighbours(node)
    for _ in range(_STEPS):
        if any(other.op_type == "MatMul" and _both_computed(other) for other in front):
            return True
        passed = [other for other in front if other.op_type in _THROUGH]
        front = list(dict.fromkeys(n for other in passed for n in neighbours(other)))
    return False


def _both_computed(node: ir.Node) -> bool:
    return all(
        value is not None
        and (maker := value.producer()) is not None
        and maker.op_type not in {"Constant", "DequantizeLinear"}
        for value in node.inputs
    )


def _producers(node: ir.Node) -> list[ir.Node]:
    makers = [value.producer() for value in node.inputs if value is not None]
    return [maker for maker in makers if maker is not None]


def _consumers(node: ir.Node) -> list[ir.Node]:
    return [use.node for value in node.outputs for use in value.uses()]


def _write(data: Dataset, directory: Path) -> list[str]:
    """Each sample as an .npz of its own: NNCF reads them several times, one at a time."""
    import numpy as np

    paths: list[str] = []
    for i, sample in enumerate(data):
        path = directory / f"{i:06d}.npz"
        np.savez(path, **{f"in{k}": array for k, array in enumerate(sample.feeds.values())})  # type: ignore[arg-type]
        paths.append(str(path))
    return paths


def _notes(options: dict[str, Any], report: dict[str, Any]) -> tuple[Note, ...]:
    kind = "transformer" if options["transformer"] else "network without attention"
    pairs = report["fake_quantize"]
    fix = options["overflow_fix"]
    return (Note(message=f"NNCF placed {pairs} quantizers ({kind}, overflow fix: {fix})"),)
