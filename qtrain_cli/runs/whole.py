"""How far a run of many trainings is: each is shown as a part of all that this call still has to do.

A part weighs its epochs. What is found finished, or turns out not to be needed, weighs nothing: time left
follows from what was trained here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from qtrain_cli.training.loop import Progress, Show


def silent(progress: Progress) -> None:
    """Shows nothing."""


@dataclass
class WholeRun:
    """`left` is the weight of what is to come, the present part among it, `done` that of what was trained."""

    show: Show = silent
    left: float = 0.0
    done: float = 0.0

    def of_part(self, stage: str, weight: float) -> Show:
        """What shows one training, under this name, as its part of the whole."""

        def shown(progress: Progress) -> None:
            part = progress.step / progress.steps if progress.share is None else progress.share
            done = self.done + weight * part
            share = min(1.0, done / max(self.done + self.left, 1e-9))
            name = ", ".join(filter(None, (stage, progress.stage)))
            self.show(replace(progress, stage=name, share=share))

        return shown

    def finish(self, weight: float, trained: bool = True) -> None:
        """A part is over."""
        self.left = max(0.0, self.left - weight)
        self.done += weight if trained else 0.0
