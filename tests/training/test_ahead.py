"""Batches drawn ahead: the same ones, whoever draws them, from whatever step, and no stream is touched."""

import os
import signal
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from qtrain_cli.data import Normalisation, TrainSplit
from qtrain_cli.data.augment import Augment
from qtrain_cli.errors import RunFailed, UsageError
from qtrain_cli.runs.identity import run_identity
from qtrain_cli.settings import FitSettings
from qtrain_cli.training import ahead
from qtrain_cli.training.ahead import AheadBatches, by_a_thread, by_processes, row_batches
from qtrain_cli.training.batches import RowBatches
from qtrain_cli.training.waiting import Waiting, said_of_waiting

CPU = torch.device("cpu")
PIXELS = torch.randint(0, 256, (48, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SPLIT = TrainSplit(PIXELS, torch.arange(48) % 3)
WAYS = {"thread": by_a_thread, "two processes": lambda rows, step: by_processes(rows, step, 2)}


def rows_of(*names: str) -> RowBatches:
    augment = Augment(names, 0) if names else None
    return RowBatches(SPLIT, Normalisation((0.5,), (0.25,)), 16, 0, CPU, augment)


def same(one, other) -> bool:
    mixed = [batch.mixed and (batch.mixed.share, batch.mixed.targets.tolist()) for batch in (one, other)]
    rows = [batch.rows is not None and batch.rows.tolist() for batch in (one, other)]
    equal = all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("raw", "inputs", "targets")
    )
    return equal and one.step == other.step and mixed[0] == mixed[1] and rows[0] == rows[1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("names", [(), ("flip", "crop", "mixup")])
def test_whoever_draws_them_batches_are_the_same_from_any_step_on(way, names):
    rows = rows_of(*names)
    batches = AheadBatches(rows, WAYS[way])
    assert batches.per_epoch == rows.per_epoch == 3
    for step in (4, 5, 6, 7, 1, 2, 2):  # going on at 4, over an epoch's end, then back
        assert same(batches.at(step), rows.at(step)), step


@pytest.mark.parametrize("way", WAYS)
def test_no_stream_that_the_model_draws_from_moves(way):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    AheadBatches(rows_of("flip"), WAYS[way]).at(0)
    assert torch.equal(torch.rand(4), expected)


def test_the_next_batch_is_drawn_while_the_step_works(monkeypatch):
    """The thread draws step 1 though nobody asked for it yet."""
    drawn = {step: threading.Event() for step in range(8)}
    plain = RowBatches.drawn

    def noted(self, step):
        drawn[step].set()
        return plain(self, step)

    monkeypatch.setattr(RowBatches, "drawn", noted)
    batches = AheadBatches(rows_of(), by_a_thread)
    batches.at(0)
    assert drawn[1].wait(10)


def test_a_thread_that_draws_leaves_the_others_their_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        pool = ahead._one_thread()
        assert (pool.submit(torch.get_num_threads).result(), torch.get_num_threads()) == (1, 2)
    finally:
        torch.set_num_threads(before)


def test_what_a_batch_fails_with_is_what_the_step_fails_with(monkeypatch):
    def broken(self, step):
        raise UsageError("no such row")

    monkeypatch.setattr(RowBatches, "drawn", broken)
    with pytest.raises(UsageError, match="no such row"):
        AheadBatches(rows_of(), by_a_thread).at(0)


def test_a_process_that_is_killed_ends_the_run_in_one_line(monkeypatch):
    plain = RowBatches.drawn

    def killed(self, step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(self, step)

    monkeypatch.setattr(RowBatches, "drawn", killed)
    # As in a new process: PyTorch's handler, left by a loader of an earlier test, raises in any later test.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    batches = AheadBatches(rows_of(), lambda rows, step: by_processes(rows, step, 1))
    with pytest.raises(RunFailed, match="a process that draws batches has ended") as caught:
        [batches.at(step) for step in range(9)]
    assert "--resume" in caught.value.advice


@pytest.mark.parametrize(
    ("fit", "large", "found"),
    [
        (FitSettings(batch_size=16), False, None),
        (FitSettings(batch_size=16), True, by_a_thread),
        (FitSettings(batch_size=16, augment=("flip",)), False, by_a_thread),
        (FitSettings(batch_size=16, augment=("flip",), workers=0), True, None),
    ],
)
def test_who_draws_where_nothing_is_said(monkeypatch, fit, large, found):
    monkeypatch.setattr(ahead, "is_large", lambda size: large)
    data = SimpleNamespace(train=SPLIT, normalisation=Normalisation())
    batches = row_batches(data, fit, CPU)
    assert getattr(batches, "_ahead", None) is found


def test_randaugment_is_left_to_no_thread():
    assert not ahead._is_slow(replace(rows_of(), augment=Augment(("randaugment",), 0)))


def test_randaugment_by_processes_is_that_of_the_step():
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    rows = rows_of("randaugment")
    torch.manual_seed(1)
    torch.rand(3)  # wherever torch's one generator stands
    batches = AheadBatches(rows, WAYS["two processes"])
    assert all(same(batches.at(step), rows.at(step)) for step in (1, 2, 3))
    assert not torch.equal(rows.at(1).raw, rows_of().at(1).raw)


def test_signals_are_left_to_the_run():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        ahead._leave_signals(0)
        now = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        assert now == [signal.SIG_IGN, signal.SIG_IGN]
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)


def test_who_draws_is_no_part_of_a_run():
    identities = [run_identity({}, {}, FitSettings(device="cpu", workers=n), {}) for n in (None, 0, 3)]
    assert identities[0] == identities[1] == identities[2]


@pytest.mark.parametrize("workers", [-1, 257])
def test_so_many_workers_are_refused(workers):
    with pytest.raises(UsageError, match=f"--workers is {workers}; allowed: 0 to 256"):
        FitSettings(workers=workers)


def test_waiting_is_a_share_of_what_comes_after_the_first_batch(monkeypatch):
    from qtrain_cli.training import waiting

    now = iter([0.0, 0.0, 5.0, 8.0, 9.0, 15.0])  # made; a first batch of 5 s; a second one of 1 s; asked
    monkeypatch.setattr(waiting.time, "perf_counter", lambda: next(now))
    found = Waiting()
    for warm in (False, True):
        with found.counted(warm):
            pass
    assert found.share == pytest.approx(0.1)
    assert said_of_waiting(0.1, None).startswith(
        "steps waited for their batches 10% of the time; --workers 2 "
    )
    assert "--workers 8 " in said_of_waiting(0.5, 4) and said_of_waiting(0.09, None) == ""


def test_a_run_has_the_same_bytes_whoever_draws(cli, digits, tmp_path):
    words = (
        "compress", digits / "digits_cnn_module.pt", "--data", digits / "digits.npz", "--layers", "4",
        "--epochs", "1", "--augment", "flip,mixup",
    )  # fmt: skip
    made = []
    for workers in ((), ("--workers", "0"), ("--workers", "2")):
        out = tmp_path / f"{len(made)}.qtrain"
        done = cli(*words, *workers, "-o", out)
        assert done.code == 0, done.err
        made.append(out.read_bytes())
    assert made[0] == made[1] == made[2]
