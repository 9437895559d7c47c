"""TensorRT of the host: found by its files, told with its version, and nothing is started."""

from __future__ import annotations

import stat

import pytest

from edgecompile.vendor.tensorrt import host as room
from edgecompile.vendor.tensorrt.host import find_host, host_status


@pytest.fixture(autouse=True)
def no_module(monkeypatch):
    """Whatever this machine has of it."""
    monkeypatch.setattr(room, "_module", lambda: "")


def jetson(root, version="10.3.0"):
    """The files of JetPack; the program ends the test when it is started."""
    program = root / "usr/src/tensorrt/bin/trtexec"
    library = root / "usr/lib/aarch64-linux-gnu" / f"libnvinfer.so.{version}"
    for path in (program, library):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\nexit 99\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_jetpacks_files_are_found_with_their_version(tmp_path):
    program = jetson(tmp_path)
    found = find_host({}, tmp_path)
    assert (found.trtexec, found.library) == (str(program), "10.3.0")
    status = host_status({}, tmp_path)
    assert status.present
    assert status.versions["libnvinfer"] == "10.3.0"
    assert "NVIDIA driver" in status.versions
    assert status.missing == ("the Python package tensorrt",)
    assert status.directory == str(program.parent)


def test_another_program_is_named_by_the_environment(tmp_path):
    jetson(tmp_path / "a")
    other = jetson(tmp_path / "b", version="11.4.1")
    assert find_host({"TRTEXEC": str(other)}, tmp_path / "a").trtexec == str(other)
    assert find_host({"TRTEXEC": str(tmp_path)}, tmp_path / "none").trtexec == ""
    assert find_host({"PATH": str(other.parent)}, tmp_path / "none").trtexec == str(other)


def test_without_it_the_doctor_says_what_to_type(tmp_path):
    status = host_status({}, tmp_path)
    assert not status.present
    assert "apt install tensorrt" in status.install
    assert set(status.missing) == {"trtexec", "the Python package tensorrt"}


def test_the_python_package_alone_is_enough_to_build(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_module", lambda: "10.3.0")
    status = host_status({}, tmp_path)
    assert status.present
    assert status.versions["Python package"] == "10.3.0"
