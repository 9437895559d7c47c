"""`inspect` tells of models and refuses what it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.driver.inspect import inspect
from tests.support.builds import DIGITS, run_build

IR = """<?xml version="1.0"?>
<net name="toy" version="11"><layers>
<layer id="0" name="x" type="Parameter" version="opset1">
  <data shape="?,4" element_type="f32"/></layer>
<layer id="1" name="w" type="Const" version="opset1">
  <data element_type="i8" shape="4" offset="0" size="4"/></layer>
<layer id="2" name="y" type="Result" version="opset1"/>
</layers></net>
"""


def test_a_model() -> None:
    facts = inspect(DIGITS)
    assert facts["kind"] == "model"
    assert facts["bytes"] == DIGITS.stat().st_size
    assert sum(facts["operators"].values()) == facts["nodes"]
    assert facts["weight_bytes"] == facts["parameters"] * 4
    assert facts["macs"] > 100_000
    assert [spec["dtype"] for spec in facts["inputs"]] == ["float32"]


def test_an_ir(tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text(IR)
    (tmp_path / "m.bin").write_bytes(b"1234")
    facts = inspect(tmp_path / "m.xml")
    assert facts["kind"] == "artifact"
    assert facts["inputs"] == [{"name": "x", "dtype": "f32", "shape": [None, 4]}]
    assert facts["operators"] == {"Const": 1, "Parameter": 1, "Result": 1}
    assert facts["constant_bytes"] == {"i8": 4}
    assert facts["bytes"] == len(IR) + 4


@pytest.mark.parametrize("content", ["<net/>", "<html></html>", "no XML"])
def test_other_xml_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "m.xml").write_text(content)
    with pytest.raises(EdgecompileError, match="EC-750"):
        inspect(tmp_path / "m.xml")


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgecompileError, match="EC-750"):
        inspect(tmp_path)


def test_a_file_that_only_a_vendor_reads_is_told_by_its_build(tmp_path: Path) -> None:
    result, _ = run_build(tmp_path)
    found = inspect(result.directory / "artifacts" / "model.bin")
    assert (found["kind"], found["path"]) == ("build", str(result.directory))
    stranger = result.directory / "artifacts" / "other.dlc"
    stranger.write_bytes(b"PK\x03\x04")
    with pytest.raises(EdgecompileError) as caught:
        inspect(stranger)
    assert caught.value.diagnostics[0].code == "EC-105"
