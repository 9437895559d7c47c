"""Which operators of an OpenVINO network a device's compiler does not parse, and where they run.

An NPU takes whole networks only. With such operators the network is split (HETERO), and other
units compute them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecompile.artifacts.types import Fallback
from edgecompile.diagnostics import Diagnostic, EdgecompileError, Where
from edgecompile.diagnostics.catalogue.check import OPERATOR_ELSEWHERE
from edgecompile.emitters.operators import listed
from edgecompile.ir.model import Model
from edgecompile.ir.save import save
from edgecompile.targets.operators import operator_table
from edgecompile.targets.schema import Target
from edgecompile.vendor import missing
from edgecompile.vendor.guarded import run_guarded

DOMAIN = "openvino"
"""Domain of the tables whose operators are those of OpenVINO."""
_PROBE = "edgecompile.vendor.openvino.convert:probe"
_VALUES = frozenset({"Parameter", "Result", "Constant"})


def elsewhere(operators: Mapping[str, Sequence[str]], target: Target) -> list[Fallback]:
    """Of the operators of a network (type -> names), those that the target's table lacks."""
    facts = target.openvino
    if facts is None or facts.operator_table is None:
        return []
    table = operator_table(facts.operator_table)
    return [
        Fallback(node=name, op=kind, reason="the NPU compiler does not parse it")
        for kind, names in sorted(operators.items())
        if kind not in _VALUES and not table.entries(DOMAIN, kind)
        for name in names
    ]


def remarks(found: Sequence[Fallback], target: Target) -> list[Diagnostic]:
    """One warning per operator."""
    facts = target.openvino
    groups: dict[str, list[str]] = {}
    for fallback in found:
        groups.setdefault(fallback.op, []).append(fallback.node)
    place = " or ".join(facts.fallback) if facts else ""
    return [
        OPERATOR_ELSEWHERE.at(
            Where(node=names[0]),
            runtime="the NPU compiler",
            op=op,
            elsewhere=f"the {place} (device 'HETERO')",
            reason="it does not parse it",
            nodes=listed(names),
        )
        for op, names in sorted(groups.items())
    ]


def asked(model: Model, target: Target) -> list[Diagnostic]:
    """What the network that OpenVINO makes of `model` holds that the target lacks.

    Nothing where OpenVINO is not installed or does not import the model: others tell that.
    """
    facts = target.openvino
    if facts is None or facts.operator_table is None or missing("openvino") is not None:
        return []
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        work = Path(scratch).resolve()
        save(model, work / "model.onnx")
        payload = {"model": str(work / "model.onnx")}
        try:
            answer: dict[str, Any] = run_guarded(_PROBE, payload, tool="openvino", workdir=work)
        except EdgecompileError:
            return []
    return remarks(elsewhere(answer.get("operators", {}), target), target)


def device(found: Sequence[Fallback], target: Target) -> str:
    """The device to compile for: with others behind it where something must run there."""
    facts = target.openvino
    if facts is None:
        return "CPU"
    return f"HETERO:{','.join((facts.device, *facts.fallback))}" if found else facts.device
