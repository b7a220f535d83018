"""What the test rows say place by place, against logarithms by hand."""

import math

import pytest
import torch

from qtrain_cli.runs.looking import loss_by_place


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
