"""Several processes and one: the same numbers, within what the order of a float32 sum moves."""

import pickle
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain

import pytest
import torch
import torch.distributed as dist
from ranked import in_processes
from shared_runs import (
    aside,
    failing,
    fitted,
    gathered,
    leaving,
    led,
    normalised,
    normalised_halves,
    scripted,
    spread,
    started_by,
    summed,
)

from qtrain_cli.errors import Refused, UsageError
from qtrain_cli.training import ranks as ranks_module
from qtrain_cli.training.ranks import ALONE, Ranks, by_first, named_in

#: A gradient is a float32 sum over 50 rows, which processes take in parts: each of them is off by some units
#: in the last place of its terms (2**-24 each), and eight steps of an optimiser that divides by the
#: gradient's own size move every number, of size 1, by that share of its step. Ten times that is allowed.
NUMBERS = 10 * 8 * 2.0**-24
#: Losses are means of 50 float32 terms of size 1.
LOSSES = 50 * 2.0**-24

KINDS = (
    "ours",
    "ours rounded",
    "class weights",
    "rival",
    "student",
    "itself",
    "aligned",
    "cka",
)


def bits(named):
    return {name: part.numpy().tobytes() for name, part in named.items()}


@pytest.mark.parametrize(
    ("kind", "counts"), [*((kind, [2]) for kind in KINDS), ("batch norm", [4]), ("divided", [3, 4])]
)
def test_processes_do_what_one_does(kind, counts, tmp_path):
    one = fitted(kind, str(tmp_path), {})
    for count in counts:
        first, *others = in_processes(count, fitted, kind, str(tmp_path), {})
        for name, part in one["numbers"].items():
            if (kind, name) != (
                "cka",
                "projection.bias",
            ):  # what it shifts is centred: its gradient is rounding
                assert torch.allclose(first["numbers"][name], part, rtol=0, atol=NUMBERS), name
        for (loss, score, validation), (near, same, held) in zip(one["shown"], first["shown"], strict=True):
            assert abs(loss - near) < LOSSES
            assert score == pytest.approx(same) and validation == pytest.approx(held)
        for other in others:  # to the last bit: nothing keeps two processes together but that
            assert bits(other["numbers"]) == bits(first["numbers"])
            assert bits(other["state"]) == bits(first["state"])
            assert (other["course"], other["score"]) == (first["course"], first["score"])


def test_shares_of_other_sizes_weigh_by_their_rows(tmp_path):
    """50 rows for three: 17, 17 and 16. A plain mean of three means would be off by a hundredth."""
    one = fitted("class weights", str(tmp_path), {})
    many = in_processes(3, fitted, "class weights", str(tmp_path), {})
    for name, part in one["numbers"].items():
        assert torch.allclose(many[0]["numbers"][name], part, rtol=0, atol=NUMBERS)


def test_circuits_that_were_run_are_counted_over_all_processes(tmp_path):
    """50 rows for three, each with a circuit and its shifts."""
    one = fitted("measured", str(tmp_path), {"epochs": 1})
    for found in in_processes(3, fitted, "measured", str(tmp_path), {"epochs": 1}):
        assert found["state"]["evaluations"] == one["state"]["evaluations"] > 0


def test_what_is_drawn_is_each_process_s_own_and_follows_from_the_step(tmp_path):
    """Dropout: the same run twice is the same to the bit, and two processes do not drop alike."""
    runs = [in_processes(2, fitted, "dropout", str(tmp_path), {}) for _ in range(2)]
    assert bits(runs[0][0]["numbers"]) == bits(runs[1][0]["numbers"])
    masks = in_processes(2, aside)
    assert masks[0] != masks[1] and masks == in_processes(2, aside)


