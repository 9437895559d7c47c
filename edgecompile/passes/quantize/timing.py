"""What integers save and what conversions cost on a target, from the rates that its facts state.

Time is in multiply-accumulates of the target's float arithmetic, so that no clock has to be known.
Peaks are never reached; what is compared with these figures should differ clearly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgecompile.ir.facts import macs
from edgecompile.targets.schema import Fact

CONVERSION = 8.0
"""Of one number, to or from integers: load, multiply, round, two clamps, convert, pack, store."""
_PEAK = re.compile(r"(?:peak_|gpu_)?(int8|fp16|fp32)_(?:tops|tflops)(?:_dense)?")
_RATIO = "int8_macs_per_fp32_mac"


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How fast a target's integers are."""

    int8: float | None
    """INT8 multiply-accumulates in the time of one in float; None where no fact tells."""

    def saved(self, count: float) -> float | None:
        """Time that so many multiply-accumulates take less in INT8 than in float."""
        return None if self.int8 is None else max(0.0, count * (1.0 - 1.0 / self.int8))

    def raised(self, count: float, elements: float) -> float | None:
        """Time that a layer of these takes more in float, conversions around it included."""
        saved = self.saved(count)
        return None if saved is None else saved + CONVERSION * elements


def rates_of(hardware: Mapping[str, Fact]) -> Rates:
    """Those that `hardware` states: a ratio of its own, else that of INT8 to the fastest float.

    Of figures with a span the middle counts; sparse figures do not.
    """
    ratio = _value(hardware.get(_RATIO))
    if ratio is not None:
        return Rates(int8=ratio)
    peaks: dict[str, float] = {}
    for name, fact in hardware.items():
        match, value = _PEAK.fullmatch(name), _value(fact)
        if match is not None and value is not None:
            peaks[match[1]] = max(value, peaks.get(match[1], 0.0))
    fastest = max(peaks.get("fp16", 0.0), peaks.get("fp32", 0.0))
    return Rates(int8=peaks["int8"] / fastest if fastest and "int8" in peaks else None)


def _value(fact: Fact | None) -> float | None:
    if fact is None or fact.value is None:
        return None
    values = fact.value if isinstance(fact.value, Sequence) else (fact.value,)
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return sum(numbers) / len(numbers) if numbers and len(numbers) == len(values) else None


def work(node: ir.Node) -> int:
    """Multiply-accumulates of one sample; 0 for operators that multiply nothing."""
    return macs(node, dynamic=1) or 0


def elements(value: ir.Value | None) -> int | None:
    """Numbers in a tensor of one sample, open dimensions taken as 1; None for an unknown rank."""
    if value is None or value.shape is None:
        return None
    return math.prod(dim if isinstance(dim, int) else 1 for dim in value.shape)
