"""Which precision the layers compute in, what stayed in float, and why."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from edgecompile.artifacts.reasons import kind, merged
from edgecompile.artifacts.report import Report
from edgecompile.artifacts.report_html import figures
from edgecompile.artifacts.report_html.markup import Child, Html, breakable, el, join
from edgecompile.artifacts.report_html.tables import Column, fold, stack, table
from edgecompile.artifacts.types import Coverage, Fallback

ORDER = ("int4", "int8", "int16", "fp8", "fp16", "bf16", "fp32")
FEW = 12
"""Up to so many layers are listed in the open; more of them fold away, by reason."""
ALIKE = 4
"""As many layers with one reason fold away too."""


def coverage(report: Report) -> Html:
    """The split by precision, and the layers that stayed in float with their reason."""
    found = report.coverage
    if found is None:
        text = "The artifact was not compiled here, so its runtime has given no account of it."
        return el("section", el("h2", "Precision"), el("p", text))
    names = [*(n for n in ORDER if n in found.precision), *_others(found.precision)]
    parts = [(name, found.precision[name]) for name in names if found.precision[name]]
    label = ", ".join(f"{name}: {figures.count(n, 'layer')}" for name, n in parts)
    legend = join(
        el("li", el("span", class_=f"swatch {name}"), f"{name} ", el("b", f"{n:,}"))
        for name, n in parts
    )
    return el(
        "section",
        el("h2", "Precision"),
        el("p", _where(found, compiled=any(a.toolchain for a in report.artifacts))),
        stack(parts, label) if parts else None,
        el("ul", legend, class_="legend"),
        el("h3", f"What {_elsewhere(found)}, and why"),
        *_reasons(found),
    )


def _where(found: Coverage, *, compiled: bool) -> str:
    if not found.unit:
        return "Layers of the compiled artifact, as the runtime itself reports them."
    text = f"{found.accelerated} of {found.nodes} nodes run on the {found.unit.upper()}"
    if isinstance(found.accelerated_macs, float):
        text += f", with {100 * found.accelerated_macs:.2f} % of the multiply-accumulates"
    by = "as the compiler itself reports it" if compiled else "by the runtime's operator table"
    return f"{text}, {by}."


def _elsewhere(found: Coverage) -> str:
    return "runs on the CPU" if found.unit else "stayed in float"


def _others(precision: Mapping[str, int]) -> list[str]:
    return sorted(precision.keys() - set(ORDER))


def _reasons(found: Coverage) -> list[Html]:
    fallback, title = found.fallback, f"What {_elsewhere(found)}"
    if not fallback:
        none = "Nothing." if found.unit else "Nothing that the target could run in integers."
        return [el("p", none)]
    ordered = sorted(fallback, key=lambda item: (kind(item.reason), item.node, item.op))
    alike = itertools.groupby(ordered, lambda item: kind(item.reason))
    groups = [list(items) for _, items in alike]
    if len(ordered) <= FEW and max(map(len, groups)) < ALIKE:
        rows: list[list[Child]] = [[_node(item), item.op, item.reason] for item in ordered]
        columns = (Column(title="Node"), Column(title="Layer"), Column(title="Why", wide=True))
        return [table(title, columns, rows)]
    return [_group(items, title) for items in sorted(groups, key=len, reverse=True)]


def _group(items: Sequence[Fallback], title: str) -> Html:
    reason = merged(item.reason for item in items)
    columns = [Column(title="Node", wide=True), Column(title="Layer")]
    rows: list[list[Child]] = [[_node(item), item.op] for item in items]
    if any(item.reason != reason for item in items):
        columns.append(Column(title="Why", wide=True))
        rows = [[*row, item.reason] for row, item in zip(rows, items, strict=True)]
    head = join([el("b", figures.count(len(items), "layer")), f": {reason}"])
    return fold(head, table(f"{title}: {reason}", columns, rows))


def _node(item: Fallback) -> Html:
    return el("code", breakable(item.node))
