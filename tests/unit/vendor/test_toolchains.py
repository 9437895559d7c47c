"""Isolated environments: made whole or not at all, found again by their pins, asked in a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from edgecompile.diagnostics import EdgecompileError, ExitCode
from edgecompile.vendor.toolchains import place, pythons, spec
from edgecompile.vendor.toolchains.install import install
from edgecompile.vendor.toolchains.isolated import TASKS, probe, task, worker
from edgecompile.vendor.toolchains.status import statuses
from tests.support.toolchains import HERE, register, toolchain, write_wheel

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    """Environments of a test lie in its own folder, and pip sees only the wheels there."""
    monkeypatch.setenv("EDGECOMPILE_TOOLCHAINS_DIR", str(tmp_path / "root"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path / "root"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One installed toolchain with a package in it, for tests that only look."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECOMPILE_TOOLCHAINS_DIR", str(folder / "root"))
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(folder / "wheels"))
        write_wheel(folder / "wheels", "acme_tool", "1.2", "def double(x):\n    return 2 * x\n")
        known = toolchain(requirements=["acme-tool==1.2"], imports=["acme_tool"])
        told: list[str] = []
        return folder / "root", known, install(known, told=told.append), told


def refused(*args, **options) -> EdgecompileError:
    with pytest.raises(EdgecompileError) as caught:
        install(*args, told=lambda _: None, **options)
    assert caught.value.exit_code is ExitCode.TOOLCHAIN
    return caught.value


def left(root: Path) -> list[str]:
    """What of environments is in the root."""
    return sorted(p.name for p in root.rglob("*") if p.name in {"pyvenv.cfg", place.MARKER})


def test_an_install_is_found_again_with_its_versions(made, monkeypatch):
    root, known, installed, told = made
    monkeypatch.setenv("EDGECOMPILE_TOOLCHAINS_DIR", str(root))
    assert place.find(known) == installed
    assert installed.directory.parent == root / "tiny"
    assert installed.versions["acme-tool"] == "1.2"
    assert any("acme-tool==1.2" in line for line in told)
    again: list[str] = []
    assert install(known, told=again.append) == installed
    assert again == []


def test_other_pins_are_another_environment(made, monkeypatch):
    root, known, installed, _ = made
    monkeypatch.setenv("EDGECOMPILE_TOOLCHAINS_DIR", str(root))
    for change in ({"requirements": ("acme-tool==1.3",)}, {"locked": ("other==1",)}):
        changed = known.model_copy(update=change)
        assert place.find(changed) is None
        assert list(place.others(changed)) == [installed.directory]
    assert known.digest("3.11") != known.digest("3.12")
    assert place.find(known.model_copy(update={"purpose": "something else"})) == installed


def test_the_worker_runs_our_files_there_without_edgecompile(made, tmp_path, monkeypatch):
    root, _, installed, _ = made
    monkeypatch.setenv("EDGECOMPILE_TOOLCHAINS_DIR", str(root))
    job = tmp_path / "job.py"
    job.write_text(
        textwrap.dedent(
            """
            import importlib.util, sys
            def run(payload, session):
                import acme_tool
                session.kept["calls"] = session.kept.get("calls", 0) + 1
                return {
                    "double": acme_tool.double(payload),
                    "calls": session.kept["calls"],
                    "ours": importlib.util.find_spec("edgecompile") is not None,
                    "shadow": importlib.util.find_spec("guarded") is not None,
                    "prefix": sys.prefix,
                }
            def die(payload, session):
                import os
                os.write(2, b"last words")
                os._exit(5)
            """
        )
    )
    with worker(installed, workdir=tmp_path / "w") as process:
        process.call(f"{job}:run", 1)
        answer = process.call(f"{job}:run", 21)
    assert answer["double"] == 42
    assert answer["calls"] == 2
    assert not answer["ours"]
    assert not answer["shadow"]
    assert Path(answer["prefix"]).resolve() == installed.directory.resolve()
    crashed = pytest.raises(EdgecompileError, match=r"EC-511: tiny crashed \(exit code 5\)")
    with worker(installed, workdir=tmp_path / "w") as process, crashed as told:
        process.call(f"{job}:die", None)
    assert "last words" in told.value.details
    assert list((tmp_path / "w").iterdir()) == []


def test_a_worker_whose_file_is_not_there_says_so(made, tmp_path):
    failed = pytest.raises(EdgecompileError, match="EC-510: tiny failed: FileNotFoundError")
    with worker(made[2], workdir=tmp_path) as process, failed:
        process.call(task("nothing.py", "run"), None)


def test_tasks_need_only_the_standard_library():
    code = f"import runpy; [runpy.run_path(p) for p in {sorted(map(str, TASKS.glob('*.py')))!r}]"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_broken_pins_say_what_pip_says_and_leave_nothing(root, tmp_path):
    write_wheel(tmp_path / "wheels", "acme_tool", "1.2", "")
    error = refused(toolchain(requirements=["acme-tool==9.9"]))
    assert "EC-525: the toolchain 'tiny' could not be installed: pip failed:" in str(error)
    assert "No matching distribution found for acme-tool==9.9" in str(error)
    assert "1.2" in error.details
    assert left(root) == []


def test_locked_versions_hold_what_requirements_bring(root, tmp_path):
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "acme_tool", "1.2", "", requires="acme-part")
    write_wheel(wheels, "acme_part", "1.0", "")
    write_wheel(wheels, "acme_part", "2.0", "")
    known = toolchain(requirements=["acme-tool==1.2"], locked=["acme-part==1.0"])
    assert install(known, told=lambda _: None).versions["acme-part"] == "1.0"


def test_a_package_that_does_not_import_does_not_count(root, tmp_path):
    write_wheel(tmp_path / "wheels", "acme_tool", "1.2", "import no_such_part\n")
    error = refused(toolchain(requirements=["acme-tool==1.2"], imports=["acme_tool"]))
    assert "the import check failed" in str(error)
    assert "No module named 'no_such_part'" in str(error)
    assert left(root) == []


def test_an_interrupted_install_leaves_nothing(root, tmp_path):
    def interrupt(text: str) -> None:
        if text == "checking it":
            assert left(root) == ["pyvenv.cfg"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(toolchain(), told=interrupt)
    assert left(root) == []


KILLED = """
import sys, time
from tests.support.toolchains import toolchain
from edgecompile.vendor.toolchains.install import install
def told(text):
    print(text, flush=True)
    if text == "checking it":
        time.sleep(600)
