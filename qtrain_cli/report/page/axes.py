"""Scales, ticks and the frame around a drawing.

A scale is linear or by powers of ten. Ticks stand at 1, 2 or 5 times a power of ten; of several decades at
each power.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtrain_cli.report.page.svg import WIDE, label, line
from qtrain_cli.tasks import Task

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_STEPS = (1, 2, 5, 10)
#: A linear scale whose figures differ by more than this factor would hide the small ones.
_FAR = 30.0
#: The furthest end of a scale, and how close to each other its ends may be, as a share of them.
_MOST, _CLOSE = 1e300, 1e-9


@dataclass(frozen=True)
class Scaled:
    """A range of figures; `powers`: each factor of ten takes the same room.

    Ends that are too far out to reckon with, or too close to each other, are moved.
    """

    low: float
    high: float
    powers: bool = False

    def __post_init__(self) -> None:
        low = min(max(self.low, 1 / _MOST if self.powers else -_MOST), _MOST)
        least = _CLOSE * max(abs(low), abs(self.high)) or 1.0
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", max(min(self.high, _MOST), low + min(least, _CLOSE * _MOST)))

    def share(self, value: float) -> float:
        """Where a figure lies: 0 at `low`, 1 at `high`."""
        low, high, at = map(self._bent, (self.low, self.high, value))
        return (at - low) / (high - low)

    def ticks(self, most: int = 5) -> list[float]:
        """Round figures in the range, in order."""
        if self.powers:
            return _tens(self.low, self.high, most)
        step = _step((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _bent(self, value: float) -> float:
        return math.log10(max(value, self.low)) if self.powers else value


def scaled(figures: Iterable[float], powers: bool | None = None) -> Scaled:
    """The scale that shows these figures with a little room; `powers` None: where they lie far apart."""
    found = [figure for figure in figures if math.isfinite(figure)] or [0.0, 1.0]
    low, high = min(found), max(found)
    bent = low > 0 and high / low > _FAR if powers is None else powers and low > 0
    if bent:
        return Scaled(low / 1.15, high * 1.15, True)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return Scaled(low - room, high + room)


@dataclass(frozen=True)
class Canvas:
    """A frame with its two scales, in a drawing of `WIDE` by `height`."""

    x: Scaled
    y: Scaled
    height: float = 230.0
    left: float = 56.0
    right: float = 12.0
    top: float = 14.0
    bottom: float = 38.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a pair of figures lies; what is beyond the frame lies on its edge."""
        across, up = (min(1.0, max(0.0, share)) for share in (self.x.share(x), self.y.share(y)))
        return (
            self.left + across * (WIDE - self.left - self.right),
            self.height - self.bottom - up * (self.height - self.top - self.bottom),
        )

    def frame(self, below: str, beside: str, shows: Sequence[Callable[[float], str]]) -> list[Element]:
        """Lines, figures and words around it; `shows` writes the figures of x and of y."""
        parts = []
        for value in self.y.ticks(6):
            _, y = self.at(self.x.low, value)
            parts += [line(self.left, y, WIDE - self.right, y, "grid"),
                      label(self.left - 6, y + 3.5, shows[1](value), "tick", "end")]  # fmt: skip
        floor = self.height - self.bottom
        for value in self.x.ticks():
            x, _ = self.at(value, self.y.low)
            parts += [line(x, floor, x, floor + 4, "edge"),
                      label(x, floor + 15, shows[0](value), "tick", "middle")]  # fmt: skip
        middle = (self.left + WIDE - self.right) / 2
        return [
            *parts,
            line(self.left, floor, WIDE - self.right, floor, "edge"),
            label(middle, self.height - 5, below, "name", "middle"),
            label(4, 9, beside, "name", "start"),
        ]


def brief(value: float) -> str:
    """A figure beside a tick."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def count_text(value: float) -> str:
    """A count beside a tick, ``20k`` or ``1M`` where it is long; nothing between two counts."""
    if not float(value).is_integer():
        return ""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= 10_000 and value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:,.0f}"


def ticks_of(task: Task) -> Callable[[float], str]:
    """A task's figures beside ticks: as people see them, no longer than they need."""
    return lambda value: brief(task.scale.factor * value)


def _step(least: float) -> float:
    """1, 2 or 5 times a power of ten, no less than this."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))


def _tens(low: float, high: float, most: int) -> list[float]:
    """Powers of ten, or where they are fewer than three, what lies between them too."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tens = [10.0**power for power in powers if low <= 10.0**power <= high]
    if len(tens) >= 3:
        return tens[:: -(-len(tens) // most)]
    fine = [step * 10.0**power for power in powers for step in _STEPS[:3]]
    return [value for value in fine if low <= value <= high] or [low, high]
