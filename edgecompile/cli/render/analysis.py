"""What `analyze` shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgecompile.cli.page import Cell, Column, Page

Layer = Mapping[str, Any]

BAD_SHARE = 0.1
"""Layers with this share of the noise stand out."""


def render_analysis(page: Page, found: Mapping[str, Any], top: int) -> None:
    """The document of `driver.analyze` for people: the `top` layers that cost most."""
    layers: Sequence[Layer] = found["layers"]
    page.heading(f"{found['model']} for {found['target']}: {len(layers)} quantized layers")
    page.pairs({"recipe": f"{found['recipe']}, up to {found['steps'][-1]}", **_outputs(found)})
    page.heading("What each layer costs")
    columns = (
        Column("layer", fixed=True, style="code"),
        Column("operator", fixed=True),
        Column("alone", number=True),
        Column("noise", number=True),
        Column("local", number=True),
        Column("so far", number=True),
        Column("MACs", number=True),
    )
    shown = layers[:top]
    page.table(columns, [_row(layer) for layer in shown])
    if len(layers) > len(shown):
        page.line(Cell(f"and {len(layers) - len(shown)} that cost less", "dim"))
    page.line(
        Cell(
            "SQNR. alone: of the outputs with only this layer quantized; noise: its share of the "
            "sum; local: of the layer's own output; so far: with all before it quantized too; "
            "~: an estimate",
            "dim",
        )
    )
    page.heading("Ranges, and why")
    for layer in shown:
        _explain(page, layer)


def _outputs(found: Mapping[str, Any]) -> dict[str, str]:
    """SQNR and cosine of every output with all layers quantized."""
    unit = f"{found['samples']} held-out samples, exact arithmetic"
    return {
        name: f"{_db(figures['sqnr_db'])}, cosine {figures['cosine']:.6g}, on {unit}"
        for name, figures in found["outputs"].items()
    }


def _row(layer: Layer) -> tuple[str | Cell, ...]:
    bad = layer["noise_share"] >= BAD_SHARE
    return (
        layer["layer"],
        layer["operator"],
        Cell(f"{_guess(layer)}{_db(layer['alone_db'])}", "bad" if bad else ""),
        _percent(layer["noise_share"]),
        _db(layer["local_db"]),
        _db(layer["accumulated_db"]),
        _percent(layer["macs_share"]),
    )


def _explain(page: Page, layer: Layer) -> None:
    page.line(Cell(layer["layer"], "code"))
    ranges = [
        f"{name} {layer[name]['min']:.4g} to {layer[name]['max']:.4g}"
        for name in ("input", "weights")
        if layer[name] is not None
    ]
    page.item("from", ", ".join(ranges) or "not known")
    page.item("bits", _widths(layer))
    for reason in layer["why"]:
        page.item("why", reason)
    if layer["helps"]:
        page.item("try", Cell(", ".join(layer["helps"]), "good"))


def _guess(layer: Layer) -> str:
    """A mark for what was not measured."""
    return "" if layer["measured"] else "~"


def _widths(layer: Layer) -> str:
    """`int8 (40.1 dB), int16 (62.3 dB), not int4 weights (12.0 dB)`."""
    order = sorted(layer["widths"], key=lambda name: name not in layer["takes"])
    return ", ".join(
        f"{'' if name in layer['takes'] else 'not '}{name.replace('_', ' ')} "
        f"({_db(layer['widths'][name])})"
        for name in order
    )


def _db(value: float) -> str:
    if math.isinf(value):
        return "exact" if value > 0 else "lost"
    return f"{value:.1f} dB"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.1f} %"
