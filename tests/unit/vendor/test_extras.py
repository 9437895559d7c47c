"""What is installed is told without importing it, and what is missing with what to type."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edgecompile.diagnostics import EdgecompileError, ExitCode
from edgecompile.vendor import demand, doctor, extras, missing, require, versions
from edgecompile.vendor.toolchains.spec import all_toolchains


@pytest.fixture
def without(monkeypatch):
    """Pretend that some distributions are not installed."""

    def hide(*names: str) -> None:
        real = extras.version

        def version(name: str) -> str:
            if name in names:
                raise extras.PackageNotFoundError(name)
            return real(name)

        monkeypatch.setattr(extras, "version", version)
        extras.forget_versions()

    yield hide
    extras.forget_versions()


def test_a_missing_extra_says_what_to_type(without):
    without("nncf")
    with pytest.raises(EdgecompileError) as caught:
        require("openvino")
    problem = caught.value.diagnostics[0]
    assert caught.value.exit_code is ExitCode.TOOLCHAIN
    assert problem.message == "the toolchain 'openvino' is not installed (missing: nncf)"
    assert "type: pip install 'edgecompile[openvino]'" in problem.hints
    assert missing("openvino") == problem


def test_a_broken_extra_says_why(monkeypatch):
    broken = extras.Extra(
        name="broken", distributions=("numpy",), module="numpy.no_such_part", purpose=""
    )
    monkeypatch.setitem(extras.EXTRAS, "broken", broken)
    with pytest.raises(EdgecompileError, match=r"EC-501: .*'numpy\.no_such_part'"):
        require("broken")


def test_an_unknown_extra_offers_the_nearest():
    with pytest.raises(EdgecompileError) as caught:
        demand("openvno")
    assert "did you mean 'openvino'?" in caught.value.diagnostics[0].hints


def test_doctor_tells_every_toolchain(without):
    without("tensorrt", "onnxruntime-qnn")
    report = {status.name: status for status in doctor()}
    assert list(report) == sorted(extras.EXTRAS)
    assert report["openvino"].present
    assert set(report["openvino"].versions) == {"openvino", "nncf"}
    assert report["qnn"].missing == ("onnxruntime-qnn",)
    assert report["qnn"].install == "pip install 'edgecompile[qnn]'"
    assert all(status.purpose for status in report.values())


def test_versions_leaves_out_what_is_not_there():
    assert set(versions("numpy", "no-such-distribution")) == {"numpy"}


def test_looking_imports_no_vendor_package():
    code = (
        "import sys; from edgecompile.vendor import doctor, missing; doctor(); missing('openvino');"
        "print([m for m in ('openvino', 'nncf', 'numpy', 'onnxruntime') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "[]", result.stderr


def test_openvino_is_loaded_without_its_telemetry():
    code = (
        "import sys; from edgecompile.vendor import require; require('openvino');"
        "import openvino.tools.ovc.telemetry_utils as t; print(t.tm.__name__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "openvino.tools.ovc.telemetry_stub", result.stderr


def test_the_table_is_that_of_the_project():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))
    declared = project["project"]["optional-dependencies"]
    assert set(extras.EXTRAS) == set(declared) - {"all", "dev", *all_toolchains()}
    for name, extra in extras.EXTRAS.items():
        names = [re.match(r"[\w-]+", requirement)[0] for requirement in declared[name]]
        assert extra.distributions == tuple(names)
