"""The loop, for all that it trains: it learns, keeps to its rows, and resumed repeats the undisturbed run."""

import math
import os
import re
import signal
import threading
from dataclasses import replace

import pytest
import torch
from torch import nn
from trainees import (
    CLASSICAL,
    IDENTITY,
    KINDS,
    LABELS,
    Normalised,
    Stopped,
    cut_at,
    learner_of,
    method_problem,
    our_problem,
    problem_of,
    student_problem,
    toy_problem,
)

from qtrain_cli.errors import BadInput, Interrupted, RunFailed
from qtrain_cli.files.checkpoint import load_checkpoint
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training import loop as loop_module
from qtrain_cli.training import recovery as recovery_module
from qtrain_cli.training.descent import Rate

CHANCE = 0.1
every_kind = pytest.mark.parametrize("kind", KINDS)
#: The two that give a model its tensors.
METHODS = pytest.mark.parametrize("kind", KINDS[:2])


def with_module(kind, module, rows, **changes):
    """The problem of a method with this model."""
    if kind == "ours":
        return our_problem(module, rows, **changes)
    return method_problem("subspace", module, {"k": 40, "seed": 0}, rows, **changes)


def scores_of(seen):
    return [step.validation for step in seen if step.validation is not None]


# --- learning -------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("distill", [0.0, 0.9])
def test_the_loss_falls_and_accuracy_is_far_above_chance(teacher, rows, run_fit, kind, distill):
    """A teacher alone is below."""
    problem = learner_of(kind, teacher, rows, objective=Objective("classification", distill, 4.0))
    fitted, seen = run_fit(problem, epochs=50)
    first, last = (sum(step.loss for step in part) / 4 for part in (seen[:4], seen[-4:]))
    assert last < 0.6 * first
    assert fitted.score > 6 * CHANCE
    assert (len(seen), seen[-1].step, seen[-1].steps, seen[-1].epoch) == (200, 200, 200, 50)


@every_kind
def test_the_teacher_alone_is_enough(teacher, rows, run_fit, kind):
    images, labels = rows
    misleading = (images, torch.cat([labels[:200] * 0, labels[200:]]))
    alone = learner_of(kind, teacher, misleading, objective=Objective("classification", 1.0, 4.0))
    assert run_fit(alone, epochs=20)[0].score > 4 * CHANCE
    without = learner_of(kind, teacher, misleading, objective=LABELS)
    assert run_fit(without, epochs=10)[0].trained.history[-1][1] < 2 * CHANCE


@every_kind
@pytest.mark.parametrize(("columns", "distill"), [(None, 0.0), (None, 0.5), (1, 1.0), (2, 0.5)])
def test_a_regression_beats_the_constant_predictor(run_fit, kind, columns, distill):
    torch.manual_seed(0)
    inputs = torch.rand(240, 3) * 2 - 1
    true = torch.stack([inputs[:, 0] - inputs[:, 1], inputs[:, 2]], 1)
    given = inputs, true[:, 0] if columns is None else true[:, :columns]
    module = nn.Linear(3, columns or 1)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]])[: columns or 1])
        module.bias.zero_()
    objective = Objective("regression", distill, 4)
    problem = {
        "ours": lambda: our_problem(module, given, layers=6, objective=objective),
        "rival": lambda: method_problem("quantisation", module, {"bits": 8}, given, objective),
        "student": lambda: student_problem(
            CLASSICAL.replace("qubits=6", "qubits=3"), module, given, objective, outputs=columns or 1
        ),
    }[kind]()
    fitted, seen = run_fit(problem, epochs=40)
    constant = (problem.validation.targets - problem.train.targets.mean(0)).square().mean()
    assert fitted.score < 0.3 * constant
    assert seen[0].word == "error"


@every_kind
def test_the_history_is_each_epochs_mean_loss_and_validation_score(teacher, rows, run_fit, kind):
    fitted, seen = run_fit(problem_of(kind, teacher, rows), epochs=3)
    history = fitted.trained.history
    for epoch, (loss, score) in enumerate(history):
        steps = seen[4 * epoch : 4 * epoch + 4]
        assert loss == pytest.approx(sum(step.loss for step in steps) / 4)
        assert score == steps[-1].validation
    assert len(history) == 3 and all(math.isfinite(value) for row in history for value in row)
    assert fitted.trained.seconds > 0
    assert run_fit(problem_of(kind, teacher, rows), epochs=1, batch_size=200)[0].trained.seconds is None


