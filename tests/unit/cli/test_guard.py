"""The edge of the process: bugs, interruptions and closed pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgecompile.cli.commands import explain
from edgecompile.ir.save import save
from tests.support import models
from tests.support.cli import run, run_process


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """`explain` has a bug, and crash reports go to a folder of the test's."""

    def rules():
        raise KeyError("a\nb")

    monkeypatch.setattr(explain, "all_rules", rules)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_bug_is_told_in_a_few_lines_and_kept_in_a_report(capsys, broken):
    ran = run(capsys, "explain")
    assert ran.code == 70
    assert ran.out == ""
    assert "error[EC-900]: internal error, KeyError" in ran.err
    assert "Traceback" not in ran.err
    (report,) = broken.glob("edgecompile-crash-*.txt")
    assert str(report) in ran.err
    text = report.read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in text
    assert "in rules" in text


def test_traceback_shows_where_the_bug_is(capsys, broken):
    ran = run(capsys, "explain", "--traceback")
    assert ran.code == 70
    assert "in rules" in ran.err
    assert "run the same command with --traceback" not in ran.err


def test_a_bug_obeys_format_json(capsys, broken):
    ran = run(capsys, "explain", "--format", "json")
    assert ran.document["exit_code"] == 70
    assert [d["code"] for d in ran.document["diagnostics"]] == ["EC-900"]


def test_a_report_that_cannot_be_written_hides_nothing(capsys, broken, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(broken / "missing"))
    ran = run(capsys, "explain")
    assert ran.code == 70
    assert "EC-900" in ran.err
    assert "in rules" in ran.err


INTERRUPT_ITSELF = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
from edgecompile.cli import main
from edgecompile.cli.commands import explain
def rules():
    os.kill(os.getpid(), signal.{name})
    while True:
        signal.sigtimedwait([], 0.01)
explain.all_rules = rules
sys.exit(main(["explain", *sys.argv[1:]]))
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interruption_exits_130(name):
    code = INTERRUPT_ITSELF.format(name=name)
    ran = run_process(python=("-c", code))
    assert ran.code == 130
    assert "EC-901" in ran.err
    assert "Traceback" not in ran.err
    as_json = run_process("--format", "json", python=("-c", code))
    assert as_json.code == 130
    assert as_json.document["exit_code"] == 130


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_reader_that_goes_away_is_not_an_error():
    command = [sys.executable, "-m", "edgecompile", "explain", "--format", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert err == b""
    assert process.returncode == 128 + signal.SIGPIPE


def unread(*arguments: str, stream: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program while nobody reads `stream`."""
    command = [sys.executable, "-m", "edgecompile", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    getattr(process, stream).close()
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_failure_keeps_its_code_when_nobody_reads_it():
    for arguments in (["explain", "EC-999"], ["explain", "--nonsense"], ["nothing"]):
        assert unread(*arguments, stream="stderr").returncode == 2
        ran = unread(*arguments, "--format", "json", stream="stdout")
        assert (ran.returncode, ran.stderr) == (2, b"")


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_run_goes_on_when_nobody_reads_how_it_goes(tmp_path: Path):
    save(models.conv_bn_relu(), tmp_path / "m.onnx")
    given = ["--target", "rtx-pc", "--recipe", "tensorrt-fp16", "-o", str(tmp_path / "out")]
    ran = unread("build", str(tmp_path / "m.onnx"), *given, "--dry-run", stream="stderr")
    assert ran.returncode == 0
    assert b"tensorrt-fp16" in ran.stdout


def test_the_module_runs_like_the_command():
    ran = run_process("--version")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("edgecompile ")


def test_a_narrow_code_page_does_not_crash(tmp_path: Path):
    ran = run_process("explain", "smörgåsbord-✓", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ran.code == 2
    assert "\\u2713" in ran.err
