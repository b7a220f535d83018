"""Classification: one score for each class, the highest one wins.

    hard loss   CE(y, s)                                              cross-entropy
    soft loss   T**2 KL(softmax(t / T) || softmax(s / T))             Hinton et al. 2015
    score       1 where the highest of the row's scores is the right class, else 0; the mean is the accuracy
    closeness   1 where student and teacher name the same class

s: student outputs (N, classes), t: teacher outputs, y: class numbers (N,), T: temperature.

Scores are known up to a constant a row. Where a forward ends in a softmax the outputs are probabilities p,
and s = log p; where it ends in a sigmoid for each class, s = log(p / (1 - p)). Log-probabilities are scores
already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtrain_cli.errors import BadInput
from qtrain_cli.tasks.counting import of_rows
from qtrain_cli.tasks.intervals import wilson_interval
from qtrain_cli.tasks.task import PERCENT, Task

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn


#: Probabilities below it count as it: float32's softmax gives zeros, and their logarithm has no end.
TINY = 1e-12


def _takes(targets: np.ndarray) -> bool:
    return targets.dtype.kind == "i" and targets.ndim == 1


def _check(outputs: Tensor, targets: Tensor, classes: int | None) -> None:
    if outputs.dim() != 2 or outputs.shape[1] < (classes or 1):
        raise BadInput(
            f"the model's outputs have the shape {list(outputs.shape[1:])}; the data has {classes} classes",
            "the model must return one score for each class",
        )


def _hard_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    from torch.nn.functional import cross_entropy

    return cross_entropy(outputs, targets)


def _weighted(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    from torch.nn.functional import cross_entropy

    further = outputs.new_ones(outputs.shape[1])  # of classes that the data have not
    further[: len(weights)] = weights
    return cross_entropy(outputs, targets, further)


def weight_of(targets: Tensor, weights: Tensor) -> float:
    """How much class numbers weigh together: what PyTorch's weighted mean is divided by."""
    return float(weights[targets.long()].double().sum())


def _soft_loss(outputs: Tensor, teacher: Tensor, temperature: float, targets: Tensor) -> Tensor:
    from torch.nn.functional import kl_div

    student, taught = ((found / temperature).log_softmax(1) for found in (outputs, teacher))
    return temperature**2 * kl_div(student, taught, reduction="batchmean", log_target=True)


def _counts(outputs: Tensor, targets: Tensor) -> Tensor:
    return of_rows(outputs.argmax(1) == targets)


def _closeness_counts(outputs: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
    return _counts(outputs, teacher.argmax(1))


def _answers(outputs: Tensor) -> Tensor:
    return outputs.argmax(1)


def _blind(outputs: Tensor, targets: Tensor) -> float:
    return agreement_by_chance(outputs.argmax(1), targets)


def agreement_by_chance(answers: Tensor, targets: Tensor) -> float:
    """How often class numbers (N,) agree if as many of each were dealt out at random (Cohen 1960)."""
    most = int(max(answers.max(), targets.max())) + 1
    shares = (found.bincount(minlength=most).double() / len(found) for found in (answers, targets))
    one, other = shares
    return float(one @ other)


def commonest(targets: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Scores (C,) of how often each class is in the targets, whatever their shape."""
    counts = targets.reshape(-1).bincount(minlength=shape[0]).float()
    return (counts[: shape[0]] + 1).log()


def logarithm(probabilities: Tensor) -> Tensor:
    """What a softmax made these of, up to a constant."""
    return probabilities.clamp_min(TINY).log()


def log_odds(probabilities: Tensor) -> Tensor:
    """What a sigmoid made these of."""
    return logarithm(probabilities) - logarithm(1 - probabilities)


def softmax() -> nn.Module:
    """The layer of that name, over classes."""
    from torch import nn

    return nn.Softmax(1)


def sigmoid() -> nn.Module:
    """The layer of that name."""
    from torch import nn

    return nn.Sigmoid()


CLASSIFICATION = Task(
    name="classification",
    family="classification",
    pipelines={
        "picture": "image-classification",
        "text": "text-classification",
        "table": "tabular-classification",
    },
    word="accuracy",
    closeness="agreement",
    closeness_label="Agreement with the teacher",
    higher_is_better=True,
    most=1.0,
    scale=PERCENT,
    gate="min-accuracy",
    takes=_takes,
    check=_check,
    hard_loss=_hard_loss,
    soft_loss=_soft_loss,
    scaled=True,
    weighted=_weighted,
    weight_of=weight_of,
    counts=_counts,
    closeness_counts=_closeness_counts,
    derived=wilson_interval,
    told_by_count=True,
    answers=_answers,
    blind=_blind,
    trivial=commonest,
    trivial_said="the commonest class",
    said="outputs are scores of classes; cross-entropy",
)

PROBABILITIES = CLASSIFICATION.of_outputs(
    "class-probabilities", logarithm, softmax,
    "outputs are probabilities already (a softmax in the forward); cross-entropy on their logarithms",
)  # fmt: skip

SIGMOIDS = CLASSIFICATION.of_outputs(
    "class-sigmoids", log_odds, sigmoid,
    "outputs are a probability for each class (a sigmoid in the forward); cross-entropy on their log-odds",
)  # fmt: skip
