"""The documents of `--format json`: names and types held still, for every command.

After a change on purpose: EDGECOMPILE_UPDATE_GOLDEN=1 python -m pytest tests/golden
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgecompile.cli.app import command_names, load_command
from tests.support.cli import ROOT, Ran, run
from tests.support.golden import check_golden
from tests.support.toolchains import register, toolchain

MODEL = ROOT / "examples/digits/model.onnx"
DATA = ROOT / "calibration_data/digits/calibration.npz"
ENVELOPE = ["schema", "edgecompile", "exit_code", "diagnostics", "result"]

# Objects whose keys are names of the user's or of a library's: only their values have a form.
OPEN = {
    "operators", "options", "outputs", "stages", "toolchain", "libraries", "versions", "precision",
    "hardware", "sources", "precisions", "weight_types", "opsets", "metadata", "metrics", "host",
    "tensors", "skipped", "build", "where", "files", "constant_bytes",
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A build directory and a cache that knows it."""
    from edgecompile.cli import main

    folder = tmp_path_factory.mktemp("documents")
    arguments = ["--target", "intel-nuc", "--calibration", str(DATA), "-o", str(folder / "out")]
    assert main(["build", str(MODEL), *arguments, "--cache-dir", str(folder / "cache"), "-q"]) == 0
    return folder


@pytest.fixture(autouse=True)
def toolchains(tmp_path, monkeypatch):
    """No isolated toolchain is installed, and one can be that needs no network."""
    monkeypatch.setenv("EDGECOMPILE_TOOLCHAINS_DIR", str(tmp_path / "toolchains"))
    register(monkeypatch, tmp_path / "files", toolchain())


def form(value: object, key: str = "") -> object:
    """Names and types of `value`; of a list, the forms of all its entries in one.

    A document inside a document is its schema: those have tests of their own.
    """
    if key == "default":
        return "any"
    if isinstance(value, dict) and key in ("report", "manifest"):
        return value["schema"]
    if isinstance(value, dict):
        forms = {name: form(inner, name) for name, inner in value.items()}
        if key in OPEN:
            return {"*": _merged(list(forms.values()))} if forms else {}
        return forms
    if isinstance(value, list):
        return [_merged([form(inner) for inner in value])] if value else []
    return {bool: "boolean", int: "number", float: "number", str: "string"}.get(type(value), "null")


def _merged(forms: list[Any]) -> Any:
    if forms and all(isinstance(f, dict) for f in forms):
        names = sorted({name for f in forms for name in f})
        return {name: _merged([f[name] for f in forms if name in f]) for name in names}
    kinds = sorted({json.dumps(f, sort_keys=True) for f in forms})
    return json.loads(kinds[0]) if len(kinds) == 1 else " | ".join(kinds).replace('"', "")


BUILD = ["build", str(MODEL), "--target", "intel-nuc", "--calibration", str(DATA)]
CALLS: dict[str, list[str]] = {
    "analyze": ["analyze", *BUILD[1:], "--cache-dir", "{}/cache"],
    "build": [*BUILD, "-o", "{}/out", "--cache-dir", "{}/cache"],
    "build-dry-run": [*BUILD, "-o", "{}/new", "--dry-run"],
    "cache-gc": ["cache", "gc", "--cache-dir", "{}/cache"],
    "cache-list": ["cache", "list", "--cache-dir", "{}/cache"],
    "cache-why": ["cache", "why", "--cache-dir", "{}/cache"],
    "calibrate": ["calibrate", str(MODEL), "-c", str(DATA), "-o", "{}/ranges.json"],
    "check": ["check", str(MODEL), "-t", "intel-nuc"],
    "explain": ["explain"],
    "explain-one": ["explain", "EC-201"],
    "inspect-build": ["inspect", "{}/out"],
    "inspect-artifact": ["inspect", "{}/out/artifacts/model.xml"],
    "inspect-model": ["inspect", str(MODEL)],
    "passes": ["passes"],
    "passes-one": ["passes", "quantize_static"],
    "recipes": ["recipes"],
    "recipes-one": ["recipes", "openvino-int8"],
    "targets": ["targets"],
    "targets-one": ["targets", "nuc"],
    "toolchain-list": ["toolchain", "list"],
    "toolchain-install": ["toolchain", "install", "tiny"],
    "toolchain-remove": ["toolchain", "remove", "tiny"],
    "toolchain-doctor": ["toolchain", "doctor", "--target", "intel-nuc"],
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_the_document_keeps_its_form(capsys, built, name):
    ran = call(capsys, CALLS[name], built)
    assert (ran.code, ran.err) == (0, "")
    document = ran.document
    assert list(document) == ENVELOPE
    assert document["schema"] == f"edgecompile/{_command(CALLS[name])}@1"
    del document["diagnostics"]
    check_golden(f"documents/{name}.json", json.dumps(form(document), indent=1) + "\n")


def call(capsys: pytest.CaptureFixture[str], arguments: list[str], folder: object) -> Ran:
    return run(capsys, *(a.replace("{}", str(folder)) for a in arguments), "--format", "json")


def _command(arguments: list[str]) -> str:
    groups = ("cache", "toolchain")
    return "-".join(arguments[:2]) if arguments[0] in groups else arguments[0]


def test_every_command_is_here():
    known = {_command(arguments) for arguments in CALLS.values()}
    known.add("prove")  # which needs a device's report: tests/acceptance/test_prove.py
    known.add("link")  # of several builds: tests/acceptance/test_qnn_together.py
    known.add("tune")  # which needs a device: tests/unit/driver/test_tune.py
    for name in command_names():
        subs = getattr(load_command(name), "commands", None)
        assert {f"{name}-{sub}" for sub in subs or ()} <= known
        assert subs or name in known


FAILURES = {
    "build": (["build", "missing.onnx", "-t", "intel-nuc"], 2),
    "calibrate": (["calibrate", "missing.onnx", "-c", "missing"], 1),
    "check": (["check", str(MODEL), "-t", "nothing"], 2),
    "inspect": (["inspect", "missing"], 1),
    "cache-why": (["cache", "why", "--cache-dir", "missing"], 2),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_has_the_same_envelope(capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    arguments, _ = FAILURES[name]
    ran = call(capsys, arguments, tmp_path)
    assert ran.err == ""
    assert list(ran.document) == ENVELOPE
    assert ran.document["exit_code"] == ran.code != 0
    assert ran.document["result"] is None
    assert ran.document["diagnostics"]
