"""What a long command would do, how long it would take and how much memory, ``qtrain.dry-run/1``.

Nothing is guessed from a formula: some steps of each kind of training were taken, and thrown away. `seconds`
counts trainings and their validations; reading, measuring and writing come on top. `memory_bytes` is the most
that this process had, with model, data and these steps in it. Standard library only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

DRY_RUN_SCHEMA = "qtrain.dry-run/1"


@dataclass(frozen=True)
class TimedPart:
    """One kind of training: how many there would be, steps of each, seconds of a step and of a validation."""

    name: str
    trainings: int
    epochs: int
    steps: int
    seconds_per_step: float
    seconds_per_validation: float
    artifact_bytes: int | None = None

    @property
    def seconds(self) -> float:
        """Of all of them."""
        each = self.steps * self.seconds_per_step + self.epochs * self.seconds_per_validation
        return self.trainings * each


@dataclass(frozen=True)
class Rehearsal:
    """A command that was not run. `writes` are the files that it would leave."""

    command: str
    device: str
    parts: tuple[TimedPart, ...]
    memory_bytes: int
    device_memory_bytes: int | None = None
    writes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Of all trainings."""
        return sum(part.seconds for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """The one document of ``--dry-run --json``."""
        rows = [{**asdict(part), "seconds": part.seconds} for part in self.parts]
        values = {name: value for name, value in asdict(self).items() if name != "parts"}
        values |= {"writes": list(self.writes), "notes": list(self.notes)}
        return {"schema": DRY_RUN_SCHEMA, **values, "seconds": self.seconds, "parts": rows}
