"""`cast_fp16` on every operator test of ONNX: valid models, the same interface, near outputs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx

from edgecompile.diagnostics import EdgecompileError, Severity
from edgecompile.ir import load, to_bytes
from edgecompile.ir.shapes import infer
from edgecompile.passes.base import Context
from edgecompile.passes.quantize.cast_fp16 import CastFp16
from edgecompile.targets.catalogue import load_target
from tests.support.onnx_corpus import node_cases, reference, run_model, runnable

CONTEXT = Context(target=load_target("intel-nuc"))
NO_HALF_KERNEL = "scatter"
"""ONNX Runtime's CPU provider reduces in float32 only when it scatters."""


def sqnr_db(expected, actual):
    """Of the finite numbers; infinite when there is nothing to compare."""
    worst = np.inf
    for one, other in zip(expected, actual, strict=True):
        if not isinstance(one, np.ndarray) or one.dtype.kind != "f":
            continue
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        # a mask's stand-in for minus infinity is clipped on purpose
        exact = one.astype(np.float64)
        usual = np.isfinite(exact) & (np.abs(exact) < 1e9)
        power = np.square(exact[usual]).sum()
        lost = np.square(exact[usual] - other[usual]).sum()
        if power > 0 and lost > 0:
            worst = min(worst, 10 * np.log10(power / lost))
    return worst


def outcome_of(case):
    """What became of one case, and complaints about it."""
    if not case.repeatable or not runnable(case):
        return "not runnable", []
    try:
        model = infer(load(case.model_path))
    except EdgecompileError:
        return "refused by ir.load", []
    step = CastFp16()
    if any(d.severity is Severity.ERROR for d in step.requires(model, CONTEXT)):
        return "types unknown", []
    outcome = step.run(model, CONTEXT)
    if not outcome.changed:
        return "nothing to cast", []
    content = to_bytes(outcome.model)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert not step.run(outcome.model, CONTEXT).changed, case.name
    results = run_model(content, case)
    if isinstance(results, str):
        missing = NO_HALF_KERNEL in case.name
        return "no half kernel here", [] if missing else [f"{case.name}: {results}"]
    figures = [sqnr_db(a, b) for a, b in zip(reference(case), results, strict=True)]
    bad = [f"{case.name}: {figure:.1f} dB" for figure in figures if not figure >= 30]
    return "ran", bad


def test_every_operator():
    counts, complaints = Counter(), []
    for case in node_cases():
        label, found = outcome_of(case)
        counts[label] += 1
        complaints += found
    print(dict(counts))
    assert complaints == []
    assert counts["ran"] > 1100
    assert counts["no half kernel here"] <= 8