# --- rows and states --------------------------------------------------------------------------------------


@every_kind
def test_the_best_state_by_validation_is_returned_not_the_last(teacher, rows, run_fit, kind):
    images, labels = (part[200:] for part in rows)
    # The better the student, the worse it does on validation rows with the next digit's label.
    problem = learner_of(kind, teacher, rows, validation=(images, (labels + 1) % 10))
    slowly = {"lr": 0.02} if kind == "rival" else {}  # so that its rounded epochs still learn
    fitted, seen = run_fit(problem, epochs=30, **slowly)
    scores = scores_of(seen)
    assert len(scores) == 30
    counted = scores[18:] if kind == "rival" else scores  # those on the grid
    assert scores[-1] < max(counted)
    assert fitted.score == max(counted) == scored(problem, fitted)


def scored(problem, fitted):
    """The validation score of the state that was returned, in the trainee's own words."""
    for name, part in fitted.trainee.parameters().items():
        part.detach().copy_(fitted.trained.parameters[name])
    for name, part in fitted.trainee.state().items():
        part.copy_(fitted.trained.state[name])
    outputs = fitted.trainee.predict(problem.validation.inputs, lambda images: images / 255)
    return problem.objective.score(outputs, problem.validation.targets)


@every_kind
def test_training_sees_the_training_rows_and_no_others(teacher, rows, run_fit, kind):
    seen, known = {True: set(), False: set()}, {}
    hooked = lambda part: part.register_forward_pre_hook(  # noqa: E731
        lambda module, inputs: seen[module.training].update(rows_of(inputs[0]))
    )

    def watched(student):
        hooked(student.front)
        return student

    changes = {"changed": watched} if kind == "student" else {}
    handle = hooked(teacher)
    try:
        problem = learner_of(kind, teacher, rows, **changes)
        known = {name: rows_of(getattr(problem, name).inputs / 255) for name in ("train", "validation")}
        seen[False].clear()  # what a scene asks for the shape of the outputs
        run_fit(problem)
    finally:
        handle.remove()
    assert seen[True] == known["train"]
    assert seen[False] == known["train"] | known["validation"]


def rows_of(images):
    return {image.float().numpy().tobytes() for image in images}


def test_what_is_best_is_forgotten_when_the_trainee_says_so(rows, run_fit, monkeypatch):
    """A score that nothing beats, before the second of three epochs of another kind."""
    validate = loop_module._Loop.validate

    def spy(loop):
        found = validate(loop)
        if loop.run.step == 4:
            loop.run.best_score = 2.0
        return found

    monkeypatch.setattr(loop_module._Loop, "validate", spy)
    fitted, seen = run_fit(toy_problem(rows, anew=1), epochs=3)
    assert fitted.score == max(scores_of(seen)[1:])
    assert run_fit(toy_problem(rows, anew=9), epochs=3)[0].score == 2.0


def test_a_moving_temperature_ends_at_its_end_and_goes_on_where_it_was(teacher, rows, run_fit, monkeypatch):
    told = []
    loss = Objective.loss
    monkeypatch.setattr(
        Objective, "loss", lambda self, *given: (told.append(self.temperature), loss(self, *given))[1]
    )
    moving = Objective("classification", 0.9, 16.0, temperature_end=0.25)
    whole, _ = run_fit(learner_of("ours", teacher, rows, objective=moving), name="whole")
    steps = [16.0 * (0.25 / 16.0) ** (step / 7) for step in range(8)]
    assert told == pytest.approx(steps) and (told[0], told[-1]) == (16.0, 0.25)
    with pytest.raises(Stopped):
        run_fit(learner_of("ours", teacher, rows, objective=moving), show=cut_at(5))
    resumed, _ = run_fit(learner_of("ours", teacher, rows, objective=moving), resume=True)
    assert told[-1] == 0.25
    for name, part in whole.trained.parameters.items():
        assert torch.equal(part, resumed.trained.parameters[name])


# --- what cannot be trained ------------------------------------------------------------------------------


@every_kind
def test_a_run_that_diverges_ends_and_keeps_the_state(teacher, rows, run_fit, tmp_path, kind):
    lr = {"ours": 1e30, "rival": 1e30, "student": 1e38}[kind]
    with pytest.raises(RunFailed) as caught:
        run_fit(learner_of(kind, teacher, rows), lr=lr)
    path = tmp_path / "run.ckpt"
    assert caught.value.exit_code == 1
    assert re.search(
        r"the (loss|gradient) is not finite at step [23] \(epoch 1\); the last good state",
        caught.value.message,
    )
    assert str(path) in caught.value.message
    assert "lower --lr" in caught.value.advice
    assert load_checkpoint(path, IDENTITY).state["step"] == 0


