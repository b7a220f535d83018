"""A step on a device reads nothing of it, and comes to the same; what is not finite is noticed in time."""

import itertools
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from trainees import (
    BOTH,
    IDENTITY,
    KINDS,
    LABELS,
    MOSTLY,
    Normalised,
    method_problem,
    our_problem,
    problem_of,
    small_network,
)

from qtrain_cli.data import Normalisation, TrainSplit
from qtrain_cli.data.augment import augment_of
from qtrain_cli.errors import RunFailed
from qtrain_cli.models.call import predict
from qtrain_cli.settings import FitSettings
from qtrain_cli.training import loop as loop_module
from qtrain_cli.training.batches import RowBatches
from qtrain_cli.training.course import Answers, Course, nobody
from qtrain_cli.training.devices import moved_to
from qtrain_cli.training.faults import Faults
from qtrain_cli.training.generated import Generated
from qtrain_cli.training.loop import _Loop
from qtrain_cli.training.recovery import Recovery

#: Its tensors have shapes and no numbers: whoever reads one fails.
META = torch.device("meta")


@pytest.fixture
def behind(monkeypatch):
    """The CPU is a device that works behind the process."""
    monkeypatch.setattr(loop_module, "works_behind", lambda device: True)


# --- nothing is read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [float, bool, torch.Tensor.cpu, torch.Tensor.tolist, torch.Tensor.numpy])
def test_whoever_reads_a_number_there_fails(read):
    with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
        read(torch.ones((), device=META) * 2)


def loop_on_meta(problem, tmp_path, trainee, teach, prepare, augment=()):
    fit = FitSettings(epochs=2, batch_size=20, device="cpu", augment=augment)
    made = augment_of(fit.augment, 0, problem.train.inputs, problem.train.targets)
    batches = RowBatches(problem.train, prepare, fit.batch_size, 0, META, made)
    course = Course(batches, problem.validation, prepare, problem.objective, teach)
    return _Loop(trainee, course, fit, problem.rate, Recovery(tmp_path / "x.ckpt", IDENTITY, False))


def generated_on_meta(problem):
    """Ours, or a rival, with its model and all its numbers there; rounded already."""
    scene, chosen = problem.scene, problem.chosen
    chosen.module.to(META)
    teacher = moved_to(chosen.module.state_dict(), META)
    scene = replace(scene, module=chosen.module, teacher=teacher, device=META)
    trainee = Generated(chosen, scene, lambda kept: math.inf)
    for step in trainee.steps.values():
        step.fill_(0.01)
    return trainee, partial(predict, scene.module, scene.teacher, prepare=Normalisation(), there=True)


def steps_on_meta(loop):
    """Some steps, as they are shown."""
    for _ in range(3):
        shown = loop.shown_step(loop.course.batches.at(loop.run.step))
        loop.run.step += 1
        loop.run.loss += shown[0]
        assert all(figure.device == META and figure.shape == () for figure in shown)
        assert all(figure.dtype == torch.float64 for figure in shown)
    with pytest.raises((RuntimeError, NotImplementedError)):
        loop.settle()  # which does read


@pytest.mark.parametrize(
    ("kind", "module", "objective", "augment"),
    [
        *itertools.product(["ours", "rival"], [small_network, Normalised], [LABELS, BOTH], [()]),
        *itertools.product(["ours"], [Normalised], [BOTH], [("flip",), ("mixup",)]),
        *itertools.product(["rival"], [small_network], [LABELS], [("flip",), ("mixup",)]),
    ],
)
def test_a_step_reads_nothing(rows, tmp_path, kind, module, objective, augment):
    if kind == "ours":
        problem = our_problem(module(), rows, bits=4, objective=objective)
    else:
        problem = method_problem("pruning", module(), {"survivors": 300}, rows, objective)
    trainee, ask = generated_on_meta(problem)
    assert trainee.rounds
    teach = nobody if objective is LABELS else Answers(ask)
    steps_on_meta(loop_on_meta(problem, tmp_path, trainee, teach, Normalisation(), augment))


def test_known_answers_are_looked_up_where_they_are(rows, tmp_path):
    problem = our_problem(small_network(), rows, objective=MOSTLY)
    trainee, ask = generated_on_meta(problem)
    known = Answers(ask, torch.zeros(len(problem.train), 10))
    steps_on_meta(loop_on_meta(problem, tmp_path, trainee, known, Normalisation((0.5,), (0.5,))))


