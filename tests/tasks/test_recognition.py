"""What outputs are, told from them and the targets; the losses of other forms are those of the scores
behind."""

import math

import pytest
import torch
from torch import nn

from qtrain_cli.tasks import TASKS
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.tasks.recognition import reading_of

SCORES = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.0, -3.0], [-1.0, 4.0, 1.0], [1.5, 0.2, 0.9]])
Y = torch.tensor([0, 1, 1, 2])
YES = torch.tensor([1.5, -0.3, 2.0, -4.0])
ONE = torch.tensor([1.0, 0.0, 1.0, 0.0])
MANY = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
ANY = torch.tensor([0.3, 2.5, -1.0, 0.0])

FOUND = [
    ("classification", SCORES, Y, "classification", Y),
    ("classification", SCORES.log_softmax(1), Y, "classification", Y),
    ("classification", SCORES.softmax(1), Y, "class-probabilities", Y),
    ("classification", SCORES.softmax(1).half().float(), Y, "class-probabilities", Y),
    ("classification", SCORES.sigmoid(), Y, "class-sigmoids", Y),
    ("classification", SCORES, Y + 1, "classification", Y),
    ("classification", YES[:, None], ONE.long(), "binary", ONE.long()),
    ("classification", YES.sigmoid(), ONE.long(), "binary-probabilities", ONE.long()),
    ("classification", ANY, 20 + Y, "regression", (20 + Y).float()),
    ("regression", YES, ONE, "binary", ONE),
    ("regression", YES[:, None], ONE[:, None], "binary", ONE[:, None]),
    ("regression", YES.sigmoid(), ONE, "binary-probabilities", ONE),
    ("regression", ONE + 0.1 * YES, ONE, "regression", ONE),
    ("regression", SCORES, torch.eye(3)[Y], "classification", Y),
    ("regression", SCORES.softmax(1), torch.eye(3)[Y], "class-probabilities", Y),
    ("regression", SCORES, Y.float(), "classification", Y),
    ("regression", SCORES, Y.float() + 1, "classification", Y),
    ("regression", SCORES, MANY, "multilabel", MANY),
    ("regression", MANY * 0.9 + 0.05, MANY, "multilabel-probabilities", MANY),
    ("regression", ANY, ANY, "regression", ANY),
    ("regression", SCORES, SCORES, "regression", SCORES),
    ("regression", None, ONE, "binary", ONE),
    ("regression", None, torch.eye(3)[Y], "classification", Y),
    ("regression", None, ANY, "regression", ANY),
    ("classification", None, Y, "classification", Y),
    ("elsewhere", SCORES, Y, "elsewhere", Y),
]


@pytest.mark.parametrize(("task", "outputs", "targets", "name", "turned"), FOUND)
def test_the_row_and_its_targets(task, outputs, targets, name, turned):
    found = reading_of(task, outputs, targets, targets)
    assert found.task == name
    assert torch.equal(found.targets(targets), turned) and found.targets(targets).dtype == turned.dtype
    if turned.dtype == torch.int64 and name.startswith("class"):
        assert found.classes == 3
    assert task == "elsewhere" or TASKS[name].said.split(";")[-1] in found.said or "log-prob" in found.said


FORMS = [
    ("class-probabilities", SCORES, Y),
    ("class-sigmoids", SCORES, Y),
    ("binary-probabilities", YES, ONE),
    ("multilabel-probabilities", SCORES, MANY),
]


@pytest.mark.parametrize(("name", "scores", "targets"), FORMS)
def test_losses_and_figures_of_other_forms_are_those_of_the_scores(name, scores, targets):
    row = TASKS[name]
    plain, other = Objective(row.plain, 0.5, 3.0), Objective(name, 0.5, 3.0)
    outputs, taught = row.head()(scores), row.head()(scores.flip(0))
    want = plain.loss(scores, targets, scores.flip(0))
    assert float(other.loss(outputs, targets, taught)) == pytest.approx(float(want), rel=1e-4)
    assert other.score(outputs, targets) == plain.score(scores, targets)
    assert other.closeness(outputs, taught, targets) == plain.closeness(scores, scores.flip(0), targets)
    assert row.blind(outputs, targets) == TASKS[row.plain].blind(scores, targets)


def test_binary_losses_are_those_of_two_classes():
    pairs = torch.stack([torch.zeros(4), YES], 1)  # a score of yes is that of yes over no
    binary, classes = TASKS["binary"], TASKS["classification"]
    hard = nn.functional.cross_entropy(pairs, ONE.long())
    assert float(binary.hard_loss(YES, ONE)) == pytest.approx(float(hard), rel=1e-6)
    soft = classes.soft_loss(pairs, pairs.flip(0), 2.0, ONE)
    assert float(binary.soft_loss(YES, YES.flip(0), 2.0, ONE)) == pytest.approx(float(soft), rel=1e-5)
    counts, others = binary.counts(YES, ONE), classes.counts(pairs, ONE.long())
    assert counts.tolist() == others.tolist()
    assert binary.interval_of(counts) == classes.interval_of(others)


def test_a_saturated_softmax_has_a_finite_loss():
    outputs = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    loss = TASKS["class-probabilities"].hard_loss(outputs, torch.tensor([1]))
    loss.backward()
    assert math.isfinite(loss.item()) and bool(outputs.grad.isfinite().all())
