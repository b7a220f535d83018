"""Checkpoints: when the next is due, where each generation has its own, which are of another run."""

from pathlib import Path

import pytest
import torch

from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from qtrain_cli.training import recovery
from qtrain_cli.training.recovery import (
    SECONDS,
    SHARE,
    Clock,
    Recovery,
    checkpoint_path,
    checkpoints,
    drop_strangers,
    of_generation,
)

IDENTITY = {"of": "a run"}


@pytest.fixture
def time(monkeypatch):
    """A clock that stands still; ``time.now`` sets it, and a checkpoint takes ``time.cost`` seconds."""

    class Time:
        now, cost = 1000.0, 0.0

    def write(path, checkpoint):
        Time.now += Time.cost

    monkeypatch.setattr(recovery.time, "monotonic", lambda: Time.now)
    monkeypatch.setattr(recovery, "save_checkpoint", write)
    return Time


def save(clock):
    clock.save(Path("unused"), Checkpoint({}, {}, {}))


def first_due(clock, time):
    """Seconds from now on until one is due, in steps of a tenth."""
    start = time.now
    for tenth in range(1, 100_000):
        time.now = start + tenth / 10
        if clock.due():
            return tenth / 10
    raise AssertionError("never")


def test_the_constants():
    assert (SECONDS, SHARE) == (10.0, 0.02)


def test_a_cheap_checkpoint_is_due_once_the_seconds_are_over(time):
    clock = Clock()
    assert not clock.due()
    assert first_due(clock, time) == pytest.approx(SECONDS, abs=0.11)
    save(clock)
    assert not clock.due() and first_due(clock, time) == pytest.approx(SECONDS, abs=0.11)


@pytest.mark.parametrize("cost", [0.1, 0.19, 0.3, 2.0])
def test_an_expensive_one_is_no_oftener_than_its_share_of_the_time(time, cost):
    clock = Clock()
    time.cost = cost
    save(clock)
    interval = first_due(clock, time)
    assert interval == pytest.approx(max(SECONDS, cost / SHARE), abs=0.11)
    assert cost <= SHARE * interval


def test_the_last_ones_cost_counts_and_not_a_former_ones(time):
    clock = Clock()
    time.cost = 5.0
    save(clock)
    time.cost = 0.0
    save(clock)
    assert first_due(clock, time) == pytest.approx(SECONDS, abs=0.11)


def test_the_interval_begins_when_the_checkpoint_is_written(time):
    clock = Clock()
    time.cost = 0.15
    time.now += SECONDS + 1
    save(clock)
    assert not clock.due()


def test_what_is_written_can_be_read_back(tmp_path):
    path = tmp_path / "net.qtrain.ckpt"
    Clock().save(path, Checkpoint({"a": torch.ones(2)}, {"step": 3}, IDENTITY))
    assert load_checkpoint(path, IDENTITY).state == {"step": 3}


# --- paths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "generation", "path"),
    [
        ("net.qtrain", 0, "net.qtrain.ckpt"),
        ("net.qtrain", 2, "net.qtrain.2.ckpt"),
        ("net", 0, "net.qtrain.ckpt"),
        ("net.bin", 1, "net.bin.qtrain.1.ckpt"),
        ("net.ckpt", 0, "net.ckpt.qtrain.ckpt"),
    ],
)
def test_each_generation_has_its_own(out, generation, path):
    assert checkpoint_path(Path("folder") / out, generation) == Path("folder") / path


def test_those_that_are_there_are_found_and_no_others(tmp_path):
    own = ["net.qtrain.ckpt", "net.qtrain.1.ckpt", "net.qtrain.12.ckpt"]
    others = ["net.ckpt", "net.qtrain.0.ckpt", "net.qtrain.01.ckpt", "net.qtrain.x.ckpt", "nets.qtrain.ckpt",
              "netXqtrain.ckpt", "net.qtrain.1.2.ckpt", "net.qtrain.ckpt.old"]  # fmt: skip
    for name in own + others:
        (tmp_path / name).touch()
    assert {path.name for path in checkpoints(tmp_path / "net.qtrain")} == set(own)


# --- going on --------------------------------------------------------------------------------------------


def put(path, identity):
    save_checkpoint(path, Checkpoint({}, {"step": 1}, identity))


def test_a_checkpoint_is_found_where_it_is_wanted_and_there(tmp_path):
    path = tmp_path / "a.ckpt"
    assert Recovery(path, IDENTITY, resume=True).found() is None
    put(path, IDENTITY)
    assert Recovery(path, IDENTITY, resume=False).found() is None
    assert Recovery(path, IDENTITY, resume=True).found().state == {"step": 1}
    with pytest.raises(BadInput, match="belongs to another run"):
        Recovery(path, {"of": "another"}, resume=True).found()
    path.write_bytes(b"damaged")
    with pytest.raises((BadInput, Refused)):
        Recovery(path, IDENTITY, resume=True).found()


def test_ends_say_where_the_state_is_and_what_to_do(tmp_path):
    found = Recovery(tmp_path / "a.ckpt", IDENTITY, resume=True)
    assert found.stopped().message == f"stopped; the state is in '{tmp_path / 'a.ckpt'}'"
    assert found.stopped().advice == "run it again with --resume"
    ended = found.diverged("gradient", 7, 2)
    assert ended.message == (
        "the gradient is not finite at step 7 (epoch 2);"
        f" the last good state is kept in '{tmp_path / 'a.ckpt'}'"
    )
    assert "--lr" in ended.advice and "--force" in ended.advice


def test_strangers_are_dropped_and_ones_own_stay(tmp_path):
    """A run of three trainings: generations 0, 1 and 2."""
    out, other = tmp_path / "net.qtrain", {"of": "another"}
    put(checkpoint_path(out, 0), of_generation(IDENTITY, 0))
    put(checkpoint_path(out, 1), of_generation(other, 1))
    put(checkpoint_path(out, 2), of_generation(IDENTITY, 1))  # of this run, in another's place
    put(checkpoint_path(out, 3), of_generation(IDENTITY, 3))  # no generation of this run
    put(checkpoint_path(tmp_path / "nets.qtrain"), other)
    drop_strangers(out, IDENTITY, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"net.qtrain.ckpt", "nets.qtrain.ckpt"}


@pytest.mark.parametrize("damage", [b"", b"nothing of a checkpoint", None])
def test_damaged_ones_are_dropped(tmp_path, damage):
    path = checkpoint_path(tmp_path / "net.qtrain", 1)
    put(path, of_generation(IDENTITY, 1))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] if damage is None else damage)
    drop_strangers(tmp_path / "net.qtrain", IDENTITY, 1)
    assert not path.exists()
    path.write_bytes(whole)
    drop_strangers(tmp_path / "net.qtrain", IDENTITY, 1)
    assert path.read_bytes() == whole


def test_a_generations_identity_is_that_of_the_run_and_its_number():
    assert of_generation(IDENTITY, 2) == {"of": "a run", "generation": 2} and IDENTITY == {"of": "a run"}
