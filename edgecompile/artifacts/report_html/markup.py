"""HTML as nested calls. Text is escaped unless it is `Html` already, so nothing can slip in."""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = frozenset({"meta"})


class Html(str):
    """Text that is safe to put into a page as it is."""

    __slots__ = ()


Child = str | Html | None


def el(tag: str, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """One element. A trailing `_` is dropped from attribute names, other `_` become `-`.

    An attribute that is True stands alone; None and False leave it out.
    """
    parts = [tag]
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(name)
        elif value is not None and value is not False:
            parts.append(f'{name}="{html.escape(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening if tag in VOID else f"{opening}{join(children)}</{tag}>")


def join(children: Iterable[Child], separator: str = "") -> Html:
    """Children one after the other, text escaped, None left out."""
    return Html(separator.join(text(child) for child in children if child is not None))


def text(value: str) -> Html:
    """`value`, escaped unless it is `Html`. Control characters that HTML forbids become U+FFFD."""
    if isinstance(value, Html):
        return value
    clean = "".join(c if c >= " " or c in "\t\n" else "\ufffd" for c in value)
    return Html(html.escape(clean))


def breakable(value: str) -> Html:
    """A long name that may wrap after `/`, `_` and `.`."""
    pieces = text(value)
    for mark in "/_.":
        pieces = Html(pieces.replace(mark, f"{mark}<wbr>"))
    return pieces
