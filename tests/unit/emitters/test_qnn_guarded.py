"""Qualcomm's compiler may hang, die or write half of a file: one error, and nothing is left."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path

import psutil
import pytest

from edgecompile.diagnostics import EdgecompileError, ExitCode
from edgecompile.emitters.base import Emitter
from edgecompile.emitters.qnn_context_binary import QnnContextBinary
from edgecompile.emitters.qnn_dlc import QnnDlc
from edgecompile.targets.catalogue import load_target
from edgecompile.targets.schema import Target
from edgecompile.vendor.guarded import run_guarded
from edgecompile.verify.runtimes.qnn_context_binary import QnnContextRuntime
from tests.support import models

GEN2 = load_target("snapdragon-8-gen2")
HANG = """
import os, subprocess, sys, time
from pathlib import Path


def {function}(payload, session):
    Path(payload["folder"], "model_ctx_qnn.bin").write_bytes(b"half of a binary")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path({note!r}).write_text(f"{{os.getpid()}} {{child.pid}} {{payload['folder']}}")
    {end}
"""
ENDS = {
    "hangs": ("time.sleep(600)", "EC-512", "did not answer within 5 s and was stopped"),
    "faults": ("os.kill(os.getpid(), 11)", "EC-511", "crashed (signal SIGSEGV)"),
    "is-killed": ("os.kill(os.getpid(), 9)", "EC-511", "crashed (signal SIGKILL)"),
    "leaves": ("os._exit(3)", "EC-511", "crashed (exit code 3)"),
}
WAYS: dict[str, tuple[Emitter, str, str]] = {
    "context-binary": (QnnContextBinary(), "qnn_context_binary", "compile_models"),
    "dlc": (QnnDlc(), "qnn_dlc", "make_dlc"),
}


def ended(pid: int) -> bool:
    """Whether a process has gone, or is a zombie that nobody has asked for yet."""
    for _ in range(100):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def emitted(emitter: Emitter, directory: Path, target: Target = GEN2) -> EdgecompileError:
    """The one error of an emission into `directory`, which stays empty."""
    directory.mkdir()
    with pytest.raises(EdgecompileError) as caught:
        emitter.emit(models.mlp(), target, directory, None)
    assert list(directory.iterdir()) == []
    return caught.value


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ENDS)
def test_it_ends_with_one_error_and_leaves_nothing(way, end, tmp_path, monkeypatch):
    emitter, module, function = WAYS[way]
    line, code, message = ENDS[end]
    note, worker = tmp_path / "note", tmp_path / "worker.py"
    worker.write_text(HANG.format(function=function, note=str(note), end=line))
    place = f"edgecompile.emitters.{module}"

    def guarded(asked: str, payload: object, **options: object) -> object:
        assert asked.endswith(f":{function}")
        limited = functools.partial(run_guarded, timeout_s=5)
        return limited(f"{worker}:{function}", payload, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(f"{place}.run_guarded", guarded)
    error = emitted(emitter, tmp_path / "out")
    assert [d.code for d in error.diagnostics] == [code]
    assert error.exit_code is ExitCode.TOOLCHAIN
    assert message in str(error)
    own, child, folder = note.read_text().split(" ", 2)
    assert ended(int(own))
    assert ended(int(child))
    assert not Path(folder).exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_an_emulator_that_faults_is_one_error(tmp_path, monkeypatch):
    worker = tmp_path / "runner.py"
    faulty = "import os\n\n\ndef open_model(payload, session):\n    os.kill(os.getpid(), 11)\n"
    worker.write_text(faulty)
    monkeypatch.setattr("edgecompile.verify.runtimes.qnn_context_binary._RUNNER", str(worker))
    monkeypatch.setattr("edgecompile.verify.runtimes.qnn_context_binary.demand", lambda _: None)
    work = tmp_path / "work"
    with pytest.raises(EdgecompileError, match=r"EC-511: .*signal SIGSEGV"):
        QnnContextRuntime().open(tmp_path / "none", GEN2, work, threads=1).__enter__()
    assert list(work.iterdir()) == []
