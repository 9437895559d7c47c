"""The whole verification on real runtimes: ONNX Runtime, and OpenVINO in its worker processes."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecompile.artifacts.budget import parse
from edgecompile.artifacts.types import Artifact
from edgecompile.calibration.sample import Task
from edgecompile.diagnostics.catalogue.toolchain import TOOL_CRASHED
from edgecompile.emitters.openvino import OpenVinoIr
from edgecompile.ir import Model
from edgecompile.ir.facts import constant_array
from edgecompile.passes.graph.simplify import Simplify
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.schema import Saturation, Target
from edgecompile.verify import check_budgets, verify
from edgecompile.verify.run import BATCH_SAMPLES, _batch_size
from edgecompile.verify.runtimes import openvino as runtime
from tests.support import models
from tests.support.qdq import float_twin, initializer, qdq_conv
from tests.support.samples import Samples, samples_for

NUC = load_target("intel-nuc")


def target(saturation: Saturation) -> Target:
    assert NUC.quantization is not None
    style = NUC.quantization.model_copy(update={"saturation": saturation})
    return NUC.model_copy(update={"quantization": style})


NEVER, SOME = target(Saturation.NEVER), target(Saturation.SOME)


@pytest.fixture
def saturating_machine(monkeypatch):
    """Let every worker run as on a CPU without VNNI, whatever this one is."""
    capped = functools.partial(_process, runtime.GuardedProcess)
    monkeypatch.setattr(runtime, "GuardedProcess", capped)


def _process(process, tool, *, workdir, extra_environment):
    variables = {**extra_environment, "ONEDNN_MAX_CPU_ISA": runtime._CAPS[-1]}
    return process(tool, workdir=workdir, extra_environment=variables)


def emitted(model: Model, directory: Path) -> Artifact:
    return OpenVinoIr().emit(model, NUC, directory, None)


def checked(quantized: Model, directory: Path, device: Target, data=None, **options):
    original = options.pop("original", None) or float_twin(quantized)
    artifact = options.pop("artifact", None) or emitted(quantized, directory)
    data = data or samples_for(original, positive=True)
    return verify(
        original=original,
        quantized=quantized,
        artifact=artifact,
        directory=directory,
        target=device,
        data=data,
        **{"time_it": False, **options},
    )


def only(result, stage: str):
    (figures,) = result.stages[stage].outputs.values()
    return figures


def codes(result) -> set[str]:
    """What speaks against the artifact, without the note about a build machine that saturates."""
    return {d.code for d in result.diagnostics} - {"EC-656"}


def test_a_good_artifact_equals_the_quantized_onnx(tmp_path):
    seen: list[tuple[int, int]] = []
    result = checked(qdq_conv(), tmp_path, NEVER, samples=3, progress=lambda *at: seen.append(at))
    assert result.samples == 3
    assert seen[-1] == (3, 3)
    assert codes(result) == set()
    (judged,) = result.judged
    onnx, artifact = only(result, "quantized_onnx"), only(result, judged)
    assert 25 < onnx.sqnr_db < 60
    assert artifact.sqnr_db == pytest.approx(onnx.sqnr_db, abs=1)
    assert result.stages["quantized_onnx"].arithmetic == "exact"
    assert result.coverage is not None
    assert result.coverage.fallback == ()
    assert result.coverage.precision["int8"] >= 2
    assert result.integer_macs == 1.0
    assert result.latency is None


def test_exact_arithmetic_is_the_definition_of_fake_quantization(tmp_path, saturating_machine):
    result = checked(qdq_conv(peak=127), tmp_path, NEVER)
    assert result.judged == ("artifact_exact",)
    onnx, exact, ran = (
        only(result, name) for name in ("quantized_onnx", "artifact_exact", "artifact")
    )
    assert exact.sqnr_db == pytest.approx(onnx.sqnr_db, abs=0.5)
    assert ran.sqnr_db < exact.sqnr_db - 10
    assert [d.code for d in result.diagnostics] == ["EC-656"]
    assert check_budgets([parse("sqnr_db>=20")], result)[1] == []


def test_a_target_whose_family_saturates_is_judged_by_that(tmp_path):
    result = checked(qdq_conv(peak=127), tmp_path, SOME)
    assert [d.code for d in result.diagnostics] == ["EC-655"]
    _, (problem,) = check_budgets([parse("sqnr_db>=20")], result)
    assert problem.code == "EC-650"


def test_weights_that_cannot_overflow_cost_nothing_anywhere(tmp_path):
    result = checked(qdq_conv(peak=60), tmp_path, SOME)
    assert result.diagnostics == ()
    assert check_budgets([parse("sqnr_db>=25")], result)[1] == []


CRASH = TOOL_CRASHED.error(tool="openvino", how="signal SIGSEGV")


@pytest.fixture
def failing_kernels(monkeypatch):
    """Let capped kernels crash in a phase, as AVX2 ones do on some CPUs with AVX-512."""

    def fail(phase: str, caps: tuple[str, ...]) -> None:
        real_start, real_run = runtime._Session.start, runtime._Session._run

        def start(self, cap=None):
            self.cap = cap
            if cap in caps and phase == "start":
                raise CRASH
            return {**real_start(self, cap), "saturates": cap is not None}

        def run(self, stage, given):
            if stage == runtime.SATURATING and self.cap in caps:
                raise CRASH
            return real_run(self, stage, given)

        monkeypatch.setattr(runtime._Session, "start", start)
        monkeypatch.setattr(runtime._Session, "_run", run)

    return fail


@pytest.mark.parametrize("phase", ["start", "run"])
def test_kernels_that_fail_only_in_the_emulation_do_not_fail_the_build(
    tmp_path, failing_kernels, phase
):
    failing_kernels(phase, runtime._CAPS)
    result = checked(qdq_conv(), tmp_path, SOME)
    (note,) = result.diagnostics
    assert (note.code, note.severity.value) == ("EC-640", "warning")
    assert "openvino crashed (signal SIGSEGV)" in note.message
    assert result.judged == ("artifact",)
    assert set(result.stages) == {"quantized_onnx", "artifact"}


@pytest.mark.parametrize("phase", ["start", "run"])
def test_other_kernels_are_tried_when_some_fail(tmp_path, failing_kernels, phase):
    failing_kernels(phase, runtime._CAPS[:1])
    result = checked(qdq_conv(peak=60), tmp_path, SOME)
    assert result.diagnostics == ()
    assert result.judged == ("artifact", "artifact_saturating")


def test_an_artifact_of_another_model_is_refused(tmp_path):
    other = emitted(qdq_conv(seed=9), tmp_path)
    result = checked(qdq_conv(), tmp_path, NEVER, artifact=other)
    assert codes(result) == {"EC-653"}


def test_nan_in_the_artifact_is_refused(tmp_path):
    b = models.Builder()
    x = b.input("x", [1, 4])
    good = b.build({b.node("Relu", [x]): [1, 4]})
    b = models.Builder()
    b.node("Log", [b.input("x", [1, 4])])
    b.nodes[-1].output[0] = "relu_0_out"
    bad = emitted(b.build({"relu_0_out": [1, 4]}), tmp_path)
    result = checked(good, tmp_path, NEVER, samples_for(good), artifact=bad, original=good)
    assert "EC-652" in {d.code for d in result.diagnostics}
    assert only(result, "artifact").cosine == 0.0


def test_accuracy_is_counted_on_every_labelled_sample(tmp_path):
    model = qdq_conv()
    twin = float_twin(model)
    data = samples_for(twin, 12, positive=True)
    labels = [(int(models.run(twin, feeds)[0].argmax()),) for feeds in data.feeds]
    labels[0] = ((labels[0][0] + 1) % 10,)
    labelled = Samples(feeds=data.feeds, labels=labels, task=Task())
    result = checked(model, tmp_path, NEVER, labelled, samples=2)
    assert (result.samples, result.metric_samples) == (2, 12)
    assert result.metrics["top1"].float == pytest.approx(11 / 12, abs=1e-6)
    assert result.metrics["top5"].quantized >= result.metrics["top1"].quantized > 0.5


def test_a_model_with_dynamic_axes_and_integer_inputs(tmp_path):
    model = models.attention()
    feeds = [models.feeds(model, batch=1, seed=i, L=9 - i) for i in range(3)]
    result = checked(model, tmp_path, SOME, Samples(feeds=feeds), original=model, time_it=True)
    assert result.latency is not None
    assert only(result, "artifact").cosine == pytest.approx(1.0, abs=1e-5)
    assert result.judged == ("artifact",)
    assert result.coverage is not None
    assert result.coverage.nodes == result.coverage.accelerated
    assert result.integer_macs == 0.0


def test_a_float_model_that_the_runtime_refuses_is_not_timed_and_no_error(tmp_path):
    b = models.Builder()
    y = b.linear(b.input("x", ["N", 8]), 8, 1)
    original = b.build({b.node("Sigmoid", [b.node("Squeeze", [y])]): []})
    mended = Simplify().run(original, models.context()).model
    data = Samples(feeds=[models.feeds(original, batch=1)])
    result = checked(mended, tmp_path, SOME, data, original=original, time_it=True)
    assert result.latency is None
    assert only(result, "artifact").cosine == pytest.approx(1.0, abs=1e-5)
    (told,) = result.timing_diagnostics
    assert told.code == "EC-661"
    assert "dynamic rank" in told.message


def test_a_vendor_model_has_no_quantized_onnx(tmp_path):
    model = qdq_conv()
    artifact = emitted(model, tmp_path)
    twin = float_twin(model)
    result = verify(
        original=twin,
        quantized=None,
        artifact=artifact,
        directory=tmp_path,
        target=NEVER,
        data=samples_for(twin, positive=True),
        time_it=True,
    )
    assert "quantized_onnx" not in result.stages
    assert result.latency is not None
    assert result.latency.float_ms > 0
    assert result.latency.artifact_ms > 0


def test_a_format_without_a_runtime_is_told_and_the_onnx_is_judged(tmp_path):
    artifact = replace(emitted(qdq_conv(), tmp_path), format="openvino-blob-myriad")
    result = checked(qdq_conv(), tmp_path, NEVER, artifact=artifact)
    assert [d.code for d in result.diagnostics] == ["EC-658"]
    assert result.judged == ("quantized_onnx",)
    assert result.coverage is None


def test_reasons_of_the_passes_reach_the_report(tmp_path):
    mixed = qdq_conv(outputs=64).clone()
    gemm = models.node_of(mixed, "Gemm")
    dequantize = gemm.inputs[0].producer()
    gemm.replace_input_with(0, dequantize.inputs[0].producer().inputs[0])
    weight = gemm.inputs[1].producer()
    floats = constant_array(weight.inputs[0]) * np.float32(1 / 60)
    gemm.replace_input_with(1, initializer(mixed, "gemm_float", floats))
    result = checked(mixed, tmp_path, NEVER, kept_float={gemm.name: "kept on request"})
    assert result.coverage is not None
    (fallback,) = result.coverage.fallback
    assert (fallback.op, fallback.reason) == ("Gemm", "kept on request")
    assert result.integer_macs == pytest.approx(1 - 10 / (10 + 64 * 9 * 36), abs=1e-5)


@pytest.mark.parametrize(("side", "count"), [(1, BATCH_SAMPLES), (1024, 4), (4096, 1)])
def test_batches_are_bounded_in_number_and_bytes(side, count):
    assert _batch_size([{"x": np.zeros((side, side), np.float32)}]) == count
    assert _batch_size([]) == BATCH_SAMPLES
