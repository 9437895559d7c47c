"""`edgecompile.mk` in a Makefile of a user's: real make, real builds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import ROOT, child_environment

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

MAKEFILE = f"""
EDGECOMPILE := {sys.executable} -m edgecompile
include $(shell $(EDGECOMPILE) --makefile)
EDGECOMPILE_TARGET := intel-nuc
EDGECOMPILE_CALIBRATION := samples
EDGECOMPILE_FLAGS = --quiet $(MORE)

package.txt: model.ir
\tls model.ir > $@
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "examples/digits/model.onnx", tmp_path / "model.onnx")
    (tmp_path / "samples").mkdir()
    shutil.copy(ROOT / "calibration_data/digits/calibration.npz", tmp_path / "data.npz")
    split_samples(tmp_path / "data.npz", tmp_path / "samples")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    return tmp_path


def split_samples(source: Path, folder: Path) -> None:
    import numpy as np

    for number, image in enumerate(np.load(source)["image"][:40]):
        np.save(folder / f"{number:03}.npy", image)


def make(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The tests may themselves run under make, which tells its children so.
    env = child_environment("MAKELEVEL", "MAKEFLAGS", "MFLAGS")
    return subprocess.run(
        ["make", *arguments],
        cwd=project,
        env={**env, "EDGECOMPILE_CACHE_DIR": str(project / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_makefile_builds_once_and_again_only_when_something_changed(project):
    first = make(project)
    assert first.returncode == 0, first.stderr
    assert (project / "package.txt").read_text().split() == ["model.bin", "model.xml"]
    assert (project / "model.edge/manifest.json").is_file()

    assert make(project).stdout == ""

    (project / "samples/000.npy").touch()
    again = make(project)
    assert again.stdout.splitlines()[0] == "model.ir"

    changed = make(project, "MORE=--set calibrate.method=minmax")
    assert changed.returncode in (0, 2)
    assert changed.stdout != ""
    assert make(project, "MORE=--set calibrate.method=minmax").stdout == ""

    (project / "samples/new.npy").write_bytes((project / "samples/001.npy").read_bytes())
    assert make(project).stdout.splitlines()[0] == "model.ir"


def test_a_failed_build_fails_make_and_leaves_no_artifact(project):
    failed = make(project, "EDGECOMPILE_TARGET=intel-nux")
    assert failed.returncode == 2
    assert "EC-201" in failed.stderr
    assert not (project / "model.ir").exists()

    missing = make(project, "EDGECOMPILE_TARGET=")
    assert missing.returncode == 2
    assert "set EDGECOMPILE_TARGET" in missing.stderr


def test_a_model_in_a_folder_has_its_own_settings(project):
    (project / "nets").mkdir()
    (project / "model.onnx").rename(project / "nets/digits.onnx")
    built = make(project, "nets/digits.ir")
    assert built.returncode == 0, built.stderr
    assert (project / "nets/digits.ir/model.xml").is_file()
    assert (project / "nets/.digits.settings").is_file()
    assert make(project, "nets/digits.ir").stdout == ""
