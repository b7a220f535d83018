"""Yes or no: one score a label, the answer is yes above 0.

    hard loss   BCE(y, sigmoid(s))
    soft loss   T**2 KL(Bernoulli(sigmoid(t / T)) || Bernoulli(sigmoid(s / T)))
    score       the share of a row's labels that are answered right; of one label 1 or 0, the mean is the
                accuracy
    closeness   the share of labels that student and teacher answer alike

s: student outputs (N,) or (N, k), t: teacher outputs, y: 0 or 1 for each label, T: temperature. Two classes
with one score are one label. Where a forward ends in a sigmoid the outputs are probabilities p and s = log(p
/ (1 - p)).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtrain_cli.errors import BadInput
from qtrain_cli.tasks.classification import CLASSIFICATION, agreement_by_chance, log_odds, sigmoid, weight_of
from qtrain_cli.tasks.counting import of_rows
from qtrain_cli.tasks.metrics import F1, F1_MACRO, F1_MICRO, MAP

if TYPE_CHECKING:
    from torch import Tensor


def _check(outputs: Tensor, targets: Tensor, classes: int | None) -> None:
    if outputs[0].numel() != targets[0].numel():
        raise BadInput(
            f"the model gives {outputs[0].numel()} outputs for {targets[0].numel()} labels of 0 or 1",
            "give a model with one output a label, or name the labels' columns: --columns label=...",
        )


def _hard_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    from torch.nn.functional import binary_cross_entropy_with_logits

    return binary_cross_entropy_with_logits(outputs, targets.view_as(outputs).to(outputs.dtype))


def _weighted(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The mean over rows by the weights of their classes, as that of two classes with two scores."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    right = targets.reshape(-1)
    each = weights.to(outputs.dtype)[right.long()].view_as(outputs)
    found = binary_cross_entropy_with_logits(outputs, right.view_as(outputs).to(outputs.dtype), each)
    return found * each.numel() / each.sum()


def _weighted_labels(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Each label's own weight of yes."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    right = targets.view_as(outputs).to(outputs.dtype)
    return binary_cross_entropy_with_logits(outputs, right, pos_weight=weights.to(outputs.dtype))


def _soft_loss(outputs: Tensor, teacher: Tensor, temperature: float, targets: Tensor) -> Tensor:
    from torch.nn.functional import kl_div, logsigmoid

    total = outputs.new_zeros(())
    for sign in (1, -1):
        student, taught = (logsigmoid(sign * found / temperature) for found in (outputs, teacher))
        total = total + kl_div(student, taught, reduction="sum", log_target=True)
    return temperature**2 * total / outputs.numel()


def _yes(outputs: Tensor) -> Tensor:
    return (outputs > 0).reshape(len(outputs), -1).long()  # (N,) or (N, k) -> (N, k)


def _counts(outputs: Tensor, targets: Tensor) -> Tensor:
    return of_rows((_yes(outputs) == targets.reshape(len(targets), -1)).double().mean(1))


def _closeness_counts(outputs: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
    return _counts(outputs, _yes(teacher))


def _answers(outputs: Tensor) -> Tensor:
    return _yes(outputs)[:, 0]


def _blind(outputs: Tensor, targets: Tensor) -> float:
    labels = zip(_yes(outputs).T, targets.reshape(len(targets), -1).long().T, strict=True)
    found = [agreement_by_chance(answers, right) for answers, right in labels]
    return sum(found) / len(found)


def _oftener(targets: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Yes where a label is there in more than half of the rows."""
    return (targets.reshape(len(targets), -1).double().mean(0) - 0.5).reshape(shape).float()


BINARY = replace(
    CLASSIFICATION,
    name="binary",
    takes=lambda targets: False,
    check=_check,
    hard_loss=_hard_loss,
    soft_loss=_soft_loss,
    scaled=True,
    weighted=_weighted,
    weight_of=lambda targets, weights: weight_of(targets.reshape(-1), weights),
    counts=_counts,
    closeness_counts=_closeness_counts,
    told_by_count=False,
    told_by_word=False,
    answers=_answers,
    blind=_blind,
    metrics=(F1,),
    trivial=_oftener,
    width=1,
    said="one output a row and targets of 0 and 1: scores of yes or no; binary cross-entropy",
)

_SIGMOID = "outputs are probabilities already (a sigmoid in the forward); binary cross-entropy on them"
BINARY_PROBABILITIES = BINARY.of_outputs("binary-probabilities", log_odds, sigmoid, _SIGMOID)

#: The share of a row's labels that are right is no yes or no: its interval is stored.
MULTILABEL = replace(
    BINARY, name="multilabel", family="multilabel", derived=None, answers=None, width=None,
    weighted=_weighted_labels, weight_of=None,
    metrics=(F1_MICRO, F1_MACRO, MAP), trivial_said="the commoner answer for each label",
    said="targets of 0 and 1 for several labels a row: scores of yes or no; binary cross-entropy",
)  # fmt: skip
MULTILABEL_PROBABILITIES = MULTILABEL.of_outputs("multilabel-probabilities", log_odds, sigmoid, _SIGMOID)
