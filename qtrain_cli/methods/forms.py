"""How a file holds the numbers of a method, group by group: plain data, standard library only.

A group's numbers are stored as they are, in a dtype, or coded: whole steps of one grid, entropy-coded, beside
the step itself. Names, shapes and forms of all groups follow from a method's plan and the layout, so that a
reader can check sizes before it allocates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: What a method is at one size, as a file holds it: plain JSON.
Plan = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """One group: its shape, the dtype (F16 or F32) of its numbers or, coded, of its step.

    `bits` is how many bits a code takes on the average at most, which readers hold a message against; 0: no
    bound.
    """

    shape: tuple[int, ...]
    dtype: str = "F16"
    coded: bool = True
    bits: int = 0

    @property
    def count(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)


#: Groups by name, in the order of the file.
Forms = dict[str, Form]


def count_of(forms: Mapping[str, Form]) -> int:
    """How many numbers groups of these forms have together."""
    return sum(form.count for form in forms.values())