install(toolchain(), told=told)
"""


def test_a_killed_install_does_not_look_installed_and_is_made_again(root):
    command = [sys.executable, "-c", KILLED]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert "checking it" in (first.stdout.readline(), first.stdout.readline().strip())
    first.kill()
    first.wait()
    first.stdout.close()
    assert left(root) == ["pyvenv.cfg"]
    assert place.find(toolchain()) is None
    assert len(list(place.others(toolchain()))) == 1
    assert install(toolchain(), told=lambda _: None).directory.is_dir()
    assert list(place.others(toolchain())) == []


BOTH = """
from tests.support.toolchains import toolchain
from edgecompile.vendor.toolchains.install import install
told = []
made = install(toolchain(), told=told.append)
print(made.directory, any("making" in line for line in told))
"""


def test_two_at_once_make_one_environment(root):
    command = [sys.executable, "-c", BOTH]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[0].split() for process in both]
    assert said[0][0] == said[1][0]
    assert sorted(made for _, made in said) == ["False", "True"]


def test_without_a_suitable_python_it_says_which(root):
    error = refused(toolchain(python=["3.1"]))
    assert str(error) == (
        "EC-523: the toolchain 'tiny' needs Python 3.1, and there is none on PATH "
        f"(this is Python {HERE})"
    )
    assert not root.exists()
    assert "is Python" in str(refused(toolchain(python=["3.1"]), python=sys.executable))
    assert "does not answer" in str(refused(toolchain(), python=str(root / "python")))


def test_a_python_on_path_is_taken_only_when_it_answers(tmp_path, monkeypatch):
    shim = tmp_path / "bin" / "python3.1"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\necho 'not installed' >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(shim.parent))
    with pytest.raises(EdgecompileError, match="EC-523"):
        pythons.find_python(toolchain(python=["3.1"]))
    shim.write_text("#!/bin/sh\necho 3.1\n")
    assert pythons.find_python(toolchain(python=["3.1"])).executable == str(shim)
    best = pythons.find_python(toolchain(python=["3.1", HERE]))
    assert best.version == "3.1"


def test_another_system_is_refused(root):
    error = refused(toolchain(platforms=["plan9-vax"]))
    assert "EC-524: the toolchain 'tiny' exists for plan9-vax only" in str(error)


def test_a_disk_that_is_too_small_is_told_first(root):
    error = refused(toolchain(size_bytes=1 << 60))
    assert "making room failed: about" in str(error)
    assert left(root) == []


def test_an_absent_toolchain_says_what_to_type(root, tmp_path, monkeypatch):
    register(monkeypatch, tmp_path, toolchain())
    problem = place.absent("tiny")
    assert problem.message == "the isolated toolchain 'tiny' is not installed"
    assert problem.hints[0] == "type: edgecompile toolchain install tiny"
    with pytest.raises(EdgecompileError, match="EC-520"):
        place.demand("tiny")
    with pytest.raises(EdgecompileError) as caught:
        place.absent("tinny")
    assert "did you mean 'tiny'?" in caught.value.diagnostics[0].hints


def test_a_damaged_environment_is_not_found(made, monkeypatch, tmp_path):
    installed = made[2]
    copy = tmp_path / "root" / "tiny" / installed.directory.name
    copy.mkdir(parents=True)
    marker = copy / place.MARKER
    text = (installed.directory / place.MARKER).read_text()
    for wrong in ("", "{}", "[]", text.replace(installed.digest, "0" * 64), text):
        marker.write_text(wrong)  # the last is right, but there is no Python
        assert place.find(made[1]) is None


def test_removing_takes_every_environment(root, tmp_path, monkeypatch):
    register(monkeypatch, tmp_path, toolchain())
    assert place.remove("tiny") == []
    for name in ("0" * 16, "1" * 16):
        (root / "tiny" / name).mkdir(parents=True)
    assert [p.name for p in place.remove("tiny")] == ["0" * 16, "1" * 16]
    assert not (root / "tiny").exists()


def test_the_status_is_cheap_unless_asked(made, monkeypatch, tmp_path):
    root, known, installed, _ = made
    monkeypatch.setenv("EDGECOMPILE_TOOLCHAINS_DIR", str(root))
    register(monkeypatch, tmp_path, known)
    asked: list[str] = []
    monkeypatch.setattr(
        "edgecompile.vendor.toolchains.status.probe",
        lambda chain, python: asked.append(chain.name) or probe(chain, python),
    )
    (quiet,) = statuses(ask=False, only={"tiny"})
    assert (quiet.present, quiet.versions, asked) == (True, {"acme-tool": "1.2"}, [])
    assert quiet.directory == str(installed.directory)
    (loud,) = statuses(ask=True, only={"tiny"})
    assert (loud.answer, asked) == ("yes", ["tiny"])
    broken = known.model_copy(update={"imports": ("no_such_part",)})
    register(monkeypatch, tmp_path, broken)
    (bad,) = statuses(ask=True, only={"tiny"})
    assert not bad.present
    assert "No module named 'no_such_part'" in bad.answer


def test_a_stuck_probe_is_stopped(made, tmp_path, monkeypatch):
    stuck = made[1].model_copy(update={"imports": ("acme_stuck",)})
    site = next(made[2].directory.rglob("site-packages"))
    note = tmp_path / "pid"
    (site / "acme_stuck.py").write_text(
        f"import os, time\nopen({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    )
    try:
        with pytest.raises(EdgecompileError, match="EC-512: tiny did not answer"):
            probe(stuck, made[2].interpreter, timeout_s=3)
    finally:
        (site / "acme_stuck.py").unlink()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(int(note.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(int(note.read_text()))


@pytest.mark.parametrize(
    "requirement",
    [
        "numpy",
        "numpy>=1",
        "numpy==1.*",
        "numpy @ https://example.org/n.whl",
        "-r x",
        "torch==1+cpu",
    ],
)
def test_only_exact_versions_are_requirements(requirement):
    document = toolchain().model_dump(mode="json", by_alias=True)
    document["requirements"] = [requirement]
    with pytest.raises(EdgecompileError, match=r"EC-522: .*requirements\.0"):
        spec.parse_toolchain(json.dumps(document), "tiny.yaml")


def test_the_files_that_ship_are_sound():
    shipped = spec.all_toolchains()
    assert set(shipped) >= {"aimet", "neural-compressor"}
    for name, one in shipped.items():
        assert one.requirements and one.imports and one.notes, name
        pinned = [pin.split("==")[0].lower() for pin in (*one.requirements, *one.locked)]
        assert len(pinned) == len(set(pinned)), name
    # In the same command, so that pip does not replace it by a build with CUDA.
    assert "torch==2.13.0" in shipped["aimet"].requirements
