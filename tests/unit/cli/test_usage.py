"""Mistakes at the prompt: each has a code, exit 2, nothing on stdout, and says what to type."""

from __future__ import annotations

import pytest

from tests.support.cli import run

MISTAKES = [
    ([], "EC-265", "edgecompile --help"),
    (["biuld", "model.onnx"], "EC-260", "did you mean 'build'?"),
    (["cache", "lits"], "EC-260", "did you mean 'list'?"),
    (["cache"], "EC-265", "edgecompile cache --help"),
    (["explain", "--froamt", "json"], "EC-261", "did you mean '--format'?"),
    (["--quiet", "explain"], "EC-261", "give it after the command"),
    (["explain", "--format", "jsn"], "EC-263", "'jsn' is not one of 'human', 'json'"),
    (["explain", "--format"], "EC-264", "requires an argument"),
    (["explain", "EC-203", "EC-204"], "EC-264", "EC-204"),
    (["explain", "EC-999"], "EC-266", "edgecompile explain"),
    (["passes", "quantise_static"], "EC-267", "did you mean 'quantize_static'?"),
    (["cache", "gc", "--max-size", "big"], "EC-263", "such as 5GB"),
    (["cache", "gc", "--older-than", "5 apples"], "EC-263", "such as 30d"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), MISTAKES, ids=str)
def test_a_mistake_gets_a_code_and_a_way_out(capsys, arguments, code, says):
    ran = run(capsys, *arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith(f"error[{code}]: ")
    assert says in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(("arguments", "code", "says"), MISTAKES[1:], ids=str)
def test_a_mistake_obeys_format_json(capsys, arguments, code, says):
    if "--format" in arguments or arguments == ["cache"]:
        arguments, code = [arguments[0], "--nope"], "EC-261"
    ran = run(capsys, *arguments, "--format", "json")
    assert ran.code == 2
    assert ran.err == ""
    assert ran.document["exit_code"] == 2
    assert ran.document["result"] is None
    assert code in [d["code"] for d in ran.document["diagnostics"]]


def test_the_document_is_named_after_the_command(capsys):
    assert run(capsys, "cache", "list", "--format", "json").document["schema"] == (
        "edgecompile/cache-list@1"
    )
    assert run(capsys, "explain", "--nope", "--format=json").document["schema"] == (
        "edgecompile/explain@1"
    )
    assert run(capsys, "--nope", "--format=json").document["schema"] == "edgecompile/usage@1"