@every_kind
def test_no_step_is_taken_with_a_gradient_above_the_limit(teacher, rows, run_fit, monkeypatch, kind):
    norms, check = [], loop_module._Loop.check

    def watched(loop, loss):
        check(loop, loss)
        norms.append(torch.cat([part.grad.flatten() for part in loop.trained]).norm().item())

    monkeypatch.setattr(loop_module._Loop, "check", watched)
    problem = problem_of(kind, teacher, rows)
    if kind == "rival":
        problem = replace(problem, rate=replace(problem.rate, clip=0.3))
    run_fit(problem)
    assert max(norms) == pytest.approx(problem.rate.clip, abs=1e-4), "some step was too long"


@every_kind
def test_without_a_limit_gradients_stay_as_they_are(teacher, rows, run_fit, monkeypatch, kind):
    clip, same = nn.utils.clip_grad_norm_, []

    def watched(tensors, most):
        before = [tensor.grad.clone() for tensor in tensors]
        norm = clip(tensors, most)
        same.append(all(torch.equal(tensor.grad, old) for tensor, old in zip(tensors, before, strict=True)))
        return norm

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", watched)
    problem = problem_of(kind, teacher, rows)
    run_fit(replace(problem, rate=Rate(problem.rate.lr)))
    assert same == [True] * 8


class Kinked(nn.Linear):
    """Finite outputs whose gradient is not: d sqrt(0) is infinite."""

    def forward(self, x):
        return super().forward(x.flatten(1)) + (self.bias * 0).square().sqrt()


@every_kind
def test_a_gradient_that_is_not_finite_reaches_no_checkpoint(rows, run_fit, tmp_path, every_step, kind):
    def kink(student):
        student.head = Kinked(student.head.in_features, 10)
        return student

    problem = (
        student_problem(CLASSICAL, None, rows, LABELS, changed=kink)
        if kind == "student"
        else with_module(kind, Kinked(64, 10), rows)
    )
    with pytest.raises(RunFailed, match="the gradient is not finite at step 1"):
        run_fit(problem)
    checkpoint = load_checkpoint(tmp_path / "run.ckpt", IDENTITY)
    assert all(bool(tensor.isfinite().all()) for tensor in checkpoint.tensors.values())


def test_a_loss_that_is_not_finite_ends_a_run_whatever_its_gradient(rows, run_fit, tmp_path, every_step):
    """A constant beside it has no gradient."""
    problem = toy_problem(rows)

    def begin(fit):
        trainee = problem.begin(fit)
        outputs = trainee.outputs
        trainee.outputs = lambda batch: replace(outputs(batch), penalty=torch.tensor(math.inf))
        return trainee

    with pytest.raises(RunFailed, match="the loss is not finite at step 1"):
        run_fit(replace(problem, begin=begin))
    assert load_checkpoint(tmp_path / "run.ckpt", IDENTITY).state["step"] == 0


class Moody(nn.Linear):
    """One thing in evaluation, another in training."""

    def __init__(self, in_training):
        super().__init__(64, 10)
        self.in_training = in_training

    def forward(self, x):
        outputs = super().forward(x.flatten(1))
        return self.in_training(outputs) if self.training else outputs


def fail(outputs):
    raise KeyError("aux")


@METHODS
@pytest.mark.parametrize(
    ("in_training", "message"),
    [
        (lambda outputs: (), "returns a tuple in training mode for 50 inputs of shape"),
        (lambda outputs: outputs[:1], r"returns \[1, 10\] in training mode for 50 inputs"),
        (lambda outputs: outputs.detach(), "outputs do not depend on the generated weights"),
        (fail, r"does not take 50 inputs of shape \[1, 8, 8\] in training mode \(KeyError: 'aux'\)"),
    ],
)
def test_a_model_that_cannot_be_trained_through_is_bad_input(rows, run_fit, kind, in_training, message):
    with pytest.raises(BadInput, match=message):
        run_fit(with_module(kind, Moody(in_training), rows))


@METHODS
def test_batches_of_one_row_are_refused_by_batchnorm_with_advice(rows, run_fit, kind):
    with pytest.raises(BadInput, match="Expected more than 1 value per channel") as caught:
        run_fit(with_module(kind, Normalised(), rows), batch_size=1)
    assert "--batch-size" in caught.value.advice


