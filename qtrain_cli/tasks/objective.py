"""What a model's outputs are worth: the training loss, and the measurement of a whole split.

    classification   (1 - a) CE(y, s)  +  a T**2 KL(softmax(t / T) || softmax(s / T))
    regression       (1 - a) MSE(y, s) +  a MSE(t, s)

s: student outputs, t: teacher outputs, y: targets, a: `distill`, T: `temperature` (Hinton et al. 2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from qtrain_cli.errors import BadInput

CLASSIFICATION, REGRESSION = "classification", "regression"


@dataclass(frozen=True)
class Objective:
    """A task's loss and score: `task`, the weight of the teacher, and the temperature of its outputs."""

    task: str
    distill: float
    temperature: float

    @property
    def word(self) -> str:
        """What its scores are called."""
        return "error" if self.task == REGRESSION else "accuracy"

    def loss(self, outputs: Tensor, targets: Tensor, teacher: Tensor) -> Tensor:
        """The training loss of one batch, a scalar."""
        loss = (1 - self.distill) * self.hard_loss(outputs, targets)
        if self.distill == 0:
            return loss
        if self.task == REGRESSION:
            return loss + self.distill * F.mse_loss(outputs, teacher)
        t = self.temperature
        soft = F.kl_div(
            (outputs / t).log_softmax(1), (teacher / t).log_softmax(1), reduction="batchmean", log_target=True
        )
        return loss + self.distill * t**2 * soft

    def hard_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy or mean squared error against the labels, a scalar."""
        if self.task == REGRESSION:
            return F.mse_loss(outputs, targets.view_as(outputs))
        return F.cross_entropy(outputs, targets)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Accuracy (share of right classes), or mean squared error."""
        if self.task == REGRESSION:
            return float(F.mse_loss(outputs, targets.view_as(outputs)))
        return float((outputs.argmax(1) == targets).double().mean())

    def closeness(self, outputs: Tensor, teacher: Tensor) -> float:
        """Share of rows on which student and teacher agree, or their mean squared difference."""
        if self.task == REGRESSION:
            return float(F.mse_loss(outputs, teacher))
        return float((outputs.argmax(1) == teacher.argmax(1)).double().mean())

    def improves(self, score: float, best: float | None) -> bool:
        """Whether a finite score beats the best so far, if there is one."""
        return math.isfinite(score) and (best is None or self.better(score, best))

    def better(self, score: float, than: float) -> bool:
        """Whether one score beats another."""
        return score < than if self.task == REGRESSION else score > than


def check_outputs(task: str, outputs: Tensor, targets: Tensor, classes: int | None) -> None:
    """Refuses a model whose outputs cannot be compared with the targets. Raises `BadInput`."""
    shape = list(outputs.shape[1:])
    if not bool(outputs.isfinite().all()):
        raise BadInput("the model's outputs are not finite on this data", "check --mean and --std")
    if task == REGRESSION:
        if outputs[0].numel() != targets[0].numel():
            raise BadInput(
                f"the model's outputs have the shape {shape}, the targets {list(targets.shape[1:])}"
            )
    elif outputs.dim() != 2 or outputs.shape[1] < (classes or 1):
        raise BadInput(
            f"the model's outputs have the shape {shape}; the data has {classes} classes",
            "the model must return one score for each class",
        )
