"""The losses against their formulas, the scores against counting, and what a model may do wrong."""

import math

import pytest
import torch
from torch import nn

from qtrain_cli.errors import BadInput
from qtrain_cli.models.call import call_model, predict
from qtrain_cli.tasks import objective as objective_module
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
    assert objective.closeness(outputs, torch.eye(4)[[0, 1, 1, 1]]) == 0.5
    assert of("regression").closeness(torch.zeros(2, 1), torch.tensor([[1.0], [3.0]])) == 5


def test_which_way_is_better():
    assert (of().word, of("regression").word) == ("accuracy", "error")
    assert of().better(0.9, 0.8) and not of().better(0.8, 0.8) and not of().better(0.7, 0.8)
    assert of("regression").better(0.7, 0.8) and not of("regression").better(0.8, 0.8)


# --- calling the model -----------------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


class TiedPair(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


class Twice(nn.Module):
    """One layer under two names, and BatchNorm under two names."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)
        self.second, self.again = self.first, self.norm

    def forward(self, x):
        return self.again(self.second(self.norm(self.first(x))))


NETWORKS = {
    "twice": (Twice, (3,)),
    "linear": (lambda: nn.Linear(3, 2), (3,)),
    "tied": (TiedPair, (3,)),
    "recurrent": (Recurrent, (5, 3)),
    "attention": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (5, 4)),
    "batchnorm": (lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), (3,)),
    "weight-norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), (3,)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_in_place_of_the_modules_own_is_the_same_as_loading_it(name):
    make, shape = NETWORKS[name]
    module, other = make(), make()
    tensors = {id(tensor): tensor.detach().clone() for tensor in other.state_dict(keep_vars=True).values()}
    state = {key: tensors[id(tensor)] for key, tensor in other.state_dict(keep_vars=True).items()}
    inputs = torch.randn(7, *shape)
    found = predict(module, state, inputs, lambda batch: batch)
    module.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(found, module.eval()(inputs))


def test_a_module_of_two_names_is_as_it_was_after_each_call():
    module = Twice().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    copies = {id(t): t.detach() + 1 for t in module.state_dict(keep_vars=True).values()}
    state = {name: copies[id(t)] for name, t in module.state_dict(keep_vars=True).items()}
    for calls in (1, 2):
        call_model(module, state, torch.randn(7, 3))
        assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
        assert int(state["again.num_batches_tracked"]) == 1 + 2 * calls
        assert state["again.running_mean"] is state["norm.running_mean"]


@pytest.mark.parametrize(("rows", "numbers"), [(3, 10**6), (1000, 12), (1000, 1)])
def test_a_split_is_evaluated_in_batches_in_evaluation_mode(monkeypatch, rows, numbers):
    monkeypatch.setattr(objective_module, "EVALUATION_ROWS", rows)
    monkeypatch.setattr(objective_module, "EVALUATION_NUMBERS", numbers)
    module, sizes = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5)).train(), []
    module.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    inputs = torch.randn(10, 4)
    found = predict(module, module.state_dict(), inputs, lambda batch: batch * 2)
    torch.testing.assert_close(found, module[0](inputs * 2))
    assert not found.requires_grad
    assert sum(sizes) == 10 and max(sizes) == {10**6: 3, 12: 3, 1: 1}[numbers]


def test_inputs_that_the_model_does_not_take():
    with pytest.raises(BadInput) as caught:
        predict(nn.Linear(3, 2).eval(), nn.Linear(3, 2).state_dict(), torch.zeros(5, 4), lambda batch: batch)
    assert caught.value.message.startswith(
        "the model does not take 5 inputs of shape [4] (RuntimeError: mat1"
    )
    assert "--arch" in caught.value.advice
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("forward", "found"),
    [(lambda x: (x, x), "a tuple"), (lambda x: {"logits": x}, "a dict"), (torch.sum, r"\[\]")],
)
def test_outputs_that_are_not_a_row_for_each_input(forward, found):
    class Odd(nn.Linear):
        def forward(self, x):
            return forward(super().forward(x))

    module = Odd(3, 2)
    with pytest.raises(BadInput, match=f"returns {found} in training mode for 4 inputs of shape .3."):
        call_model(module, module.state_dict(), torch.zeros(4, 3))


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_used_up_memory_is_not_blamed_on_the_model(error):
    class Hungry(nn.Linear):
        def forward(self, x):
            raise error

    module = Hungry(3, 2)
    with pytest.raises(type(error)):
        call_model(module, module.state_dict(), torch.zeros(4, 3))


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
