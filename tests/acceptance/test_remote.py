"""Proving a build on a device over SSH: a real OpenSSH server on the loopback is the device.

The artifact is an OpenVINO IR, so that the device really runs it; the bundle of a Jetson gets as
far as a machine without TensorRT can get, with a stand-in for `trtexec`.
"""

from __future__ import annotations

import shutil

import pytest

from edgecompile.artifacts.manifest import Manifest
from edgecompile.diagnostics import EdgecompileError
from edgecompile.driver import remote
from edgecompile.driver.remote import prove_on
from edgecompile.targets.catalogue import load_target
from tests.support.builds import run_build
from tests.support.sshd import needs_sshd, server
from tests.support.tensorrt import stand_in

pytestmark = needs_sshd


@pytest.fixture(scope="module")
def unproven(tmp_path_factory):
    """A build for a device like `intel-nuc` whose status is only `checked`, so it has a kit."""
    target = load_target("intel-nuc")
    rules = tuple(rule.model_copy(update={"status": "checked"}) for rule in target.artifacts)
    other = target.model_copy(update={"artifacts": rules})
    folder = tmp_path_factory.mktemp("unproven")
    patch = pytest.MonkeyPatch()
    patch.setattr("edgecompile.driver.resolve.load_targets", lambda names: other)
    try:
        run_build(folder)
    finally:
        patch.undo()
    assert Manifest.load(folder / "out/manifest.json").artifacts[0].status == "checked"
    return folder / "out"


@pytest.fixture
def build(unproven, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(unproven, tmp_path / "out")


def test_the_device_proves_the_build_and_keeps_nothing(build, tmp_path):
    with server(tmp_path / "sshd") as there:
        lines: list[str] = []
        proof = prove_on(build, there.address, options=there.options, told=lines.append)
        assert there.kept == []
    assert proof.problems == ()
    artifact = Manifest.load(build / "manifest.json").artifacts[0]
    assert artifact.status == "verified"
    assert artifact.device is not None
    assert any("ms per inference" in line for line in lines)


def test_a_lost_connection_goes_on_where_it_ended(build, tmp_path):
    """The session ends, as a broken line ends it, when the device is about to run."""
    lost = tmp_path / "lost"
    wrapper = f"""case "$SSH_ORIGINAL_COMMAND" in
*"exec python3 prove.py"*) if [ ! -e '{lost}' ]; then touch '{lost}'; exit 255; fi;;
esac
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""
    sent = []
    with server(tmp_path / "sshd", wrapper=wrapper) as there:
        with pytest.raises(EdgecompileError) as caught:
            prove_on(build, there.address, options=there.options)
        assert caught.value.diagnostics[0].code == "EC-532"
        before = {p: p.stat().st_mtime_ns for p in there.home.rglob("*") if p.is_file()}
        assert len(before) >= 6
        patch = pytest.MonkeyPatch()
        run = remote.Connection.run

        def counted(self, script, *arguments, **options):
            if script == remote._PUT:
                sent.append(arguments[1])
            return run(self, script, *arguments, **options)

        patch.setattr(remote.Connection, "run", counted)
        try:
            assert prove_on(build, there.address, options=there.options).problems == ()
        finally:
            patch.undo()
        assert there.kept == []
    assert sent == []


def test_a_device_that_cannot_run_it_says_why_and_keeps_nothing(tmp_path):
    """A Jetson's bundle: `build.sh` runs over there, then TensorRT's Python package is missing."""
    run_build(tmp_path / "build", target="jetson-orin")
    program = stand_in(tmp_path / "bin", "100300")
    wrapper = f"""TRTEXEC='{program}'; export TRTEXEC
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""
    with server(tmp_path / "sshd", wrapper=wrapper) as there:
        with pytest.raises(EdgecompileError) as caught:
            prove_on(tmp_path / "build/out", there.address, options=there.options)
        assert there.kept == []
    problem = caught.value.diagnostics[0]
    assert problem.code == "EC-533"
    log = tmp_path / "build/out/artifacts/device/remote.log"
    assert "TensorRT 10.3" in log.read_text()
    assert (tmp_path / "build/out/artifacts/device/built.json").is_file()
    assert (tmp_path / "bin/arguments").is_file()


def test_a_build_without_a_kit_has_nothing_to_prove(tmp_path):
    with pytest.raises(EdgecompileError) as caught:
        prove_on(tmp_path, "ssh://127.0.0.1:1")
    assert caught.value.diagnostics[0].code == "EC-670"
