"""Augmented batches in training: whose rows they are, the teacher, mixed losses, validation, rerun and
resume."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from qtrain_cli.data import Normalisation, TrainSplit
from qtrain_cli.data.augment import Augment, Mixed
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training.batches import RowBatches
from qtrain_cli.training.course import Answers

PIXELS = torch.randint(0, 256, (48, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SPLIT = TrainSplit(PIXELS, torch.arange(48) % 3)


def batches(*names: str) -> RowBatches:
    augment = Augment(names, 0) if names else None
    return RowBatches(SPLIT, Normalisation((0.5,), (0.25,)), 16, 0, torch.device("cpu"), augment)


def test_augmented_inputs_are_no_rows_of_the_split():
    plain, other = batches().at(3), batches("flip", "crop").at(3)
    assert plain.rows is not None and other.rows is None
    assert torch.equal(plain.targets, other.targets) and not torch.equal(plain.raw, other.raw)
    assert torch.equal(other.inputs, Normalisation((0.5,), (0.25,))(other.raw))
    assert torch.equal(SPLIT.inputs, PIXELS)


def test_a_mixed_batch_is_prepared_as_pixels_are():
    batch = batches("mixup").at(3)
    plain = batches().at(3)
    order = [int((plain.targets == target).nonzero()[0]) for target in batch.mixed.targets]
    assert len(order) == 16 and batch.raw.dtype == torch.float32
    own = (batch.inputs - batch.mixed.share * plain.inputs) / (1 - batch.mixed.share)
    found = {tuple(row.round(decimals=2).flatten().tolist()) for row in plain.inputs}
    assert {tuple(row.round(decimals=2).flatten().tolist()) for row in own} <= found


def test_a_teacher_is_asked_on_what_became_of_the_batch():
    asked = []
    answers = Answers(lambda raw: asked.append(raw) or torch.zeros(len(raw), 3), torch.ones(48, 3))
    batch = batches("flip").at(0)
    assert torch.equal(answers(batch), torch.zeros(16, 3)) and torch.equal(asked[0], batch.raw)


def test_a_mixed_loss_is_that_of_soft_targets():
    """The cross-entropy against l y + (1 - l) y' itself."""
    from qtrain_cli.training.loop import _Loop
    from qtrain_cli.training.trainee import Outputs

    scores = torch.randn(16, 3, generator=torch.Generator().manual_seed(1))
    batch = batches().at(0)
    batch = replace(batch, mixed=Mixed(batch.targets.roll(1), 0.3))
    loop = object.__new__(_Loop)
    loop.steps = 1
    loop.course = SimpleNamespace(teach=lambda batch: None, objective=Objective("classification", 0.0, 1.0))
    soft = 0.3 * torch.eye(3)[batch.targets] + 0.7 * torch.eye(3)[batch.mixed.targets]
    expected = torch.nn.functional.cross_entropy(scores, soft)
    assert torch.allclose(loop.loss_of(Outputs(scores), batch), expected)


WORDS = ("--layers", "4", "--epochs", "2", "--augment", "flip,crop,mixup")


@pytest.fixture
def compressed(cli, digits, tmp_path):
    def run(out: str, *more: str) -> Path:
        done = cli(
            "compress", digits / "digits_cnn_module.pt", "--data", digits / "digits.npz", *WORDS,
            "-o", tmp_path / out, *more,
        )  # fmt: skip
        assert done.code == 0, done.err
        assert "training batches are augmented: flip, crop, mixup" in done.err
        return tmp_path / out

    return run


def test_an_augmented_run_repeats_bit_for_bit_and_its_test_rows_are_what_they_were(compressed, cli):
    one, again = compressed("a.qtrain"), compressed("b.qtrain")
    assert one.read_bytes() == again.read_bytes()
    record = json.loads(cli("report", one, "--json").out)
    assert record["teacher_test_accuracy"] > 0.9 and record["train_accuracy"] is not None


def test_an_augmented_run_goes_on_where_it_was_stopped(compressed, monkeypatch, cli, digits, tmp_path):
    from qtrain_cli.training import loop
    from qtrain_cli.training.stopping import stop_requests

    whole = compressed("whole.qtrain").read_bytes()
    steps = []

    class Stopping:
        def __init__(self, patient):
            assert not patient

        def __enter__(self):
            self._inner = stop_requests()
            self._event = self._inner.__enter__()
            return self

        def __exit__(self, *found):
            return self._inner.__exit__(*found)

        def is_set(self):
            steps.append(None)
            return len(steps) == 6

    monkeypatch.setattr(loop, "stop_requests", Stopping)
    words = ("compress", digits / "digits_cnn_module.pt", "--data", digits / "digits.npz", *WORDS)
    assert cli(*words, "-o", tmp_path / "part.qtrain").code == 130
    monkeypatch.undo()
    done = cli(*words, "-o", tmp_path / "part.qtrain", "--resume")
    assert done.code == 0, done.err
    assert (tmp_path / "part.qtrain").read_bytes() == whole


def test_another_augmentation_is_another_run(cli, digits, tmp_path, compressed):
    out = compressed("a.qtrain")
    done = cli(
        "compress", digits / "digits_cnn_module.pt", "--data", digits / "digits.npz", *WORDS[:4],
        "--augment", "flip", "-o", out, "--resume",
    )  # fmt: skip
    assert done.code == 2 and "is the result of another run" in done.err


@pytest.mark.parametrize(
    ("name", "said"), [("blur", "--augment is 'blur'"), ("flip,flip", "names one twice")]
)
def test_an_augmentation_that_is_none(cli, digits, tmp_path, name, said):
    done = cli("compress", digits / "digits_cnn_module.pt", "--data", "x.npz", "--augment", name)
    assert done.code == 2 and said in done.err
