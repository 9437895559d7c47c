"""What `inspect` shows of a model, an artifact or a build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecompile.cli.page import Cell, Column, Page
from edgecompile.cli.render.report import render_report
from edgecompile.cli.units import bytes_text

LISTED = 20
"""Operators that are listed, the most frequent first."""


def render_inspection(page: Page, found: Mapping[str, Any]) -> None:
    """The document of `driver.inspect` for people."""
    {"model": _model, "artifact": _artifact, "build": _build}[found["kind"]](page, found)


def _model(page: Page, found: Mapping[str, Any]) -> None:
    page.heading(found["name"])
    weights = ", ".join(f"{count_text(n)} {kind}" for kind, n in found["weight_types"].items())
    opsets = ", ".join(f"{name or 'ai.onnx'} {n}" for name, n in found["opsets"].items())
    page.pairs(
        {
            "size": bytes_text(found["bytes"]),
            "sha256": Cell(found["sha256"], "dim"),
            "producer": found["producer"] or Cell("not said", "dim"),
            "opsets": opsets,
            "IR version": str(found["ir_version"]),
            "parameters": weights,
            "weights": bytes_text(found["weight_bytes"]),
            "multiply-accumulates": _macs(found["macs"]),
        }
    )
    _tensors(page, "Inputs", found["inputs"])
    _tensors(page, "Outputs", found["outputs"])
    _operators(page, found["operators"], found["nodes"])
    if found["metadata"]:
        page.heading("Metadata")
        page.pairs({name: _short(value) for name, value in found["metadata"].items()})


def _artifact(page: Page, found: Mapping[str, Any]) -> None:
    page.heading(f"{found['name']}: {found['format']}, version {found['version']}")
    constants = ", ".join(f"{bytes_text(n)} {kind}" for kind, n in found["constant_bytes"].items())
    page.pairs(
        {
            "size": bytes_text(found["bytes"]),
            "weights": found["weights"] or Cell("the .bin is missing", "bad"),
            "constants": constants or "none",
            "outputs": ", ".join(found["outputs"]),
        }
    )
    _tensors(page, "Inputs", found["inputs"])
    _operators(page, found["operators"], sum(found["operators"].values()))


def _build(page: Page, found: Mapping[str, Any]) -> None:
    manifest = found["manifest"]
    model, target, recipe = manifest["model"], manifest["target"], manifest["recipe"]
    page.heading(f"{model['name']} for {target['id']}")
    facts: dict[str, str | Cell] = {
        "made by": f"edgecompile {manifest['edgecompile']}",
        "recipe": f"{recipe['name']}: {', '.join(step['step'] for step in recipe['steps'])}",
        "calibrated on": _data(manifest["calibration"]),
        "verified on": _data(manifest["evaluation"]),
    }
    page.pairs(facts)
    render_report(page, manifest, Path(found["path"]))
    digests = {a["path"]: a["sha256"] for a in manifest["artifacts"] if len(a["files"]) <= 1}
    changed = [name for name, digest in digests.items() if found["files"].get(name) != digest]
    for name in found["missing"]:
        page.line(Cell(f"{name} is missing", "bad"))
    for name in sorted(set(changed) - set(found["missing"])):
        page.line(Cell(f"{name} is not the file that was built", "bad"))


def _data(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "nothing"
    random = ", random numbers" if record["random"] else ""
    return f"{record['samples']} samples of {record['source']}{random}"


def _tensors(page: Page, title: str, tensors: Sequence[Mapping[str, Any]]) -> None:
    page.heading(title)
    columns = (Column("", fixed=True, style="code"), Column("", fixed=True), Column(""))
    page.table(columns, [(t["name"], t["dtype"], shape_text(t["shape"])) for t in tensors])


def _operators(page: Page, operators: Mapping[str, int], total: int) -> None:
    page.heading(f"Operators: {total}")
    frequent = sorted(operators.items(), key=lambda item: (-item[1], item[0]))
    columns = (Column("", number=True), Column("", fixed=True))
    page.table(columns, [(str(count), name) for name, count in frequent[:LISTED]])
    if len(frequent) > LISTED:
        page.line(Cell(f"and {len(frequent) - LISTED} more kinds", "dim"))


def shape_text(shape: Sequence[int | str | None]) -> str:
    """`[N, 3, 224, ?]`, an unknown dimension being a question mark."""
    return f"[{', '.join('?' if dim is None else str(dim) for dim in shape)}]"


def count_text(count: float) -> str:
    """A large count in decimal units: `812`, `4.65 million`."""
    for limit, unit in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if count >= limit:
            return f"{count / limit:.3g} {unit}"
    return f"{count:,}"


def _macs(count: int | None) -> str | Cell:
    if count is None:
        return Cell("not known, since not all shapes are", "dim")
    return f"{count_text(count)}, per sample"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