# --- stopping and going on -------------------------------------------------------------------------------


def changing(kind, teacher, rows):
    """Of every kind, ours with stored angles too, and a toy."""
    if kind == "raw":
        return our_problem(Normalised(), rows)
    return toy_problem(rows) if kind == "toy" else problem_of(kind, teacher, rows)


@pytest.fixture(scope="module")
def undisturbed():
    return {}


@pytest.mark.parametrize("kind", [*KINDS, "raw", "toy"])
@pytest.mark.parametrize("step", [1, 4, 5, 9, 12])
def test_a_run_cut_off_at_any_step_goes_on_to_the_same_bits(
    teacher, rows, run_fit, every_step, undisturbed, kind, step
):
    """Four steps an epoch, three epochs, a checkpoint after every step; rounding begins in between.

    It goes on from the checkpoint before: of the start, within an epoch, at an epoch's end, before the last.
    """

    def run(**settings):
        return run_fit(changing(kind, teacher, rows), epochs=3, **settings)

    if kind not in undisturbed:
        undisturbed[kind] = run(name="whole")[0].bits
    with pytest.raises(Stopped):
        run(show=cut_at(step))
    torch.manual_seed(99)  # a new process stands elsewhere in its random stream
    fitted, seen = run(resume=True)
    assert [progress.step for progress in seen] == list(range(step, 13))
    assert fitted.bits == undisturbed[kind]


@every_kind
def test_a_finished_runs_checkpoint_gives_its_result_at_once(teacher, rows, run_fit, kind):
    whole, _ = run_fit(problem_of(kind, teacher, rows))
    again, seen = run_fit(problem_of(kind, teacher, rows), resume=True)
    assert seen == [] and again.bits == whole.bits


@pytest.mark.parametrize("kind", [*KINDS, "toy"])
def test_what_is_drawn_follows_from_the_seed(teacher, rows, run_fit, kind):
    found = []
    for place, seed in enumerate((0, 0, 1)):
        torch.manual_seed(place)
        found.append(run_fit(changing(kind, teacher, rows), seed=seed)[0].bits)
    first, again, other = found
    assert first == again != other


def test_every_stream_starts_from_the_seed(rows, run_fit):
    first, again, other = (run_fit(toy_problem(rows), seed=seed)[0].trainee.drawn[0] for seed in (3, 3, 4))
    assert first == again
    assert all(one != two for one, two in zip(first, other, strict=True))


@every_kind
def test_checkpoints_come_by_time(teacher, rows, run_fit, monkeypatch, kind):
    """Each look at the clock is four seconds later, and a checkpoint is free."""
    now, steps = [0.0], []

    def later():
        now[0] += 4
        return now[0]

    def saved(path, checkpoint):
        steps.append(checkpoint.state["step"])
        now[0] -= 4

    monkeypatch.setattr(recovery_module.time, "monotonic", later)
    monkeypatch.setattr(recovery_module, "save_checkpoint", saved)
    run_fit(problem_of(kind, teacher, rows), epochs=2)
    assert steps == [0, 3, 6, 8]


@pytest.mark.parametrize(
    ("kind", "number"), [("ours", signal.SIGINT), ("rival", signal.SIGTERM), ("student", signal.SIGINT)]
)
def test_a_signal_saves_says_how_to_go_on_and_gives_the_handlers_back(
    teacher, rows, run_fit, tmp_path, kind, number
):
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]

    def interrupt(progress):
        if progress.step == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted) as caught:
        run_fit(problem_of(kind, teacher, rows), show=interrupt)
    path = tmp_path / "run.ckpt"
    assert caught.value.message == f"stopped; the state is in '{path}'"
    assert caught.value.advice == "run it again with --resume"
    assert load_checkpoint(path, IDENTITY).state["step"] == 3
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    resumed, whole = run_fit(problem_of(kind, teacher, rows), resume=True), {"name": "whole"}
    assert resumed[0].bits == run_fit(problem_of(kind, teacher, rows), **whole)[0].bits


def test_in_another_thread_it_runs_without_handlers(teacher, make_problem, run_fit):
    done = []
    thread = threading.Thread(target=lambda: done.append(run_fit(make_problem(teacher), epochs=1)))
    thread.start()
    thread.join()
    assert len(done[0][1]) == 4
