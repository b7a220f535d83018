"""The rows of a step: all of them once an epoch, in an order of its own, a function of seed and step."""

import torch
from qtrain_cli.training.epochs import Batches, epoch_order


def epoch(batches, number):
    first = number * batches.per_epoch
    return torch.cat([batches.at(step) for step in range(first, first + batches.per_epoch)]).tolist()


def test_an_epoch_takes_every_row_once_and_leaves_out_what_fills_no_batch():
    assert sorted(epoch(Batches(12, 4, 0), 0)) == list(range(12))
    batches = Batches(13, 4, 0)
    rows = epoch(batches, 1)
    assert (batches.per_epoch, len(rows), len(set(rows))) == (3, 12, 12)


def test_each_epoch_and_each_seed_has_its_own_order():
    orders = [epoch(Batches(50, 10, seed), number) for seed in (0, 1) for number in (0, 1, 2)]
    assert len({tuple(order) for order in orders}) == 6


def test_a_step_says_its_rows_whatever_was_asked_before():
    batches = Batches(30, 7, 5)
    forward = [batches.at(step).tolist() for step in range(12)]
    epoch_order.cache_clear()
    assert [batches.at(step).tolist() for step in reversed(range(12))] == forward[::-1]
    generator = torch.Generator().manual_seed(5 * 1_000_003 + 2)
    assert forward[8] == torch.randperm(30, generator=generator)[:7].tolist()


def test_fewer_rows_than_a_batch_are_one_batch():
    batches = Batches(3, 128, 0)
    assert batches.per_epoch == 1 and sorted(batches.at(4).tolist()) == [0, 1, 2]
