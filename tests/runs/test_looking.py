"""What the test rows say place by place, against logarithms by hand."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from qtrain_cli.runs.looking import answered_parts, loss_by_place
from qtrain_cli.tasks.objective import Objective


@pytest.mark.parametrize("dtype", [torch.int16, torch.int64])
def test_loss_by_place_is_the_mean_of_the_targets_that_count(dtype):
    sure = torch.tensor([1.0, 3.0]).log()
    outputs = torch.stack([sure, -sure]).expand(2, 2, 2)  # (2 rows, 2 places, 2 tokens)
    targets = torch.tensor([[1, 0], [0, -100]], dtype=dtype)
    first = (-math.log(3 / 4) - math.log(1 / 4)) / 2
    halves = [(outputs[:1], targets[:1]), (outputs[1:], targets[1:])]
    for parts in ([(outputs, targets)], halves):
        assert dict(loss_by_place(parts)) == pytest.approx({1: first, 2: -math.log(3 / 4)})


def test_a_place_where_nothing_counts_is_left_out_and_the_others_keep_their_numbers():
    targets = torch.tensor([[0, -100, 1]])
    assert [place for place, _ in loss_by_place([(torch.zeros(1, 3, 3), targets)])] == [1, 3]


def test_outputs_are_made_when_they_are_asked_for():
    made, module = [], nn.Linear(2, 3)
    module.register_forward_hook(lambda *called: made.append(called))
    test = TensorDataset(torch.zeros(6, 2))
    test.inputs, test.targets = torch.zeros(6, 2), torch.arange(6)
    data = SimpleNamespace(
        test=test, normalisation=lambda given: given,
        objective=lambda: Objective("classification", 0.0, 1.0, at_once=2),
    )  # fmt: skip
    parts = answered_parts(SimpleNamespace(module=module, state=dict(module.state_dict())), data)
    assert not made
    next(parts)
    assert len(made) == 1 and len(list(parts)) == 2
