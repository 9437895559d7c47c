"""Manifest and report as documents: deterministic, strict, and the same when read back."""

import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from edgecompile.artifacts.manifest import ArtifactRecord, FidelityRecord, Manifest
from edgecompile.artifacts.report import Report
from edgecompile.artifacts.types import Artifact, OutputFidelity, StageFidelity, Status
from edgecompile.diagnostics import EdgecompileError
from tests.support.reports import facts, report


def _with_fidelity(**figures):
    outputs = {"y": OutputFidelity(**figures)}
    stage = StageFidelity(arithmetic="exact", runtime="r", outputs=outputs)
    return Manifest(
        **{
            **facts(),
            "fidelity": FidelityRecord(samples=1, held_out=True, stages={"artifact": stage}),
        }
    )


def test_what_design_promises_is_there():
    document = json.loads(Manifest(**facts()).to_text())
    assert document["schema"] == "edgecompile/manifest@1"
    promised = {
        "": "edgecompile model target recipe calibration artifacts fidelity metrics coverage size"
        " budgets diagnostics",
        "model": "name sha256 bytes",
        "target": "id facts_sha256",
        "recipe": "name sha256 steps",
        "calibration": "sha256 samples source",
        "fidelity": "samples held_out stages",
        "coverage": "nodes accelerated fallback precision",
        "size": "float_bytes artifact_bytes",
    }
    for key, names in promised.items():
        assert set(names.split()) <= set(document[key] if key else document)
    (artifact,) = document["artifacts"]
    expected = {"path", "format", "sha256", "bytes", "status", "toolchain", "executable"}
    assert expected <= set(artifact)
    stage = document["fidelity"]["stages"]["artifact"]
    assert stage["arithmetic"] == "runtime"
    assert set(stage["outputs"]["logits"]) == {"cosine", "sqnr_db", "max_abs", "top1_agreement"}
    assert {"float", "quantized", "kind"} <= set(document["metrics"]["top1"])
    assert {"metric", "required", "actual", "met"} <= set(document["budgets"][0])
    assert set(document["coverage"]["fallback"][0]) == {"node", "op", "reason"}


@pytest.mark.parametrize("document", [Manifest(**facts()), report()], ids=["manifest", "report"])
def test_written_and_read_back_it_is_the_same(document, tmp_path):
    path = tmp_path / "document.json"
    document.write(path)
    again = type(document).load(path)
    assert again == document
    assert again.to_text() == document.to_text() == path.read_text(encoding="utf-8")


def test_order_of_keys_and_kind_of_numbers_do_not_change_the_text():
    values = facts()
    turned = dict(reversed(values.items()))
    turned["libraries"] = dict(reversed(values["libraries"].items()))
    assert Manifest(**turned).to_text() == Manifest(**values).to_text()
    exact = _with_fidelity(cosine=0.5, sqnr_db=2.0, max_abs=1.0)
    loose = _with_fidelity(cosine=np.float32(0.5), sqnr_db=2, max_abs=np.float64(1))
    assert exact.to_text() == loose.to_text()


def test_infinities_survive_and_the_text_is_json_for_every_reader(tmp_path):
    manifest = _with_fidelity(cosine=math.nan, sqnr_db=math.inf, max_abs=-math.inf)

    def refuse(constant):
        raise AssertionError(constant)

    output = json.loads(manifest.to_text(), parse_constant=refuse)["fidelity"]["stages"][
        "artifact"
    ]["outputs"]["y"]
    assert (output["cosine"], output["sqnr_db"], output["max_abs"]) == (
        "NaN",
        "Infinity",
        "-Infinity",
    )
    manifest.write(tmp_path / "m.json")
    read = Manifest.load(tmp_path / "m.json").fidelity.stages["artifact"].outputs["y"]
    assert math.isnan(read.cosine)
    assert (read.sqnr_db, read.max_abs) == (math.inf, -math.inf)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "object"),
        ("{}", "required"),
        ('{"schema": "edgecompile/manifest@2"}', "required"),
    ],
)
def test_what_is_no_manifest_is_refused(text, says, tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(EdgecompileError) as caught:
        Manifest.load(path)
    (problem,) = caught.value.diagnostics
    assert problem.code == "EC-660"
    assert says in problem.message
    assert problem.where.file == path.as_posix()


def test_a_report_is_not_taken_for_a_manifest(tmp_path):
    report().write(tmp_path / "report.json")
    with pytest.raises(EdgecompileError):
        Manifest.load(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json").seconds == 8.61


def test_digests_and_statuses_are_checked():
    values = facts()
    for bad in ({"sha256": "abc"}, {"status": "perfect"}, {"bytes": -1}):
        with pytest.raises(ValidationError):
            ArtifactRecord(**{**values["artifacts"][0].model_dump(), **bad})


def test_record_of_an_artifact():
    artifact = Artifact(
        path="artifacts/m.xml",
        files=("artifacts/m.xml", "artifacts/m.bin"),
        format="openvino-ir",
        sha256="ab" * 32,
        bytes=12,
        toolchain={"z": "1", "a": "2"},
        notes=("n",),
    )
    record = ArtifactRecord.of(artifact, Status.CHECKED, "why")
    assert record.status is Status.CHECKED
    assert record.why == "why"
    assert list(record.toolchain) == ["a", "z"]
    assert record.files == artifact.files
