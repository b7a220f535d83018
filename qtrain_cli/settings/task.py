"""What a user says of the task: which, which labels count how much, and which not at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from qtrain_cli.errors import suggestion
from qtrain_cli.settings.option import Option, Otherwise
from qtrain_cli.settings.parsing import parse_weights, require
from qtrain_cli.tasks import FAMILIES

BALANCED = "balanced"


@dataclass(frozen=True)
class TaskSettings:
    """`family` is empty where data and outputs are to tell it.

    `class_weights` are numbers by class, or `BALANCED` alone: n / (classes * rows of the class) in train.
    Targets that are `ignore_index` count nowhere.
    """

    family: Annotated[
        str, Option("--task", "{choices}.", choices=FAMILIES), Otherwise("what data and outputs tell")
    ] = ""
    class_weights: Annotated[
        tuple[float | str, ...],
        Option(
            "--class-weights", "In training: a number for each class, e.g. 1,5,5, or balanced.",
            read=parse_weights, kind="row",
        ),
        Otherwise("all alike"),
    ] = ()  # fmt: skip
    ignore_index: Annotated[
        int, Option("--ignore-index", "Of labels of tokens or pixels: the one that does not count.")
    ] = -100

    @property
    def said(self) -> bool:
        """Whether anything is another than by default."""
        return self != TaskSettings()

    def __post_init__(self) -> None:
        require(
            not self.family or self.family in FAMILIES,
            f"--task is '{self.family}'",
            suggestion(self.family, FAMILIES),
        )
        if self.class_weights == (BALANCED,):
            return
        words = [weight for weight in self.class_weights if isinstance(weight, str)]
        advice = "give a weight of 0 or more for each class, or balanced"
        require(not words, f"--class-weights has '{(*words, '')[0]}' among several", advice)
        numbers = tuple(map(float, self.class_weights))
        require(
            all(0 <= weight < math.inf for weight in numbers) and (not numbers or any(numbers)),
            "--class-weights has a number below 0, or none above it",
            advice,
        )
        object.__setattr__(self, "class_weights", numbers)  # 1 is 1.0: the same run
