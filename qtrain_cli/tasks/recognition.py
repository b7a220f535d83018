"""What a model's outputs are, told from them and the targets: the row of the table whose loss is right.

    targets           outputs                       row
    class numbers     (N, C)                        classification; class-probabilities where rows are none
                                                    negative and sum to 1; class-sigmoids within 0 and 1
    1 .. C            (N, C)                        the same, for classes 0 .. C - 1
    0 and 1           (N,) or (N, 1)                binary; binary-probabilities within 0 and 1
    whole numbers     (N,) or (N, 1)                regression
    one-hot floats    (N, C)                        as class numbers
    whole floats      (N, C)                        as class numbers
    0 and 1, floats   as many                       binary or multilabel, where outputs are likelier as scores
                                                    of yes or no than as numbers near the targets
    other floats                                    regression
    whole (N, L)      (N, L, C)                     tokens, entities where labels are words such as B-PER;
                                                    language where targets are the tokens or those after them
    whole (N, H, W)   (N, C, H, W), (N, 1, H, W)    segmentation, of scores or probabilities

"Likelier" holds the loss of each against that of a model that only knows the targets' mean: squared error
over variance, cross-entropy over entropy. Without outputs, where a student learns from labels alone, they
will be scores. Tasks that are not here stay what they are, and a task that was asked for is held against what
was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qtrain_cli.errors import UsageError
from qtrain_cli.tasks import TASKS
from qtrain_cli.tasks.binary import BINARY, BINARY_PROBABILITIES, MULTILABEL, MULTILABEL_PROBABILITIES
from qtrain_cli.tasks.classification import CLASSIFICATION, PROBABILITIES, SIGMOIDS
from qtrain_cli.tasks.features import FEATURES
from qtrain_cli.tasks.language import LANGUAGE
from qtrain_cli.tasks.regression import REGRESSION
from qtrain_cli.tasks.segmentation import (
    SEGMENTATION,
    SEGMENTATION_PROBABILITIES,
    SEGMENTATION_YES,
    SEGMENTATION_YES_PROBABILITIES,
)
from qtrain_cli.tasks.tokens import ENTITIES, TOKENS, are_entities

if TYPE_CHECKING:
    from torch import Tensor

#: How far the sum of a row of probabilities is from 1 at most: half precision rounds more than float32.
_ROUNDING = 4e-3


def same(targets: Tensor) -> Tensor:
    """Targets as they are."""
    return targets


@dataclass(frozen=True)
class Reading:
    """A task, what targets become for it, how many classes there are then, and what is said of it."""

    task: str
    classes: int | None
    said: str
    targets: Callable[[Tensor], Tensor] = same


@dataclass(frozen=True)
class Asked:
    """What is known beside outputs and targets: the family that was asked for, inputs of the same rows, and
    the names of labels."""

    family: str = ""
    inputs: Tensor | None = None
    labels: tuple[str, ...] = ()


NOTHING_ASKED = Asked()


def reading_of(
    task: str, outputs: Tensor | None, targets: Tensor, every: Tensor, asked: Asked = NOTHING_ASKED
) -> Reading:
    """How outputs (M, ...) for rows with these targets (M, ...) are to be read.

    Args:
        task: what the targets alone say.
        outputs: finite; None where there is no model yet.
        targets: of the same rows.
        every: those of all rows, (N, ...).
        asked: by the user, and what else there is.

    Raises:
        UsageError: another task was asked for than fits, or nobody can tell which of two it is.
    """
    forced = _FORCED.get(asked.family)
    if forced:
        return forced(outputs, targets, every)
    if task in _PLACES:
        return _PLACES[task](outputs, targets, every, asked)
    read = _READINGS.get(task)
    found = read(outputs, targets, every) if read else Reading(task, None, "")
    if asked.family and TASKS[found.task].family != asked.family:
        raise UsageError(
            f"--task {asked.family} does not fit: of these targets and outputs, {TASKS[found.task].said}",
            f"give --task {TASKS[found.task].family}, or leave it out",
        )
    return found


def _classes(outputs: Tensor | None, targets: Tensor, every: Tensor) -> Reading:
    classes = int(every.max()) + 1
    if outputs is None or outputs.dim() > 2:
        return Reading(CLASSIFICATION.name, classes, CLASSIFICATION.said)
    width = outputs[0].numel()
    if width == 1:
        return _one_output(outputs, every, classes)
    form = _form(outputs)
    if classes == width + 1 and int(every.min()) == 1:
        said = f"labels 1 to {width} are the classes 0 to {width - 1}; {form.said}"
        return Reading(form.task, width, said, lambda targets: targets - 1)
    return replace(form, classes=classes)


def _form(outputs: Tensor) -> Reading:
    """Of outputs (N, C), C at least 2."""
    within = bool((outputs >= 0).all()) and bool((outputs <= 1 + _ROUNDING).all())
    if within and _sums_to_one(outputs):
        return Reading(PROBABILITIES.name, None, PROBABILITIES.said)
    if bool((outputs <= _ROUNDING).all()) and _sums_to_one(outputs.exp()):
        said = "outputs are log-probabilities; cross-entropy, which is right for them as they are"
        return Reading(CLASSIFICATION.name, None, said)
    row = SIGMOIDS if within else CLASSIFICATION
    return Reading(row.name, None, row.said)


def _sums_to_one(rows: Tensor) -> bool:
    return bool(((rows.double().sum(1) - 1).abs() < _ROUNDING).all())


def _one_output(outputs: Tensor, every: Tensor, classes: int) -> Reading:
    if classes > 2:
        said = f"one output a row and whole targets up to {classes - 1}: {REGRESSION.said}"
        return Reading(REGRESSION.name, None, said, lambda targets: targets.float())
    row = BINARY_PROBABILITIES if _are_shares(outputs) else BINARY
    return Reading(row.name, 2, row.said)


def _are_shares(outputs: Tensor) -> bool:
    return bool(((outputs >= 0) & (outputs <= 1)).all())


def _numbers(outputs: Tensor | None, targets: Tensor, every: Tensor) -> Reading:
    several = every.dim() == 2 and every.shape[1] > 1
    zero_or_one = bool(((every == 0) | (every == 1)).all())
    columns = 0 if outputs is None or outputs.dim() != 2 else outputs.shape[1]
    one_hot = several and zero_or_one and bool((every.sum(1) == 1).all())
    if one_hot and (outputs is None or columns == every.shape[1]):
        return _as_classes(outputs, targets, every, lambda found: found.argmax(1), "one-hot targets")
    whole = not several and bool((every == every.round()).all()) and float(every.min()) >= 0
    if columns > 1 and whole and float(every.max()) <= columns:
        return _as_classes(outputs, targets, every, lambda found: found.reshape(-1).long(), "whole targets")
    fits = outputs is None or outputs[0].numel() == every[0].numel()
    if zero_or_one and fits and (outputs is None or _likelier_yes_or_no(outputs, targets)):
        plain, shares = (MULTILABEL, MULTILABEL_PROBABILITIES) if several else (BINARY, BINARY_PROBABILITIES)
        row = shares if outputs is not None and _are_shares(outputs) else plain
        return Reading(row.name, None if several else 2, row.said)
    return Reading(REGRESSION.name, None, REGRESSION.said)


def _as_classes(
    outputs: Tensor | None, targets: Tensor, every: Tensor, numbers: Callable[[Tensor], Tensor], what: str
) -> Reading:
    found = _classes(outputs, numbers(targets), numbers(every))
    return replace(
        found,
        said=f"{what} are class numbers; {found.said}",
        targets=lambda given: found.targets(numbers(given)),
    )


def _likelier_yes_or_no(outputs: Tensor, targets: Tensor) -> bool:
    if _are_shares(outputs):
        return True
    share = float(targets.mean())
    entropy = -sum(p * math.log(p) for p in (share, 1 - share) if p > 0)
    if entropy == 0:
        return True
    error = float(REGRESSION.hard_loss(outputs, targets)) / (share * (1 - share))
    return float(BINARY.hard_loss(outputs, targets)) / entropy < error


# --- a class for each place ------------------------------------------------------------------------------


def _tokens(outputs: Tensor | None, targets: Tensor, every: Tensor, asked: Asked) -> Reading:
    if asked.family == LANGUAGE.name:
        return _language(outputs, targets, every, asked)
    if not asked.family and not asked.labels and _may_name_tokens(outputs, asked.inputs):
        raise UsageError(
            f"targets of the shape {list(targets.shape[1:])} a row may be labels of tokens, or tokens",
            f"give --task {TOKENS.name} or --task {LANGUAGE.name}",
        )
    row = ENTITIES if are_entities(asked.labels) else TOKENS
    return Reading(row.name, int(every.max()) + 1, row.said)


def _may_name_tokens(outputs: Tensor | None, inputs: Tensor | None) -> bool:
    """Whether outputs have a score for each token of the inputs."""
    if inputs is None or outputs is None or inputs.is_floating_point():
        return False
    return inputs.dim() == 2 and outputs.dim() == 3 and outputs.shape[2] > int(inputs.max())


def _language(outputs: Tensor | None, targets: Tensor, every: Tensor, asked: Asked) -> Reading:
    return Reading(LANGUAGE.name, int(every.max()) + 1, LANGUAGE.said)


def _pixels(outputs: Tensor | None, targets: Tensor, every: Tensor, asked: Asked) -> Reading:
    classes = int(every.max()) + 1
    if outputs is None or outputs.dim() not in (3, 4):
        return Reading(SEGMENTATION.name, classes, SEGMENTATION.said)
    if outputs.dim() == 3 or outputs.shape[1] == 1:
        row = SEGMENTATION_YES_PROBABILITIES if _are_shares(outputs) else SEGMENTATION_YES
        return Reading(row.name, classes, row.said)
    found = _form(outputs.movedim(1, -1).flatten(0, -2))
    row = SEGMENTATION_PROBABILITIES if found.task == PROBABILITIES.name else SEGMENTATION
    return Reading(row.name, classes, row.said)


_PLACES: dict[str, Callable[[Tensor | None, Tensor, Tensor, Asked], Reading]] = {
    TOKENS.name: _tokens,
    LANGUAGE.name: _language,
    SEGMENTATION.name: _pixels,
}

# --- what was asked for ----------------------------------------------------------------------------------


def _as_numbers(outputs: Tensor | None, targets: Tensor, every: Tensor) -> Reading:
    return Reading(REGRESSION.name, None, REGRESSION.said, lambda found: found.float())


def _as_labels(outputs: Tensor | None, targets: Tensor, every: Tensor) -> Reading:
    row = MULTILABEL_PROBABILITIES if outputs is not None and _are_shares(outputs) else MULTILABEL
    return Reading(row.name, None, row.said)


def _as_features(outputs: Tensor | None, targets: Tensor, every: Tensor) -> Reading:
    if outputs is None:
        raise UsageError("--task features learns a teacher's outputs, and there is no teacher",
                         "give one: qtrain distill TEACHER")  # fmt: skip
    return Reading(FEATURES.name, None, FEATURES.said)


_FORCED: dict[str, Callable[[Tensor | None, Tensor, Tensor], Reading]] = {
    REGRESSION.name: _as_numbers,
    MULTILABEL.name: _as_labels,
    FEATURES.name: _as_features,
}
_READINGS: dict[str, Callable[[Tensor | None, Tensor, Tensor], Reading]] = {
    CLASSIFICATION.name: _classes,
    REGRESSION.name: _numbers,
}
