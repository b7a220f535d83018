"""The losses against their formulas, the scores against counting, and what a model may do wrong."""

import math
from dataclasses import replace

import pytest
import torch

from qtrain_cli.errors import BadInput
from qtrain_cli.tasks.objective import Objective, check_outputs

torch.manual_seed(0)
STUDENT, TEACHER = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


def of(task="classification", distill=0.9, temperature=4.0):
    return Objective(task, distill, temperature)


def softmax(row, t=1.0):
    exponents = [math.exp(x / t) for x in row]
    return [x / sum(exponents) for x in exponents]


def cross_entropy(student, labels):
    rows = zip(student.tolist(), labels.tolist(), strict=True)
    return sum(-math.log(softmax(row)[label]) for row, label in rows) / len(labels)


def divergence(student, teacher, t):
    total = 0.0
    for s, target in zip(student.tolist(), teacher.tolist(), strict=True):
        pairs = zip(softmax(target, t), softmax(s, t), strict=True)
        total += sum(p * math.log(p / q) for p, q in pairs)
    return total / len(student)


@pytest.mark.parametrize("distill", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_classification_loss_is_that_of_hinton(distill, temperature):
    expected = (1 - distill) * cross_entropy(STUDENT, LABELS)
    expected += distill * temperature**2 * divergence(STUDENT, TEACHER, temperature)
    found = of(distill=distill, temperature=temperature).loss(STUDENT, LABELS, TEACHER)
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_sharpened_labels_are_a_teacher_that_is_sure_of_them(temperature):
    sure = torch.full_like(TEACHER, -1e3)
    sure[torch.arange(len(LABELS)), LABELS] = 1e3
    taught, sharp = of(distill=0.7, temperature=temperature), of(distill=0.7, temperature=temperature)
    found = replace(sharp, sharpened=True).loss(STUDENT, LABELS, torch.full_like(TEACHER, math.nan))
    assert float(found) == pytest.approx(float(taught.loss(STUDENT, LABELS, sure)), rel=1e-12)


def test_a_temperature_moves_by_the_same_factor_all_the_way():
    moving = Objective("classification", 0.7, 8.0, temperature_end=0.5)
    for share, there in ((0.0, 8.0), (0.25, 4.0), (0.5, 2.0), (1.0, 0.5)):
        found = moving.at(share).loss(STUDENT, LABELS, TEACHER)
        assert float(found) == pytest.approx(
            float(of(distill=0.7, temperature=there).loss(STUDENT, LABELS, TEACHER))
        )
    staying = of()
    assert staying.at(0.5) is staying


def test_a_teacher_without_weight_may_be_nothing_at_all():
    nan = torch.full_like(TEACHER, math.nan)
    assert of(distill=0.0).loss(STUDENT, LABELS, nan).isfinite()
    assert of("regression", distill=0.0).loss(STUDENT, STUDENT, nan) == 0


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_the_regression_loss_takes_targets_with_and_without_a_column(shape):
    student, teacher = STUDENT[:, :1], TEACHER[:, :1]
    targets = torch.arange(6.0, dtype=torch.float64)
    hard = sum((s - y) ** 2 for s, y in zip(student[:, 0].tolist(), range(6), strict=True)) / 6
    soft = float((student - teacher).square().mean())
    objective, shaped = of("regression", distill=0.25), targets.view(shape)
    assert float(objective.loss(student, shaped, teacher)) == pytest.approx(0.75 * hard + 0.25 * soft)
    assert objective.score(student, shaped) == pytest.approx(hard)
    assert float(objective.hard_loss(student, shaped)) == pytest.approx(hard)


def test_scores_count_and_compare():
    outputs = torch.eye(4)[[0, 1, 2, 0]]
    objective = of()
    assert objective.score(outputs, torch.tensor([0, 1, 2, 3])) == 0.75
    assert objective.closeness(outputs, torch.eye(4)[[0, 1, 1, 1]], LABELS[:4]) == 0.5
    assert of("regression").closeness(torch.zeros(2, 1), torch.tensor([[1.0], [3.0]]), None) == 5


def test_which_way_is_better():
    assert (of().word, of("regression").word) == ("accuracy", "error")
    assert of().better(0.9, 0.8) and not of().better(0.8, 0.8) and not of().better(0.7, 0.8)
    assert of("regression").better(0.7, 0.8) and not of("regression").better(0.8, 0.8)


# --- outputs and targets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "outputs", "targets", "classes", "message"),
    [
        ("classification", (4, 2), (4,), 3, r"outputs have the shape \[2\]; the data has 3 classes"),
        ("classification", (4, 3, 5), (4,), 3, r"shape \[3, 5\]; the data has 3 classes"),
        ("classification", (4,), (4,), 3, r"shape \[\]; the data has 3 classes"),
        ("regression", (4, 2), (4,), None, r"outputs have the shape \[2\], the targets \[\]"),
        ("regression", (4, 1), (4, 2), None, r"outputs have the shape \[1\], the targets \[2\]"),
    ],
)
def test_outputs_that_do_not_fit_the_targets(task, outputs, targets, classes, message):
    with pytest.raises(BadInput, match=message):
        check_outputs(task, torch.zeros(outputs), torch.zeros(targets), classes)


@pytest.mark.parametrize(
    ("task", "outputs", "targets", "classes"),
    [
        ("classification", (4, 3), (4,), 3),
        ("classification", (4, 1000), (4,), 3),
        ("regression", (4, 1), (4,), None),
        ("regression", (4,), (4,), None),
        ("regression", (4, 2), (4, 2), None),
    ],
)
def test_outputs_that_fit(task, outputs, targets, classes):
    check_outputs(task, torch.zeros(outputs), torch.zeros(targets), classes)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_not_finite(value):
    with pytest.raises(BadInput, match="not finite on this data"):
        check_outputs("classification", torch.tensor([[0.0, value]]), torch.zeros(1), 2)
