"""Courses: figures along an axis, one line a name, with bars for their intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtrain_cli.report.page.axes import Canvas, Scaled, brief, count_text, scaled
from qtrain_cli.report.page.parts import DrawingOf, KeyOf
from qtrain_cli.report.page.svg import box, dot, drawing, label, line, path
from qtrain_cli.results.history import EpochLine

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: Points of one line: more are no finer to the eye, and make a heavy page.
MOST_POINTS = 400
#: Colours of the style sheet that lines take, one after the other; ours has one of its own.
_COLOURS = 11


@dataclass(frozen=True)
class PointAt:
    """A figure at a place, with its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Trace:
    """One line: its class in the style sheet, its name, its points in order."""

    kind: str
    name: str
    points: tuple[PointAt, ...]


def coloured(place: int) -> str:
    """The class of a line that is not ours, by its place among them."""
    return f"s{1 + place % _COLOURS}"


def key_of(courses: Sequence[Trace]) -> KeyOf:
    """What their colours mean."""
    return KeyOf(tuple((course.kind, course.name) for course in courses))


def epochs_drawn(
    lines: Sequence[EpochLine],
    names: str,
    of: Callable[[EpochLine], float | None],
    show: Callable[[float], str] = brief,
    powers: bool | None = None,
) -> DrawingOf | None:
    """One figure by epochs: where rounding began is shaded, the best epoch marked; None without figures."""
    points = [(line.epoch, value) for line in lines if (value := of(line)) is not None]
    if len(points) < 2:
        return None
    plot = Canvas(Scaled(points[0][0], points[-1][0]), scaled((value for _, value in points), powers))
    parts = [*_rounding(plot, lines, points), *plot.frame("epoch", names, (count_text, show))]
    parts.append(path((plot.at(x, y) for x, y in thinned(points)), "course own"))
    best = next((line for line in reversed(lines) if line.best), None)
    value = of(best) if best else None
    said = f"{names} by epoch: {show(points[0][1])} at first, {show(points[-1][1])} at the end"
    if best and value is not None:
        parts.append(dot(*plot.at(best.epoch, value), 4, "best", f"epoch {best.epoch}: {show(value)}"))
        said += f"; the best epoch by validation is {best.epoch}, with {show(value)}"
    return DrawingOf(drawing(parts, said, plot.height))


def _rounding(
    plot: Canvas, lines: Sequence[EpochLine], points: Sequence[tuple[float, float]]
) -> list[Element]:
    """From the first epoch on whose numbers were those of the file; its word where the line is not."""
    first = next((line.epoch for line in lines if line.rounding), None)
    if first is None:
        return []
    left, top = plot.at(first - 0.5, plot.y.high)  # where that epoch began
    right, floor = plot.at(plot.x.high, plot.y.low)
    shares = [plot.y.share(y) for x, y in points if x >= first]
    high = sum(shares) > len(shares) / 2
    return [box(left, top, max(1.0, right - left), floor - top, "rounding"),
            label(right - 3, floor - 5 if high else top + 11, "rounded", "note", "end")]  # fmt: skip


def thinned(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most so many of them, evenly, and the last one always."""
    every = max(1, -(-len(points) // most))
    return [*points[:-1:every], *points[-1:]]


@dataclass(frozen=True)
class Compared:
    """Several courses in one frame: what stands below and beside it, how figures are written, a level to
    compare with (`mark` and its name), how deep the frame reaches, whether its height goes by powers."""

    courses: tuple[Trace, ...]
    below: str
    beside: str
    shows: tuple[Callable[[float], str], Callable[[float], str]]
    mark: tuple[str, float] | None = None
    powers: bool = True
    reach: tuple[float, float] | None = None
    tall: bool | None = None


def compared_drawn(given: Compared, said: str) -> DrawingOf | None:
    """The courses with their intervals; None where there is no point."""
    points = [point for course in given.courses for point in course.points]
    if not points:
        return None
    ends = [end for point in points for end in (point.y, point.low, point.high) if end is not None]
    ends += [given.mark[1]] if given.mark else []
    y = scaled(ends, given.tall) if given.reach is None else Scaled(*given.reach)
    plot = Canvas(scaled((point.x for point in points), given.powers), y, height=280)
    parts = [*_mark(plot, given.mark), *plot.frame(given.below, given.beside, given.shows)]
    for place, course in enumerate(given.courses):
        parts += _course(plot, course, 1.6 * (place - len(given.courses) / 2), given.shows)
    return DrawingOf(drawing(parts, said, plot.height))


def _mark(plot: Canvas, mark: tuple[str, float] | None) -> list[Element]:
    if mark is None or not plot.y.low <= mark[1] <= plot.y.high:
        return []
    left, y = plot.at(plot.x.low, mark[1])
    right, _ = plot.at(plot.x.high, mark[1])
    return [line(left, y, right, y, "mark"), label(left + 3, y - 4, mark[0], "note")]


def _course(
    plot: Canvas, course: Trace, aside: float, shows: Sequence[Callable[[float], str]]
) -> list[Element]:
    """A line, moved aside a little so that intervals can be told apart."""
    parts, places = [], []
    for point in course.points:
        x, y = plot.at(point.x, point.y)
        places.append((x + aside, y))
        if point.low is not None and point.high is not None:
            (_, low), (_, high) = plot.at(point.x, point.low), plot.at(point.x, point.high)
            parts.append(line(x + aside, low, x + aside, high, f"whisker {course.kind}"))
        at = f"{course.name}, {shows[0](point.x) or brief(point.x)}: {shows[1](point.y)}"
        parts.append(dot(x + aside, y, 3, f"point {course.kind}", at))
    return [path(places, f"course {course.kind}"), *parts]
