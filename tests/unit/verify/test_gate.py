"""What must not leave the house, and what everyone should know."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgecompile.artifacts.types import (
    Coverage,
    Fallback,
    Latency,
    OutputFidelity,
    StageFidelity,
)
from edgecompile.verify import gate
from edgecompile.verify.compare import Comparison
from edgecompile.verify.runtimes.base import Stage

RNG = np.random.default_rng(1)
WANT = RNG.normal(size=(1, 4000))


def stage(name="artifact", *, judged=True, saturates=False) -> Stage:
    return Stage(name=name, arithmetic="runtime", runtime="r", judged=judged, saturates=saturates)


def compared(noise_db: float) -> Comparison:
    """A comparison whose SQNR is about `noise_db`."""
    found = Comparison()
    noise = RNG.normal(size=WANT.shape) * 10 ** (-noise_db / 20)
    found.add({"y": WANT}, {"y": WANT + noise})
    return found


def broken(artifact: Comparison, onnx: Comparison | None = None, **how) -> list[str]:
    comparisons = {"artifact": artifact}
    if onnx is not None:
        comparisons["quantized_onnx"] = onnx
    return [d.code for d in gate.broken(comparisons, [stage(**how)])]


def test_a_good_artifact_passes():
    assert broken(compared(30), compared(31)) == []
    assert broken(compared(5)) == []


def test_an_artifact_that_computes_something_else_is_refused():
    wrong = Comparison()
    wrong.add({"y": WANT}, {"y": RNG.normal(size=WANT.shape) * 2})
    assert broken(wrong) == ["EC-653"]
    assert broken(wrong, saturates=True) == ["EC-653"]


@pytest.mark.parametrize(
    ("artifact", "onnx", "codes"),
    [(10, 35, ["EC-653"]), (25, 60, []), (10, 18, []), (60, 10, [])],
)
def test_an_artifact_far_below_the_onnx_it_was_made_from_is_refused(artifact, onnx, codes):
    assert broken(compared(artifact), compared(onnx)) == codes


def test_saturation_explains_a_loss_against_the_onnx():
    assert broken(compared(5), compared(35), saturates=True) == []


def test_nan_in_one_sample_is_refused_whatever_the_average():
    found = compared(40)
    bad = WANT.copy()
    bad[0, 7] = np.nan
    found.add({"y": WANT}, {"y": bad})
    comparisons = {"artifact": found}
    (problem,) = gate.broken(comparisons, [stage()])
    assert problem.code == "EC-652"
    assert "NaN or infinite in 1 of 2 samples" in problem.message


def test_a_reference_of_nan_is_refused_once():
    found = Comparison()
    found.add({"y": np.full((1, 2), np.nan)}, {"y": np.zeros((1, 2))})
    codes = [d.code for d in gate.broken({"a": found, "artifact": found}, [stage()])]
    assert codes == ["EC-657"]


def fidelity(**decibels: float) -> dict[str, StageFidelity]:
    return {
        name: StageFidelity(
            arithmetic="runtime",
            runtime="r",
            outputs={"y": OutputFidelity(cosine=1.0, sqnr_db=db, max_abs=0.0)},
        )
        for name, db in decibels.items()
    }


STAGES = [stage(), stage("artifact_saturating", saturates=True)]


def test_saturation_that_costs_is_told_with_both_figures():
    (problem,) = gate.saturation(STAGES, fidelity(artifact=30, artifact_saturating=12))
    assert problem.code == "EC-655"
    assert "loses 18.0 dB" in problem.message
    assert "12.0 instead of 30.0 dB at 'y'" in problem.message


@pytest.mark.parametrize("pair", [(30, 29.5), (math.inf, math.inf)])
def test_saturation_that_costs_nothing_is_not_told(pair):
    assert gate.saturation(STAGES, fidelity(artifact=pair[0], artifact_saturating=pair[1])) == []


def test_what_exact_computations_differ_by_is_not_blamed_on_saturation():
    near = fidelity(artifact=23.6, artifact_saturating=20.9, quantized_onnx=21.3)
    assert gate.saturation(STAGES, near) == []
    far = fidelity(artifact=23.6, artifact_saturating=12, quantized_onnx=21.3)
    assert "loses 9.3 dB" in gate.saturation(STAGES, far)[0].message


def test_saturation_of_the_build_machine_is_a_note():
    stages = [stage(judged=False, saturates=True), stage("artifact_exact")]
    (note,) = gate.saturation(stages, fidelity(artifact=5, artifact_exact=30))
    assert (note.code, note.severity.value) == ("EC-656", "note")


@pytest.mark.parametrize(
    ("float_ms", "artifact_ms", "integer", "count"),
    [(2.0, 3.0, True, 1), (2.0, 3.0, False, 0), (2.0, 2.1, True, 0), (2.0, 1.0, True, 0)],
)
def test_slower_than_float_is_a_warning(float_ms, artifact_ms, integer, count):
    latency = Latency(runtime="r", threads=1, float_ms=float_ms, artifact_ms=artifact_ms)
    found = gate.slower(latency, integer=integer)
    assert [d.code for d in found] == ["EC-654"] * count
    assert gate.slower(None, integer=True) == []


def test_a_slow_artifact_names_what_stays_in_float_between_integers():
    fallback = tuple(Fallback(node=f"/n{i}", op="Softmax", reason="r") for i in range(7))
    coverage = Coverage(nodes=9, accelerated=2, fallback=fallback)
    latency = Latency(runtime="r", threads=1, float_ms=2.0, artifact_ms=3.0)
    (found,) = gate.slower(latency, integer=True, coverage=coverage)
    assert "/n0 (Softmax)" in found.hints[0]
    assert "and 2 more" in found.hints[0]
    assert "/n5" not in found.hints[0]
