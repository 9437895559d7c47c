"""A report with something of everything, as the digits example would give it."""

from edgecompile.artifacts.manifest import (
    ArtifactRecord,
    DataRecord,
    DiagnosticRecord,
    FidelityRecord,
    ModelRecord,
    RecipeRecord,
    SizeRecord,
    StepRecord,
    TargetRecord,
)
from edgecompile.artifacts.report import NoteRecord, Report, StepReport
from edgecompile.artifacts.types import (
    BudgetResult,
    Coverage,
    Fallback,
    Latency,
    Metric,
    OutputFidelity,
    StageFidelity,
    Status,
)


def _stage(arithmetic, runtime, cosine, sqnr_db, top1):
    logits = OutputFidelity(cosine=cosine, sqnr_db=sqnr_db, max_abs=0.2143, top1_agreement=top1)
    features = OutputFidelity(cosine=0.9999991, sqnr_db=51.2, max_abs=0.00312)
    outputs = {"logits": logits, "features/block3/Relu_output_0": features}
    return StageFidelity(arithmetic=arithmetic, runtime=runtime, outputs=outputs)


def facts():
    """The fields that manifest and report share."""
    return {
        "edgecompile": "0.1.0",
        "libraries": {"onnx": "1.23.2", "onnx-ir": "1.1.0", "openvino": "2026.4.1"},
        "model": ModelRecord(name="model.onnx", sha256="0a" * 32, bytes=96_412),
        "target": TargetRecord(id="intel-nuc", facts_sha256="1b" * 32),
        "recipe": RecipeRecord(
            name="openvino-int8",
            sha256="2c" * 32,
            steps=(
                StepRecord(step="simplify", pass_="simplify", options={"inline_functions": True}),
                StepRecord(step="calibrate", pass_="calibrate", options={"samples": 256}),
                StepRecord(step="quantize_static", pass_="quantize_static"),
            ),
        ),
        "calibration": DataRecord(sha256="3d" * 32, samples=200, source="digits-calibration.npz"),
        "evaluation": DataRecord(sha256="4e" * 32, samples=400, source="digits-evaluation.npz"),
        "artifacts": (
            ArtifactRecord(
                path="artifacts/model.xml",
                files=("artifacts/model.xml", "artifacts/model.bin"),
                format="openvino-ir",
                sha256="5f" * 32,
                bytes=41_888,
                status=Status.VERIFIED,
                why="it runs in OpenVINO's CPU plugin, the runtime that the device uses",
                toolchain={"openvino": "2026.4.1"},
                executable=False,
            ),
        ),
        "fidelity": FidelityRecord(
            samples=16,
            held_out=True,
            stages={
                "artifact": _stage("runtime", "openvino 2026.4.1 CPU, f32", 0.99921, 28.31, 1.0),
                "artifact_saturating": _stage(
                    "runtime",
                    "openvino 2026.4.1 CPU, kernels capped at AVX2",
                    0.99917,
                    28.2,
                    0.9375,
                ),
                "quantized_onnx": _stage(
                    "exact", "onnxruntime 1.32.0, QDQ fusion off", 0.99923, 28.4, 1.0
                ),
            },
        ),
        "metrics": {
            "top1": Metric(float=0.9825, quantized=0.98, kind="accuracy", arithmetic="runtime")
        },
        "coverage": Coverage(
            nodes=14,
            accelerated=11,
            fallback=(
                Fallback(
                    node="head/Softmax", op="Softmax", reason="the runtime has no integer kernel"
                ),
                Fallback(node="stem/Conv", op="Convolution", reason="named in keep_float"),
                Fallback(node="head/Gemm", op="FullyConnected", reason="named in keep_float"),
            ),
            precision={"int8": 11, "fp32": 3},
        ),
        "size": SizeRecord(float_bytes=96_412, artifact_bytes=41_888),
        "budgets": (
            BudgetResult(metric="cosine", required="cosine>=0.99", actual=0.99917, met=True),
            BudgetResult(metric="top1_drop", required="top1_drop<=0.001", actual=0.0025, met=False),
            BudgetResult(metric="sqnr_db", required="sqnr_db>=20", actual=None, met=False),
        ),
        "diagnostics": (
            DiagnosticRecord(
                code="EC-651",
                severity="warning",
                message="the artifact is slower than the float model on this machine",
                where={"step": "verify"},
                why="Quantizing islands of a graph can cost more than it saves.",
                hints=("see what stayed in float", "try '--recipe openvino-int8-weights'"),
            ),
        ),
    }


def report(**changes):
    """A whole report; `changes` replace fields."""
    notes = (
        NoteRecord(
            message="named in keep_float", node="stem/Conv", op_type="Conv", kept_float=True
        ),
        NoteRecord(message="scale of weights up to 1.31 times wider", tensor="block1.weight"),
    )
    steps = (
        StepReport(step="load", seconds=0.012, summary="12 nodes, opset 13"),
        StepReport(step="simplify", seconds=0.11, changed=True, summary="31 -> 22 nodes",
                   cached=True, operators={"Constant": -6, "Identity": -3}),
        StepReport(step="calibrate", seconds=1.93, changed=False, summary="18 tensors by mse"),
        StepReport(step="quantize_static", seconds=0.42, changed=True, summary="22 -> 71 nodes",
                   operators={"QuantizeLinear": 18, "DequantizeLinear": 31}, notes=notes),
        StepReport(step="emit openvino-ir", seconds=2.7, summary="41,888 bytes"),
        StepReport(step="verify", seconds=3.4, summary="16 samples"),
    )  # fmt: skip
    values = {
        **facts(),
        "steps": steps,
        "seconds": 8.61,
        "judged": ("artifact_saturating",),
        "metric_samples": 400,
        "integer_macs": 0.9731,
        "latency": Latency(
            runtime="openvino 2026.4.1 CPU", threads=1, float_ms=0.214, artifact_ms=0.153
        ),
        "host": {"processor": "x86_64 with avx512_vnni", "system": "Linux", "python": "3.11.2"},
    }
    return Report(**{**values, **changes})