def test_a_step_of_tokens_reads_nothing(tmp_path):
    """Batches end with their longest row, which is found before they go there."""
    tokens = torch.randint(1, 9, (60, 12), dtype=torch.int16)
    tokens[:, 8:] = 0
    module = nn.Sequential(Embedded(), nn.Linear(6, 3))
    given = (tokens[:, :2].long(), torch.arange(60) % 3)
    problem = our_problem(module, given, objective=LABELS)
    problem = replace(problem, train=TrainSplit(tokens[:40], given[1][:40]))
    trainee, _ = generated_on_meta(problem)
    prepare = Normalisation(tokens=True, padding=0)
    loop = loop_on_meta(problem, tmp_path, trainee, nobody, prepare)
    assert loop.course.batches.at(0).inputs.shape == (20, 8)
    steps_on_meta(loop)


class Embedded(nn.Module):
    """Tokens (N, L), of whatever type, to the mean of their vectors (N, 6)."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 6)

    def forward(self, tokens):
        return self.table(tokens.long()).mean(1)


# --- and the same comes of it ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_to_the_same_bits(teacher, rows, run_fit, request, kind):
    known, said = run_fit(problem_of(kind, teacher, rows), epochs=3, name="known")
    request.getfixturevalue("behind")
    found, shown = run_fit(problem_of(kind, teacher, rows), epochs=3, name="found")
    assert found.bits == known.bits
    assert any(isinstance(step.loss, torch.Tensor) for step in shown) or kind == "student"  # a drawn loss
    for one, other in zip(said, shown, strict=True):
        assert (one.loss, one.score) == (float(other.loss), float(other.score))
        assert replace(one, loss=0, score=0) == replace(other, loss=0, score=0)


def test_a_run_goes_on_from_a_checkpoint_within_an_epoch(teacher, rows, run_fit, behind, every_step):
    problem = our_problem(Normalised(), rows, bits=4)
    whole, _ = run_fit(problem, epochs=3, name="whole")

    def stop(progress):
        if progress.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit(problem, epochs=3, name="cut", show=stop)
    again, shown = run_fit(problem, epochs=3, name="cut", resume=True)
    assert shown[0].step == 6 and again.bits == whole.bits


# --- faults ----------------------------------------------------------------------------------------------


def test_the_first_fault_is_told():
    faults = Faults(torch.device("cpu"))
    good, bad = torch.tensor(1.0), torch.tensor(math.nan)
    assert faults.read() is None
    faults.note(1, good, good)
    assert faults.read() is None
    faults.note(2, good, torch.tensor(math.inf))
    faults.note(3, bad, good)
    faults.note(4, good, good)
    assert faults.read() == ("gradient", 2)
    faults = Faults(torch.device("cpu"))
    faults.note(7, bad, bad)
    assert faults.read() == ("loss", 7)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_ends_the_run_as_ever(rows, run_fit, tmp_path, monkeypatch, request, what):
    """In the second epoch's second step, of which a device tells at the epoch's end."""
    real = {"loss": _Loop.loss_of, "gradient": _Loop.differentiate}

    def loss_of(self, outputs, batch):
        found = real["loss"](self, outputs, batch)
        return found * math.nan if batch.step == 5 and what == "loss" else found

    def differentiate(self, loss):
        real["gradient"](self, loss)
        if self.run.step == 5 and what == "gradient":
            self.trained[0].grad[0] = math.inf

    monkeypatch.setattr(_Loop, "loss_of", loss_of)
    monkeypatch.setattr(_Loop, "differentiate", differentiate)

    def failing(name):
        with pytest.raises(RunFailed) as caught:
            run_fit(our_problem(small_network(), rows), epochs=4, name=name)
        return caught.value.message.replace(name, ""), caught.value.advice.replace(name, "")

    known = failing("known")
    request.getfixturevalue("behind")
    assert failing("found") == known
    assert f"{what}" in known[0] and "6" in known[0]


def test_no_checkpoint_is_written_of_what_is_not_finite(
    rows, run_fit, tmp_path, monkeypatch, behind, every_step
):
    real = _Loop.loss_of
    monkeypatch.setattr(
        _Loop,
        "loss_of",
        lambda self, outputs, batch: real(self, outputs, batch) * (math.nan if batch.step == 2 else 1),
    )
    written = []
    save = _Loop.save
    monkeypatch.setattr(_Loop, "save", lambda self: (save(self), written.append(self.run.step)))
    with pytest.raises(RunFailed):
        run_fit(our_problem(small_network(), rows), epochs=2)
    assert written == [0, 1, 2]
