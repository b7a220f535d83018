"""The fit: it learns, it keeps to its rows and its tensors, and a resumed run repeats the undisturbed one."""

import os
import re
import signal
import threading
from dataclasses import replace

import pytest
import torch
from artifacts import idle_numbers
from oracles import dead_angles
from torch import nn

from qtrain_cli.errors import BadInput, Interrupted, RunFailed
from qtrain_cli.files.checkpoint import load_checkpoint
from qtrain_cli.methods.generator.angles import angle_codes, angles_fit, start_angles
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.spec import MAPPINGS
from qtrain_cli.models.call import predict
from qtrain_cli.quantum.circuit import ANSATZE
from qtrain_cli.targets.entries import GENERATED
from qtrain_cli.targets.layout import complete, kept_tensors
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training import fit as fit_module
from qtrain_cli.training.rounding import Rounding

CHANCE = 0.1


def whole_state(problem, fitted):
    """The state dictionary that a fitted generator stands for."""
    with torch.no_grad():
        generated = Generator(problem.spec).tensors(fitted.theta, fitted.numbers)
    kept = kept_tensors(problem.spec.layout, problem.teacher)
    return complete(problem.spec.layout, generated, kept | fitted.buffers)


def score(problem, fitted, split=None):
    split = split or problem.validation
    outputs = predict(problem.module, whole_state(problem, fitted), split.inputs, problem.prepare)
    return problem.objective.score(outputs, split.targets)


def bits(fitted):
    tensors = {"theta": fitted.theta, "numbers": fitted.numbers, **fitted.buffers}
    tensors["grid"] = torch.tensor(fitted.grid, dtype=torch.float64)
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


# --- learning -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distill", [0.0, 0.9, 1.0])
def test_the_loss_falls_and_accuracy_is_far_above_chance(teacher, make_problem, run_fit, distill):
    problem = make_problem(teacher, layers=16, objective=Objective("classification", distill, 4.0))
    fitted, seen = run_fit(problem, epochs=50)
    first, last = (sum(step.loss for step in part) / 4 for part in (seen[:4], seen[-4:]))
    assert last < 0.6 * first
    assert score(problem, fitted) > 6 * CHANCE
    assert (len(seen), seen[-1].step, seen[-1].steps, seen[-1].epoch) == (200, 200, 200, 50)


def test_the_teacher_alone_is_enough(teacher, make_problem, run_fit, rows):
    images, labels = rows
    misleading = (images, torch.cat([labels[:200] * 0, labels[200:]]))
    problem = make_problem(teacher, misleading, layers=16, objective=Objective("classification", 1.0, 4.0))
    assert score(problem, run_fit(problem, epochs=30)[0]) > 4 * CHANCE
    alone = make_problem(teacher, misleading, layers=16, objective=Objective("classification", 0.0, 4.0))
    assert score(alone, run_fit(alone, epochs=30)[0]) < 2 * CHANCE


@pytest.mark.parametrize("distill", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("columns", [None, 1, 2])
def test_a_regression_beats_the_constant_predictor(make_problem, run_fit, columns, distill):
    torch.manual_seed(0)
    inputs = torch.rand(240, 3) * 2 - 1
    true = torch.stack([inputs[:, 0] - inputs[:, 1], inputs[:, 2]], 1)
    targets = true[:, 0] if columns is None else true[:, :columns]
    module = nn.Linear(3, columns or 1)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]])[: columns or 1])
        module.bias.zero_()
    problem = make_problem(module, (inputs, targets), layers=6, objective=Objective("regression", distill, 4))
    fitted, seen = run_fit(problem, epochs=60)
    constant = (problem.validation.targets - problem.train.targets.mean(0)).square().mean()
    assert score(problem, fitted) < 0.3 * constant
    assert seen[0].word == "error"


@pytest.mark.parametrize("ansatz", ANSATZE)
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_every_angle_and_every_number_of_the_mapping_is_trained(
    teacher, make_problem, run_fit, rows, ansatz, mapping
):
    given = (rows[0], torch.randn(300, 10, generator=torch.Generator().manual_seed(0)))
    # Not a classification: that does not feel a number added to all scores, as the last bias can be.
    objective = Objective("regression", 0.5, 4.0)
    problem = make_problem(teacher, given, ansatz=ansatz, mapping=mapping, layers=3, objective=objective)
    start = {}

    def first_step(progress):
        raise KeyboardInterrupt

    loop_start = fit_module.start_state

    def spy(*arguments):
        start["run"] = loop_start(*arguments)
        return start["run"]

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fit_module, "start_state", spy)
        run_fit(problem, show=first_step)
    moved = start["run"].theta.detach() - start_angles(problem.spec.circuit, 0).float()
    stayed = start["run"].numbers.grad == 0  # a damped step may be too short for a float32
    assert stayed.nonzero().flatten().tolist() == idle_numbers(problem.spec)
    for place in dead_angles(ansatz, problem.spec.circuit.entangler, 3, problem.spec.circuit.qubits):
        # No probability feels it: rounding alone may move it.
        assert moved[0][place].abs() < 2e-2
        moved[0][place] = 1
    assert torch.all(moved != 0)


