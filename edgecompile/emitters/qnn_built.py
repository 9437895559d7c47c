"""Hold what Qualcomm's compiler wrote against what was asked for: it replaces silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecompile.diagnostics import Diagnostic, EdgecompileError, ExitCode
from edgecompile.diagnostics.catalogue.emit import ARTIFACT_DIFFERS, WEIGHTS_INFLATED
from edgecompile.diagnostics.catalogue.qnn import NOTHING_COMPILED, WRONG_CHIP
from edgecompile.emitters.qnn_placement import fallbacks
from edgecompile.ir.facts import (
    TensorSpec,
    all_nodes,
    constant_array,
    constant_tensor,
    input_specs,
    output_specs,
)
from edgecompile.ir.model import Model
from edgecompile.targets.schema import QnnChip, Target

SMALL_BYTES = 64
"""Constants up to this size may be folded away without it mattering."""
_STORED_SHARE = 0.9
_SHOWN = 3
Report = Mapping[str, Any]


def refuse_refused(report: Report, target: Target) -> None:
    """Raise EC-626, with the vendor's reasons, when the compiler took nothing of the model."""
    if "refused" not in report:
        return
    told = fallbacks(report["left_out"], report["left_out"])
    reasons = "; ".join(f"{one.op} '{one.node}': {one.reason}" for one in told[:_SHOWN])
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    chips = target.qnn.chips if target.qnn else ()
    raise NOTHING_COMPILED.error(
        chip=", ".join(chip.soc_type for chip in chips), reasons=(reasons or "no reason") + more
    )


def check_built(model: Model, binary: Report, wrapper: Report, chip: QnnChip, vtcm_mb: int) -> None:
    """Raise everything that is not as asked for: chip, memory, graphs, inputs and outputs.

    EC-625 for the chip, EC-603 for the interface.
    """
    wanted = (chip.soc_model, chip.soc_type, chip.arch, vtcm_mb)
    built = tuple(binary[key] for key in ("soc_model", "soc_type", "arch", "vtcm_mb"))
    if built != wanted:
        raise WRONG_CHIP.error(built=_chip(*built), wanted=_chip(*wanted))
    found = interface_differences(model, wrapper)
    names = {graph["name"] for graph in binary["graphs"]}
    found += quantization_differences(model, binary["graphs"])
    lost = [name for name in wrapper["contexts"] if name not in names]
    found += [f"no graph '{name}' in the binary" for name in lost]
    raise_differences(found)


def interface_differences(model: Model, ports: Report) -> list[str]:
    """How `inputs` and `outputs` of an artifact differ from those of `model`."""
    found: list[str] = []
    for kind, specs in (("input", input_specs(model)), ("output", output_specs(model))):
        have = {port["name"]: port for port in ports[f"{kind}s"]}
        extra = have.keys() - {spec.name for spec in specs}
        found += [f"{kind} '{name}' is not in the model" for name in sorted(extra)]
        for spec in specs:
            found += _port(kind, spec, have.get(spec.name))
    return found


def _port(kind: str, spec: TensorSpec, port: Report | None) -> list[str]:
    if port is None:
        return [f"no {kind} '{spec.name}'"]
    found = []
    if port["dtype"] != spec.dtype.name:
        found.append(f"{kind} '{spec.name}' is {port['dtype']} instead of {spec.dtype.name}")
    same = len(port["shape"]) == len(spec.shape) and all(
        not isinstance(want, int) or want == got
        for want, got in zip(spec.shape, port["shape"], strict=True)
    )
    if spec.ranked and not same:
        found.append(f"{kind} '{spec.name}' has shape {port['shape']} instead of {[*spec.shape]}")
    return found


def quantization_differences(model: Model, graphs: Sequence[Report]) -> list[str]:
    """Integer inputs and outputs of the binary whose scale or zero point is not the model's."""
    wanted: dict[str, tuple[float, int]] = {}
    for value in model.graph.graph.inputs:
        for node, _ in value.uses():
            wanted |= _parameters(value.name, node, "QuantizeLinear")
    for value in model.graph.graph.outputs:
        wanted |= _parameters(value.name, value.producer(), "DequantizeLinear")
    found = []
    for port in (p for graph in graphs for p in (*graph["inputs"], *graph["outputs"])):
        if port["scale"] is None or port["name"] not in wanted:
            continue
        scale, zero_point = wanted[port["name"]]
        # QNN adds its offset where ONNX subtracts the zero point.
        if abs(port["scale"] - scale) > 1e-6 * scale or port["offset"] != -zero_point:
            built = f"scale {port['scale']:g} and offset {port['offset']}"
            found.append(f"'{port['name']}' has {built} instead of {scale:g} and {-zero_point}")
    return found


def _parameters(name: str | None, node: ir.Node | None, op: str) -> dict[str, tuple[float, int]]:
    if node is None or node.op_type != op:
        return {}
    scale = constant_array(node.inputs[1])
    zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    if scale is None or scale.size != 1:
        return {}
    return {name or "": (float(scale.reshape(())), 0 if zero is None else int(zero.reshape(())))}


def raise_differences(found: Sequence[str]) -> None:
    """One EC-603 for each."""
    if found:
        told = tuple(ARTIFACT_DIFFERS.at(reason=reason) for reason in found)
        raise EdgecompileError(told, ExitCode.REJECTED)


def weights_problem(model: Model, stored_bytes: int) -> list[Diagnostic]:
    """EC-605 when integer weights of `model` are stored in fewer bytes than they have."""
    expected: dict[str, int] = {}
    for node in all_nodes(model):
        tensor = constant_tensor(node.inputs[0]) if node.op_type == "DequantizeLinear" else None
        if tensor is not None and tensor.nbytes > SMALL_BYTES:
            expected[node.inputs[0].name or ""] = tensor.nbytes  # type: ignore[union-attr]
    total = sum(expected.values())
    if stored_bytes >= _STORED_SHARE * total:
        return []
    return [WEIGHTS_INFLATED.at(stored_bytes=stored_bytes, expected_bytes=total)]


def _chip(soc_model: object, soc_type: object, arch: object, vtcm_mb: object) -> str:
    return f"{soc_type} ({soc_model}) v{arch} with {vtcm_mb} MiB"
