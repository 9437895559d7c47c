"""SDKs that are looked for on this machine, as lines of the doctor."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecompile.cli.toolchains import helped_by, needed_by, state_of_all
from edgecompile.vendor.qaic import sdk as qaic

FAKE = "#!/bin/sh\necho 'qaic-exec 1.20.2'\n"


def test_the_cloud_ai_sdk_is_found_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qaic, "PLACE", tmp_path / "nowhere")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    gone = qaic.sdk_status()
    assert (gone.present, gone.missing) == (False, ("qaic-exec",))
    assert "Cloud AI Apps SDK" in gone.install
    (tmp_path / "qaic-exec").write_text(FAKE)
    (tmp_path / "qaic-exec").chmod(0o755)
    here = qaic.sdk_status()
    assert (here.present, here.versions) == (True, {"qaic-exec": "qaic-exec 1.20.2"})
    assert here.directory == str(tmp_path)


@pytest.mark.parametrize(
    ("target", "sdk"),
    [("cloud-ai-100-pro", "qaic-sdk"), ("lunar-lake-npu", "openvino-npu-compiler")],
)
def test_a_target_names_what_would_do_its_last_step(target: str, sdk: str) -> None:
    assert helped_by(target) == {sdk}
    assert sdk not in needed_by(target), "a build goes on without it"
    (found,) = state_of_all(ask=False, only={sdk})
    assert found.purpose and found.install