# --- tensors ---------------------------------------------------------------------------------------------


class Normalised(nn.Sequential):
    """A small network with BatchNorm and dropout."""

    def __init__(self, dropout=0.2):
        torch.manual_seed(1)
        super().__init__(
            nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(12, 10),
        )  # fmt: skip


def test_batchnorm_statistics_are_the_students_own(make_problem, run_fit):
    problem = make_problem(Normalised(), layers=16, objective=Objective("classification", 0.0, 4.0))
    fitted, seen = run_fit(problem, epochs=20)
    assert sorted(fitted.buffers) == ["2.num_batches_tracked", "2.running_mean", "2.running_var"]
    epochs = fitted.buffers["2.num_batches_tracked"].item() / 4
    scores = [step.validation for step in seen if step.validation is not None]
    assert scores[int(epochs) - 1] == max(scores) == score(problem, fitted)
    assert score(problem, fitted) > 4 * CHANCE
    teachers = {name: problem.teacher[name] for name in fitted.buffers}
    assert problem.teacher["2.num_batches_tracked"] == 0, "the teacher's own statistics were changed"
    assert score(problem, type(fitted)(fitted.theta, fitted.numbers, teachers)) < score(problem, fitted)


class Counting(nn.Module):
    """A layer that assigns its buffer anew in place of changing it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.register_buffer("mean", torch.zeros(10))

    def forward(self, x):
        x = self.linear(x.flatten(1))
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return x - self.mean


def test_a_buffer_that_a_layer_assigns_is_kept(make_problem, run_fit):
    problem = make_problem(Counting())
    fitted, _ = run_fit(problem)
    assert fitted.buffers["mean"].abs().sum() > 0
    assert problem.module.mean.abs().sum() == 0


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.out = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.out(self.second(self.first(x.flatten(1)).relu()).relu())


def test_tied_weights_stay_tied(make_problem, run_fit):
    problem = make_problem(Tied(), layers=4)
    fitted, _ = run_fit(problem, epochs=1)
    state = whole_state(problem, fitted)
    assert state["second.weight"] is state["first.weight"]
    assert problem.spec.layout.generated == 64 * 64 + 64 + 64 + 650


def test_ignored_tensors_and_the_module_stay_as_they_were(teacher, make_problem, run_fit):
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    problem = make_problem(teacher, ignore=("4",))
    state = whole_state(problem, run_fit(problem)[0])
    assert [entry.name for entry in problem.spec.layout.of_role(GENERATED)] == ["2.weight", "2.bias"]
    for name in ("4.weight", "4.bias"):
        assert torch.equal(state[name], before[name])
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_the_best_state_by_validation_is_returned_not_the_last(teacher, make_problem, run_fit, rows):
    images, labels = (part[200:] for part in rows)
    # The better the student, the worse it does on validation rows with the next digit's label.
    problem = make_problem(teacher, layers=16, validation=(images, (labels + 1) % 10))
    fitted, seen = run_fit(problem, epochs=30)
    scores = [step.validation for step in seen if step.validation is not None]
    assert len(scores) == 30
    assert scores[-1] < max(scores)
    assert score(problem, fitted) == max(scores)


def test_training_sees_the_training_rows_and_no_others(teacher, make_problem, run_fit):
    problem = make_problem(teacher)
    known = {name: rows_of(getattr(problem, name).inputs / 255) for name in ("train", "validation")}
    seen = {True: set(), False: set()}
    handle = teacher.register_forward_pre_hook(
        lambda module, inputs: seen[module.training].update(rows_of(inputs[0]))
    )
    try:
        run_fit(problem)
    finally:
        handle.remove()
    assert seen[True] == known["train"]
    assert seen[False] == known["train"] | known["validation"]


def rows_of(images):
    return {image.float().numpy().tobytes() for image in images}


# --- what cannot be trained ------------------------------------------------------------------------------


def test_a_run_that_diverges_ends_and_keeps_the_state(teacher, make_problem, run_fit, tmp_path):
    with pytest.raises(RunFailed) as caught:
        run_fit(make_problem(teacher), lr=1e30)
    path = tmp_path / "run.ckpt"
    assert caught.value.exit_code == 1
    assert re.search(
        r"the (loss|gradient) is not finite at step [23] \(epoch 1\); the last good state",
        caught.value.message,
    )
    assert str(path) in caught.value.message
    assert "lower --lr" in caught.value.advice
    assert load_checkpoint(path, {"test": "identity"}).state["step"] == 0


def test_no_step_is_taken_with_a_gradient_above_the_limit(teacher, make_problem, run_fit, monkeypatch):
    norms, differentiate = [], fit_module._Loop.differentiate

    def watched(loop, loss):
        differentiate(loop, loss)
        run = loop.run
        norms.append(torch.cat((run.theta.grad.flatten(), run.numbers.grad.flatten())).norm().item())

    monkeypatch.setattr(fit_module._Loop, "differentiate", watched)
    run_fit(make_problem(teacher))
    assert max(norms) == pytest.approx(fit_module.MAX_GRADIENT_NORM, abs=1e-4), "some step was too long"


class Kinked(nn.Linear):
    """Finite outputs whose gradient is not: d sqrt(0) is infinite."""

    def forward(self, x):
        return super().forward(x.flatten(1)) + (self.bias * 0).square().sqrt()


def test_a_gradient_that_is_not_finite_reaches_no_checkpoint(make_problem, run_fit, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "SECONDS_BETWEEN_CHECKPOINTS", -1)
    with pytest.raises(RunFailed, match="the gradient is not finite at step 1"):
        run_fit(make_problem(Kinked(64, 10)))
    checkpoint = load_checkpoint(tmp_path / "run.ckpt", {"test": "identity"})
    assert all(bool(tensor.isfinite().all()) for tensor in checkpoint.tensors.values())


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


@pytest.mark.parametrize(
    ("in_training", "message"),
    [
        (lambda outputs: (outputs, outputs), "returns a tuple in training mode for 50 inputs of shape"),
        (lambda outputs: outputs[:1], r"returns \[1, 10\] in training mode for 50 inputs"),
        (lambda outputs: outputs.detach(), "outputs do not depend on the generated weights"),
        (fail, r"does not take 50 inputs of shape \[1, 8, 8\] in training mode \(KeyError: 'aux'\)"),
    ],
)
def test_a_model_that_cannot_be_trained_through_is_bad_input(make_problem, run_fit, in_training, message):
    with pytest.raises(BadInput, match=message):
        run_fit(make_problem(Moody(in_training)))


def test_batches_of_one_row_are_refused_by_batchnorm_with_advice(make_problem, run_fit):
    with pytest.raises(BadInput, match="Expected more than 1 value per channel") as caught:
        run_fit(make_problem(Normalised()), batch_size=1)
    assert "--batch-size" in caught.value.advice


def test_a_teacher_without_finite_outputs_is_refused_before_the_first_step(make_problem, run_fit, tmp_path):
    rows = (torch.tensor([[0.0], [1.0], [float("inf")], [1.0], [1.0], [1.0]]), torch.zeros(6))
    with pytest.raises(BadInput, match="outputs are not finite on this data"):
        run_fit(make_problem(nn.Linear(1, 1), rows, objective=Objective("regression", 0.9, 4.0)))
    assert not list(tmp_path.iterdir())


# --- stopping and going on -------------------------------------------------------------------------------


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def undisturbed_bits():
    return {}


@pytest.mark.parametrize("step", [1, 3, 4, 5, 8, 11, 12])
def test_a_run_cut_off_at_any_step_goes_on_to_the_same_bits(
    make_problem, run_fit, monkeypatch, undisturbed_bits, step
):
    """Four steps an epoch, three epochs, dropout and BatchNorm; a checkpoint after every step."""
    monkeypatch.setattr(fit_module, "SECONDS_BETWEEN_CHECKPOINTS", -1)

    def cut(progress):
        if progress.step == step:
            raise Stopped

    if not undisturbed_bits:
        undisturbed_bits.update(bits(run_fit(make_problem(Normalised()), epochs=3, name="whole")[0]))
    with pytest.raises(Stopped):
        run_fit(make_problem(Normalised()), epochs=3, show=cut)
    torch.manual_seed(99)  # a new process stands elsewhere in its random stream
    fitted, seen = run_fit(make_problem(Normalised()), epochs=3, resume=True)
    assert [progress.step for progress in seen] == list(range(step, 13))
    assert bits(fitted) == undisturbed_bits


@pytest.fixture(scope="module")
def undisturbed_rounded_bits():
    return {}


@pytest.mark.parametrize("step", [4, 7, 8, 9, 11, 12])
def test_a_rounded_run_cut_off_at_any_step_goes_on_to_the_same_bits(
    make_problem, run_fit, monkeypatch, undisturbed_rounded_bits, step
):
    """Four steps an epoch, three epochs, the third with rounded angles: across step 8, where it begins."""
    monkeypatch.setattr(fit_module, "SECONDS_BETWEEN_CHECKPOINTS", -1)

    def cut(progress):
        if progress.step == step:
            raise Stopped

    def run(**settings):
        return run_fit(make_problem(Normalised(), bits=4), epochs=3, **settings)

    if not undisturbed_rounded_bits:
        whole = run(name="whole")[0]
        assert whole.grid > 0
        undisturbed_rounded_bits.update(bits(whole))
    with pytest.raises(Stopped):
        run(show=cut)
    torch.manual_seed(99)
    assert bits(run(resume=True)[0]) == undisturbed_rounded_bits


# --- rounding in the loop --------------------------------------------------------------------------------


def rounded_state(problem, fitted):
    """The state dictionary of the angles that a file holds."""
    rounding = Rounding(problem.spec, 10)
    return whole_state(problem, replace(fitted, theta=rounding.rounded(fitted.theta, fitted.grid)))


def test_the_best_state_is_one_that_was_rounded(teacher, make_problem, run_fit, monkeypatch):
    """Even when a state before it was better: that one could not be stored."""
    problem, validate, scores, grids = make_problem(teacher, bits=4), fit_module._Loop.validate, [], []

    def spy(loop):
        before = loop.run.best_score
        found = validate(loop)
        grids.append(float(loop.run.grid))
        scores.append((before, found, loop.run.best_score))
        if len(scores) == 1:  # the first epoch, as if nothing could be better
            loop.run.best_score = 2.0
        return found

    monkeypatch.setattr(fit_module._Loop, "validate", spy)
    fitted, _ = run_fit(problem, epochs=4)
    assert [grid > 0 for grid in grids] == [False, False, False, True]
    assert scores[2][2] == 2.0 and scores[3][2] == scores[3][1] < 2.0
    assert fitted.grid == grids[3]


def test_what_is_validated_is_what_is_stored(teacher, make_problem, run_fit, monkeypatch):
    problem, validate, scores = make_problem(teacher, bits=3), fit_module._Loop.validate, []
    monkeypatch.setattr(
        fit_module._Loop, "validate", lambda loop: scores.append(validate(loop)) or scores[-1]
    )
    fitted, _ = run_fit(problem, epochs=10)
    outputs = predict(
        problem.module, rounded_state(problem, fitted), problem.validation.inputs, problem.prepare
    )
    found = problem.objective.score(outputs, problem.validation.targets)
    assert found == pytest.approx(max(scores[7:]), abs=1e-6)
    moved = Rounding(problem.spec, 10).moved(fitted.theta)
    assert angles_fit(angle_codes(moved, fitted.grid).flatten().numpy(), 3)


@pytest.mark.parametrize(("bits", "epochs"), [(32, 4), (4, 1)])
def test_angles_that_need_no_rounding_and_a_single_epoch_are_not_rounded(
    teacher, make_problem, run_fit, bits, epochs
):
    fitted, _ = run_fit(make_problem(teacher, bits=bits), epochs=epochs)
    assert fitted.grid == 0


def test_dropout_is_drawn_from_the_seed(make_problem, run_fit):
    problem = make_problem(Normalised())
    first, again, other = (run_fit(problem, seed=seed)[0] for seed in (0, 0, 1))
    assert bits(first) == bits(again) != bits(other)


def test_checkpoints_come_by_time(teacher, make_problem, run_fit, tmp_path, monkeypatch):
    clock = iter(range(0, 100_000, 4))
    monkeypatch.setattr(fit_module.time, "monotonic", lambda: next(clock))
    steps = []
    monkeypatch.setattr(fit_module, "save_checkpoint", lambda path, found: steps.append(found.state["step"]))
    run_fit(make_problem(teacher), epochs=2)
    assert steps == [0, 3, 6]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_says_how_to_go_on_and_gives_the_handlers_back(
    teacher, make_problem, run_fit, tmp_path, number
):
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    problem = make_problem(teacher)

    def interrupt(progress):
        if progress.step == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted) as caught:
        run_fit(problem, show=interrupt)
    path = tmp_path / "run.ckpt"
    assert caught.value.message == f"stopped; the state is in '{path}'"
    assert caught.value.advice == "run it again with --resume"
    assert load_checkpoint(path, {"test": "identity"}).state["step"] == 3
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    assert bits(run_fit(problem, resume=True)[0]) == bits(run_fit(problem, name="whole")[0])


def test_in_another_thread_it_runs_without_handlers(teacher, make_problem, run_fit):
    done = []
    thread = threading.Thread(target=lambda: done.append(run_fit(make_problem(teacher), epochs=1)))
    thread.start()
    thread.join()
    assert len(done[0][1]) == 4
