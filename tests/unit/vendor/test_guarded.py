"""Whatever a vendor's code does, the caller gets an answer or one clear error, and no process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from edgecompile.diagnostics import EdgecompileError, ExitCode
from edgecompile.vendor.guarded import GuardedProcess, run_guarded

HERE = "tests.support.vendor_functions"


def guarded(name, payload, tmp_path, **options):
    return run_guarded(f"{HERE}:{name}", payload, tool="acme", workdir=tmp_path, **options)


def failure(name, payload, tmp_path, **options) -> EdgecompileError:
    with pytest.raises(EdgecompileError) as caught:
        guarded(name, payload, tmp_path, **options)
    return caught.value


def gone(pid: int) -> bool:
    """Whether the process has ended; a zombie has."""
    for _ in range(100):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_an_answer_comes_back_as_it_was_given(tmp_path):
    payload = {"text": "ü\n\u2028", "numbers": [1, 2.5, None, True]}
    assert guarded("echo", payload, tmp_path) == payload
    assert list(tmp_path.iterdir()) == []


def test_one_worker_keeps_what_it_has_between_calls_and_tells_progress(tmp_path):
    seen: list[tuple[int, int]] = []
    with GuardedProcess("acme", workdir=tmp_path) as process:
        assert process.call(f"{HERE}:count", 0) == 1
        assert process.call(f"{HERE}:count", 3, progress=lambda *p: seen.append(p)) == 2
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_environment_is_scrubbed_and_everything_private_is_inside_the_work_folder(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("ACME_TOKEN", "secret")
    found = guarded("surroundings", None, tmp_path, extra_environment={"ACME_MODE": "1"})
    variables = found["environment"]
    assert "secret" not in variables.values()
    assert variables["ACME_MODE"] == "1"
    for name in ("HOME", "TMPDIR", "TEMP"):
        assert variables[name].startswith(str(tmp_path))
    assert found["directory"].startswith(str(tmp_path))


def test_an_exception_is_one_error_with_the_log_as_details(tmp_path):
    error = failure("fail", None, tmp_path)
    assert error.exit_code is ExitCode.TOOLCHAIN
    assert str(error) == "EC-510: acme failed: unsupported layer 7"
    assert "the tool says hello on stdout" in error.details
    assert "the tool says why on stderr" in error.details
    assert "Traceback" in error.details


def test_our_own_diagnostics_pass_through(tmp_path):
    error = failure("refuse", None, tmp_path)
    assert [d.code for d in error.diagnostics] == ["EC-606"]
    assert error.diagnostics[0].where.node == "n"
    assert error.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crash", "EC-511: acme crashed (signal SIGABRT)"),
        ("leave", "EC-511: acme crashed (exit code 3)"),
    ],
)
def test_a_crash_is_told_with_its_last_words(tmp_path, name, message):
    error = failure(name, None, tmp_path)
    assert str(error) == message
    assert ("last words" in error.details) == (name == "crash")


def test_an_interpreter_that_is_not_there_is_one_error(tmp_path):
    missing = GuardedProcess("acme", workdir=tmp_path, interpreter=[str(tmp_path / "python")])
    with pytest.raises(EdgecompileError, match=r"EC-511: .*could not be started: No such file"):
        missing.__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_worker_of_another_environment_does_not_see_our_packages(tmp_path):
    told = "import os; print(os.environ.get('PYTHONPATH'), flush=True); input(); input()"
    interpreter = [sys.executable, "-c", told]
    process = GuardedProcess("acme", workdir=tmp_path, interpreter=interpreter)
    with process, pytest.raises(EdgecompileError, match=r"EC-514: .*unexpected answer 'None"):
        process.call(f"{HERE}:echo", 1)


def test_an_answer_that_is_none_is_an_error(tmp_path):
    assert "EC-514" in str(failure("babble", None, tmp_path))
    assert "EC-510: acme failed: TypeError" in str(failure("silent", None, tmp_path))


def test_a_function_that_does_not_exist_is_an_error(tmp_path):
    assert "EC-510: acme failed: AttributeError" in str(failure("nowhere", None, tmp_path))


def test_a_hanging_tool_is_stopped_with_its_children(tmp_path):
    note = tmp_path / "pid"
    error = failure("hang_with_child", str(note), tmp_path, timeout_s=4)
    assert str(error) == "EC-512: acme did not answer within 4 s and was stopped"
    assert gone(int(note.read_text()))


def test_children_of_a_crashed_tool_are_stopped(tmp_path):
    note = tmp_path / "pid"
    failure("crash_with_child", str(note), tmp_path)
    assert gone(int(note.read_text()))


def test_a_greedy_tool_is_stopped(tmp_path):
    error = failure("eat", None, tmp_path, memory_bytes=256 << 20)
    assert str(error) == "EC-513: acme used more than 256 MiB of memory and was stopped"


def test_an_interrupt_stops_the_tool_and_its_children(tmp_path):
    note = tmp_path / "pid"

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guarded("hang_with_child", str(note), tmp_path, progress=interrupt)
    assert gone(int(note.read_text()))


def test_a_killed_parent_leaves_nothing_behind(tmp_path):
    note = tmp_path / "pid"
    script = textwrap.dedent(
        f"""
        import pathlib
        from edgecompile.vendor.guarded import run_guarded
        run_guarded("{HERE}:hang_with_child", {str(note)!r}, tool="acme",
                    workdir=pathlib.Path({str(tmp_path)!r}))
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": "."})
    while not note.exists() or not note.read_text():
        assert parent.poll() is None
        time.sleep(0.05)
    worker = psutil.Process(int(note.read_text())).parent()
    parent.kill()
    parent.wait()
    assert worker is not None
    assert gone(worker.pid)
    assert gone(int(note.read_text()))