def test_statistics_of_a_batch_are_those_of_all_its_rows():
    alone = normalised()
    for count in (2, 3):
        for gradient, buffers in in_processes(count, normalised):
            assert torch.allclose(gradient, alone[0], rtol=0, atol=float(alone[0].abs().max()) * 2e-6)
            for part, known in zip(buffers, alone[1], strict=True):
                assert torch.allclose(part, known, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("affine", [True, False])
def test_statistics_of_half_precision_are_taken_in_full(affine):
    """6,727 rows and places, which is no bfloat16; gradients are rounded to 8 bits at the end alone."""
    gradient, buffers = normalised_halves(affine)
    for rank, (own, kept) in enumerate(in_processes(2, normalised_halves, affine)):
        assert torch.allclose(own, gradient[rank::2], rtol=2.0**-7, atol=1e-3)
        for part, known in zip(kept, buffers, strict=True):
            assert torch.allclose(part, known, rtol=1e-6, atol=1e-6)


def test_torchscript_with_batch_statistics_is_refused_in_several_processes():
    said = ["'1' is TorchScript, whose batch statistics processes cannot share", ""]
    assert scripted() == ["", ""] and in_processes(2, scripted) == [said, said]


def test_who_has_started_a_process_is_known_from_the_beginning():
    assert all(known == now for known, now in in_processes(2, started_by))


def test_what_rank_0_has_is_everybody_s_of_whatever_kind():
    for found in in_processes(2, spread):
        assert found == [[0, 3, 1, 4, 2, 5], [1], [7], []]


def test_a_sum_is_everybody_s_and_blocks_come_back_in_order():
    assert in_processes(3, summed) == [6.0, 6.0, 6.0]
    for whole, gradient in in_processes(3, gathered):
        assert whole == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert gradient == [3.0 * place for place in whole][slice(*_block(gradient))]


def _block(gradient):
    first = int(gradient[0] / 3)
    return first, first + len(gradient)


def test_rank_0_decides_for_all_and_its_failures_are_everybody_s():
    assert in_processes(2, led) == [("from 0", "Refused: no; ask"), ("from 0", "Refused: no; ask")]


def test_who_is_left_behind_learns_it_at_once():
    said = in_processes(2, failing)
    assert said[0].startswith("another process of this run has ended (") and said[1] == "gone"


@pytest.mark.parametrize("rank_0_fails", [False, True])
def test_nobody_leaves_before_rank_0_is_done_or_gone(rank_0_fails):
    (done, _), (_, left) = in_processes(2, leaving, rank_0_fails)
    assert left >= done
    assert left < done + 30, "it waits for one that is gone"


def test_processes_that_start_again_do_not_wait_for_those_that_are_gone():
    """The launcher's store still has the name of one that was killed before it began."""
    store, met = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False), []
    store.set("here/1", "somebody who is gone")

    def start(rank):
        client = dist.TCPStore("127.0.0.1", store.port, is_master=False, wait_for_workers=False)
        own = ranks_module._of_this_start(client, Ranks(rank, 2))
        own.set(f"{rank}", "there")
        own.wait([f"{1 - rank}"], timedelta(seconds=30))
        met.append(rank)

    first = threading.Thread(target=start, args=(0,), daemon=True)
    first.start()
    while not store.check(["begin/somebody who is gone"]):
        time.sleep(0.01)
    assert not met  # it waits for the one that is there
    start(1)
    first.join(30)
    assert sorted(met) == [0, 1]


@pytest.mark.parametrize(("rank", "entered"), [(0, ["in", "out"]), (1, [])])
def test_a_guard_is_entered_by_the_first_alone(monkeypatch, rank, entered):
    found = []

    @contextmanager
    def guard():
        found.append("in")
        yield
        found.append("out")

    monkeypatch.setattr(ranks_module, "_PRESENT", [Ranks(rank, 2)])
    with by_first(guard()):
        pass
    assert found == entered


def test_failures_keep_their_advice_from_one_process_to_another():
    error = pickle.loads(pickle.dumps(Refused("no", "ask")))
    assert (type(error), error.message, error.advice) == (Refused, "no", "ask")


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_and_blocks_cover_everything_once(count):
    ranks, things = [Ranks(rank, count) for rank in range(count)], list(range(10))
    assert sorted(chain.from_iterable(things[one.share] for one in ranks)) == things
    assert list(chain.from_iterable(things[one.block(10)] for one in ranks)) == things
    assert {len(things[one.block(10)]) for one in ranks} <= {10 // count, 10 // count + 1}


def test_a_launcher_is_known_by_all_that_it_says():
    said = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert named_in(said) is ALONE  # nobody to meet
    there = named_in({**said, "MASTER_ADDR": "here", "MASTER_PORT": "1"})
    assert there == Ranks(3, 4, 1, 2) and not there.first and not there.together


def test_fewer_rows_than_processes_are_refused():
    from qtrain_cli.training.ahead import _check_shares

    with pytest.raises(UsageError, match="a step has 3 rows, and there are 4 processes"):
        _check_shares(3, Ranks(0, 4))
    _check_shares(4, Ranks(0, 4))
