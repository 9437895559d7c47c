"""Qualcomm's SDK is found where the environment names it, and told with its version."""

from __future__ import annotations

from edgecompile.vendor.qnn.sdk import find_sdk, sdk_status, wrong_roots
from tests.support.cli import run


def unpack(root, version_file="name: qairt\nversion: 2.51.0.260929\n"):
    for tool in ("x86_64-linux-clang/qnn-net-run", "aarch64-android/snpe-net-run"):
        path = root / "bin" / tool
        path.parent.mkdir(parents=True)
        path.write_text("")
    if version_file:
        (root / "sdk.yaml").write_text(version_file)
    return {"QAIRT_SDK_ROOT": str(root)}


def test_it_is_found_with_its_tools_and_version(tmp_path):
    sdk = find_sdk(unpack(tmp_path / "qairt"))
    assert sdk is not None
    assert sdk.version == "2.51.0.260929"
    assert set(sdk.tools) == {"qnn-net-run", "snpe-net-run"}
    assert sdk.tools["snpe-net-run"][0].parent.name == "aarch64-android"


def test_only_tools_for_this_machine_are_of_use_here(tmp_path, monkeypatch):
    sdk = find_sdk(unpack(tmp_path / "qairt"))
    for machine, system, here in (
        ("x86_64", "linux", ("qnn-net-run",)),
        ("AMD64", "linux", ("qnn-net-run",)),
        ("aarch64", "linux", ()),  # those of Android are not for it
        ("AMD64", "win32", ()),
    ):
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        monkeypatch.setattr("sys.platform", system)
        assert sdk.here == here


def test_an_older_sdk_says_its_version_by_its_folder(tmp_path):
    environment = unpack(tmp_path / "2.28.0.241029", version_file="")
    assert find_sdk({"SNPE_ROOT": environment["QAIRT_SDK_ROOT"]}).version == "2.28.0.241029"
    assert find_sdk(unpack(tmp_path / "somewhere", version_file="")).version == ""


def test_the_newest_variable_wins_and_a_wrong_one_is_passed_over(tmp_path):
    new, old = unpack(tmp_path / "new"), unpack(tmp_path / "old")
    both = {"SNPE_ROOT": old["QAIRT_SDK_ROOT"], **new}
    assert find_sdk(both).root.name == "new"
    assert find_sdk({**both, "QAIRT_SDK_ROOT": str(tmp_path / "none")}).root.name == "old"
    assert find_sdk({"QAIRT_SDK_ROOT": ""}) is None


def test_a_variable_that_names_no_sdk_is_told(tmp_path):
    (tmp_path / "other").mkdir()
    good = unpack(tmp_path / "sdk")
    wrong = {"SNPE_ROOT": str(tmp_path / "none"), "QNN_SDK_ROOT": str(tmp_path / "other")}
    found = wrong_roots({**good, **wrong})
    assert [problem.code for problem in found.values()] == ["EC-629", "EC-629"]
    assert "QNN_SDK_ROOT is set" in found["QNN_SDK_ROOT"].message
    assert "no folder 'bin'" in found["QNN_SDK_ROOT"].message
    assert "does not exist" in found["SNPE_ROOT"].message
    assert str(tmp_path) not in str(found)
    assert sdk_status(wrong).problems == tuple(found.values())
    assert not sdk_status(wrong).present
    assert sdk_status({**good, "SNPE_ROOT": ""}).problems == ()


def test_the_doctor_warns_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QAIRT_SDK_ROOT", str(tmp_path / "none"))
    asked = ("toolchain", "doctor", "--target", "rb5")
    told = run(capsys, *asked)
    assert "warning[EC-629]: QAIRT_SDK_ROOT is set" in told.err
    document = run(capsys, *asked, "--format", "json").document
    assert [problem["code"] for problem in document["diagnostics"]] == ["EC-629"]


def test_doctor_tells_what_is_there_and_what_to_set(tmp_path):
    here = sdk_status(unpack(tmp_path / "sdk"))
    assert here.present
    assert here.versions == {"QAIRT": "2.51.0.260929"}
    assert here.missing == ("qairt-dlc-info", "snpe-dlc-info")
    gone = sdk_status({})
    assert not gone.present
    assert "QAIRT_SDK_ROOT" in gone.install
