"""Tables that turn into cards on a phone, and bars that say nothing that the text does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecompile.artifacts.report_html.markup import Child, Html, el, join


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column; figures are set flush right in digits of one width."""

    title: str
    figure: bool = False
    wide: bool = False


def table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Child]]) -> Html:
    """A table with row headers in its first column. `caption` is for screen readers."""
    head = join(el("th", c.title, scope="col", class_=_class(c)) for c in columns)
    body = join(el("tr", *_cells(columns, row)) for row in rows)
    return el(
        "table",
        el("caption", caption),
        el("thead", el("tr", head)),
        el("tbody", body),
    )


def bar(share: float, *, faint: bool = False) -> Html:
    """A bar of `share` (0 to 1) of its cell; not for screen readers, as the figure is beside it."""
    width = max(min(share, 1.0), 0.0) * 100
    rect = el("rect", width=f"{max(width, 0.5):.2f}%", height="100%", rx="2")
    return el("svg", rect, class_="bar faint" if faint else "bar", aria_hidden="true")


def stack(parts: Sequence[tuple[str, int]], label: str) -> Html:
    """One bar split in proportion; each part has the CSS class of its name."""
    total = sum(n for _, n in parts) or 1
    rects, offset = [], 0.0
    for name, n in parts:
        width = 100 * n / total
        rects.append(
            el("rect", x=f"{offset:.3f}%", width=f"{width:.3f}%", height="100%", class_=name)
        )
        offset += width
    return el("svg", *rects, class_="stack", role="img", aria_label=label)


def chip(label: str, kind: str) -> Html:
    """A short word in a coloured pill; the word alone carries the meaning."""
    return el("span", label, class_=f"chip {kind}")


def fold(summary: Child, *content: Child) -> Html:
    """Something that opens on demand, without script."""
    return el("details", el("summary", summary), *content)


def facts(pairs: Sequence[tuple[str, Child]]) -> Html:
    """A list of names and values."""
    items = join(el("div", el("dt", name), el("dd", value)) for name, value in pairs)
    return el("dl", items)


def _cells(columns: Sequence[Column], row: Sequence[Child]) -> list[Html]:
    first, *rest = zip(columns, row, strict=True)
    cells = [el("th", first[1], scope="row")]
    for column, value in rest:
        cells.append(el("td", el("div", value), data_label=column.title, class_=_class(column)))
    return cells


def _class(column: Column) -> str | None:
    names = [n for n, on in (("figure", column.figure), ("wide", column.wide)) if on]
    return " ".join(names) or None
