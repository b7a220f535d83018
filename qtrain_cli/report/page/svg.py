"""Drawings as elements of SVG: names and numbers in, text out, escaped by the XML writer of the standard
library.

Coordinates are pixels of a drawing that is `WIDE` pixels wide; the page scales it to its column.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qtrain_cli.report.text import clipped

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

WIDE = 380.0


def element(tag: str, *children: Element, text: str = "", **attributes: Any) -> Element:
    """One element; `kind` is its class, ``_`` in a name is ``-``; numbers are rounded to a hundredth."""
    from xml.etree.ElementTree import Element

    named = {
        ("class" if name == "kind" else name.replace("_", "-")): value for name, value in attributes.items()
    }
    made = Element(tag, {name: _written(value) for name, value in named.items() if value != ""})
    made.extend(children)
    made.text = clipped(text) or None
    return made


def label(x: float, y: float, text: str, kind: str = "", anchor: str = "") -> Element:
    """Words at a place; `anchor` is start, middle or end."""
    return element("text", text=text, x=x, y=y, kind=kind, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Element:
    """From one place to another."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, kind=kind)


def path(points: Iterable[tuple[float, float]], kind: str) -> Element:
    """A line through places, in order."""
    steps = " ".join(f"{_written(x)},{_written(y)}" for x, y in points)
    return element("polyline", points=steps, kind=kind)


def box(x: float, y: float, width: float, height: float, kind: str, round_by: float = 0) -> Element:
    """A rectangle."""
    return element("rect", x=x, y=y, width=width, height=height, kind=kind, rx=round_by or "")


def dot(x: float, y: float, radius: float, kind: str, said: str = "") -> Element:
    """A circle; `said` is shown by a pointer that rests on it."""
    return element(
        "circle", *([element("title", text=said)] if said else []), cx=x, cy=y, r=radius, kind=kind
    )


def drawing(parts: Iterable[Element], said: str, height: float, width: float = WIDE) -> str:
    """The whole picture; `said` is what it shows, for who cannot see it."""
    from xml.etree import ElementTree as Xml

    root = element(
        "svg", element("title", text=said), *parts, role="img", aria_label=clipped(said),
        viewBox=f"0 0 {_written(width)} {_written(height)}", width=width, height=height,
    )  # fmt: skip
    return Xml.tostring(root, encoding="unicode")


def _written(value: Any) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
