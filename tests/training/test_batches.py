"""The rows of a step: all of them once an epoch, in an order of its own, a function of seed and step."""

import torch

from qtrain_cli.data import Normalisation, TrainSplit
from qtrain_cli.training.batches import RowBatches, epoch_order


def batches_of(rows, size, seed):
    images = torch.arange(rows, dtype=torch.uint8)[:, None]
    split = TrainSplit(images, torch.arange(rows) + 1000)
    return RowBatches(split, Normalisation(), size, seed, torch.device("cpu"))


def epoch(batches, number):
    first = number * batches.per_epoch
    return torch.cat([batches.rows(step) for step in range(first, first + batches.per_epoch)]).tolist()


def test_an_epoch_takes_every_row_once_and_leaves_out_what_fills_no_batch():
    assert sorted(epoch(batches_of(12, 4, 0), 0)) == list(range(12))
    batches = batches_of(13, 4, 0)
    rows = epoch(batches, 1)
    assert (batches.per_epoch, len(rows), len(set(rows))) == (3, 12, 12)


def test_each_epoch_and_each_seed_has_its_own_order():
    orders = [epoch(batches_of(50, 10, seed), number) for seed in (0, 1) for number in (0, 1, 2)]
    assert len({tuple(order) for order in orders}) == 6


def test_a_step_says_its_rows_whatever_was_asked_before():
    batches = batches_of(30, 7, 5)
    forward = [batches.rows(step).tolist() for step in range(12)]
    epoch_order.cache_clear()
    assert [batches.rows(step).tolist() for step in reversed(range(12))] == forward[::-1]
    generator = torch.Generator().manual_seed(5 * 1_000_003 + 2)
    assert forward[8] == torch.randperm(30, generator=generator)[:7].tolist()


def test_fewer_rows_than_a_batch_are_one_batch():
    batches = batches_of(3, 128, 0)
    assert batches.per_epoch == 1 and sorted(batches.rows(4).tolist()) == [0, 1, 2]


def test_a_batch_has_the_rows_inputs_as_they_are_and_normalised_and_their_targets():
    batches = batches_of(30, 7, 5)
    for step in (0, 9):
        batch, rows = batches.at(step), batches.rows(step)
        assert batch.step == step and torch.equal(batch.rows, rows)
        assert torch.equal(batch.raw[:, 0], rows.to(torch.uint8))
        torch.testing.assert_close(batch.inputs[:, 0], rows / 255)
        assert torch.equal(batch.targets, rows + 1000)


def texts(rows: int = 120, width: int = 12) -> TrainSplit:
    """Token rows of random lengths, filled up with 0; targets number the rows."""
    lengths = torch.randint(1, width + 1, (rows,), generator=torch.Generator().manual_seed(1))
    inputs = torch.where(torch.arange(width) < lengths[:, None], torch.arange(rows)[:, None] + 1, 0)
    return TrainSplit(inputs.short(), torch.arange(rows))


def by_length(split: TrainSplit, size: int = 8, seed: int = 0) -> RowBatches:
    return RowBatches(split, Normalisation(tokens=True, padding=0), size, seed, torch.device("cpu"))


def test_texts_of_like_length_share_a_batch_which_ends_with_its_longest():
    split = texts()
    batches = by_length(split)
    lengths = batches.prepare.lengths(split.inputs)
    seen = []
    for step in range(batches.per_epoch):
        batch = batches.at(step)
        own = lengths[batch.rows]
        assert batch.inputs.shape == (8, own.max()) and own.max() - own.min() <= 2
        assert torch.equal(batch.targets, batch.rows)
        seen += batch.rows.tolist()
    assert sorted(seen) == list(range(120))
    widths = [batches.at(step).inputs.shape[1] for step in range(batches.per_epoch)]
    assert widths != sorted(widths), "the batches themselves come in a random order"


def test_the_order_of_texts_follows_from_seed_and_epoch_alone():
    split = texts()
    steps = (17, 3, 29, 16)
    one = {step: by_length(split).at(step).rows.tolist() for step in steps}
    batches = by_length(split)
    assert {step: batches.at(step).rows.tolist() for step in reversed(steps)} == one
    assert by_length(split, seed=1).at(3).rows.tolist() != one[3]
    assert batches.at(3).rows.tolist() != batches.at(3 + batches.per_epoch).rows.tolist()


def test_rows_that_are_taken_whole_keep_the_order_of_old():
    split = texts()
    whole = RowBatches(split, Normalisation(tokens=True), 8, 0, torch.device("cpu"))
    assert torch.equal(whole.at(2).rows, epoch_order(0, 0, 120)[16:24])
    assert whole.at(2).inputs.shape == (8, 12)
