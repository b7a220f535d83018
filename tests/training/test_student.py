"""A student in training: alignment, the running average that teaches it, and what its circuits cost."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from trainees import (
    BOTH,
    CLASSICAL,
    HYBRID,
    LABELS,
    TRAIN_ROWS,
    Stopped,
    cut_at,
    student_problem,
)

from qtrain_cli.data import Normalisation
from qtrain_cli.models.call import predict
from qtrain_cli.quantum.estimators import ESTIMATORS
from qtrain_cli.settings import FitSettings
from qtrain_cli.students.layout import Execution
from qtrain_cli.training import loop as loop_module
from qtrain_cli.training.alignment import ALIGN_LOSSES, Alignment, projection
from qtrain_cli.training.course import Answers
from qtrain_cli.training.student import EVALUATIONS, Taught, of_student

QNN = "qnn:qubits=3,layers=2"
SHOTS = Execution("parameter-shift", 20)
PREPARE, FIT = Normalisation(), FitSettings(batch_size=50)


@pytest.fixture
def make(rows, teacher):
    """``make(text, **changes)``: a student taught by the network."""
    return lambda text=HYBRID, **changes: student_problem(text, teacher, rows, **changes)


def begun(problem):
    trainee = problem.begin(FIT)
    return trainee, problem.course(FIT, trainee)


def copies(named):
    return {name: part.detach().clone() for name, part in named.items()}


# --- parameters and outputs --------------------------------------------------------------------------------


@pytest.mark.parametrize("align", [None, "2"])
def test_its_parameters_are_the_students_and_the_projections(make, align):
    trainee, _ = begun(make(align=align))
    own = {f"student.{name}" for name, _ in trainee.module.named_parameters()}
    extra = {"projection.weight", "projection.bias"} if align else set()
    assert trainee.parameters().keys() == own | extra
    assert of_student(trainee.parameters()).keys() == dict(trainee.module.named_parameters()).keys()
    assert trainee.own().keys() == dict(trainee.module.named_parameters()).keys()
    assert not any(part.requires_grad for part in trainee.own().values())
    assert trainee.begin(0, 3) is False


@pytest.mark.parametrize("text", [HYBRID, CLASSICAL, QNN])
def test_its_outputs_are_those_of_the_module(make, text):
    trainee, course = begun(make(text))
    batch = course.batches.at(0)
    found = trainee.outputs(batch)
    assert found.penalty is None and trainee.module.training
    assert torch.equal(found.scores, trainee.module(batch.inputs))
    assert trainee.exactly() is None
    predicted = trainee.predict(batch.raw, course.prepare)
    torch.testing.assert_close(predicted, found.scores, rtol=1e-5, atol=1e-6)


# --- alignment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ALIGN_LOSSES)
def test_the_penalty_is_the_weighted_distance_of_projected_features(make, loss):
    trainee, course = begun(make())
    layer, taught = projection(3, 4, 0), torch.randn(TRAIN_ROWS, 4)
    trainee.alignment = Alignment(Answers(lambda inputs: inputs, taught), layer, loss, 0.3)
    batch = course.batches.at(1)
    found = trainee.outputs(batch)
    with torch.no_grad():
        g, t = layer(trainee.module.features(batch.inputs)), taught[batch.rows]
        if loss == "mse":
            expected = ((g - t) ** 2).mean()
        elif loss == "cosine":
            expected = 1 - ((g * t).sum(1) / (g.norm(dim=1) * t.norm(dim=1))).mean()
        else:
            g, t = g - g.mean(0), t - t.mean(0)
            expected = 1 - (g.T @ t).norm() ** 2 / ((g.T @ g).norm() * (t.T @ t).norm())
    torch.testing.assert_close(found.penalty.detach(), 0.3 * expected, rtol=1e-4, atol=1e-6)


def test_the_penalty_is_added_to_the_loss_and_reaches_student_and_projection(make, run_fit, monkeypatch):
    losses, loss_of = [], loop_module._Loop.loss_of

    def spy(loop, outputs, batch):
        found = loss_of(loop, outputs, batch)
        alone = loss_of(loop, replace(outputs, penalty=None), batch)
        losses.append((found.item(), alone.item(), outputs.penalty.item()))
        return found

    monkeypatch.setattr(loop_module._Loop, "loss_of", spy)
    fitted, seen = run_fit(make(align="2"), epochs=1)
    for (whole, alone, penalty), step in zip(losses, seen, strict=True):
        assert whole == pytest.approx(alone + penalty, abs=1e-6) and penalty > 0.01
        assert step.loss == whole
    trainee, course = begun(make(align="2"))
    trainee.outputs(course.batches.at(0)).penalty.backward()
    assert all(part.grad.abs().sum() > 0 for part in trainee.alignment.projection.parameters())
    assert trainee.module.circuit.theta.grad.abs().sum() > 0
    assert fitted.trained.parameters.keys() == trainee.parameters().keys()
    assert of_student(fitted.trained.parameters).keys() == trainee.own().keys()


def test_alignment_pulls_features_to_the_teachers(make, run_fit):
    """The same student with and without, its penalty measured afterwards."""

    def penalties(weight):
        problem = make(CLASSICAL, align="2")
        trainee, course = begun(problem)
        trainee.alignment = replace(trainee.alignment, weight=weight)
        run_fit(replace(problem, begin=lambda fit: trainee), epochs=10, name=f"w{weight}")
        trainee.alignment = replace(trainee.alignment, weight=1.0)
        return trainee.outputs(course.batches.at(0)).penalty.item()

    assert penalties(5.0) < 0.7 * penalties(1e-9)


# --- running average ---------------------------------------------------------------------------------------


def followed(history, decay):
    """An independent loop over the student's parameters as each step left them, k counted from 0.

    The first are those of the start.
    """
    mean = {name: part.double() for name, part in history[0].items()}
    for k, present in enumerate(history[1:]):
        d = min(decay, k / (k + 10))
        mean = {name: d * part + (1 - d) * present[name].double() for name, part in mean.items()}
    return mean


@pytest.mark.parametrize(
    ("text", "how", "decay"),
    [*((CLASSICAL, Execution(), decay) for decay in (0.3, 0.9, 0.999)), (HYBRID, SHOTS, 0.9)],
)
def test_the_running_average_follows_every_step(make, run_fit, text, how, decay):
    """At each step, what teaches is the average of all that came before; with shots a batch is seen twice."""
    problem, history, taught = make(text, decay=decay, execution=how), [], []
    begin = problem.begin

    def watched(fit):
        trainee = begin(fit)
        outputs = trainee.outputs

        def spy(batch):
            if len(history) == batch.step:
                history.append(copies(trainee.own()))
            found = outputs(batch)
            taught.append((batch.step, copies(dict(trainee.mean.module.named_parameters()))))
            return found

        trainee.outputs = spy
        return trainee

    run_fit(replace(problem, begin=watched), epochs=3)
    views = 2 if how.shots else 1
    assert [step for step, _ in taught] == [step for step in range(12) for _ in range(views)]
    for step, found in taught:
        expected = followed(history[: step + 1], decay)
        for name, part in found.items():
            torch.testing.assert_close(part.double(), expected[name], rtol=1e-4, atol=1e-6)
    assert any(not torch.allclose(taught[-1][1][name], part) for name, part in history[-1].items())


def test_it_teaches_by_its_average_and_not_by_itself(make):
    trainee, course = begun(make(decay=0.9))
    batch = course.batches.at(0)
    trainee.outputs(batch)
    for part in trainee.module.parameters():
        part.detach().add_(0.3)
    state = dict(trainee.mean.module.named_parameters())
    expected = predict(trainee.module, state, batch.raw, PREPARE)
    found = course.teach(batch)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found, trainee.module(batch.inputs), atol=1e-2)
    assert not found.requires_grad


def test_a_young_average_forgets_its_random_start(make):
    """Nothing is left of it after one step, and of that 1 / 11 after another."""
    trainee, course = begun(make(decay=0.999))
    trainee.outputs(course.batches.at(0))
    start = copies(trainee.own())
    for step, moved in ((1, 1.0), (2, 1.0 / 11 + 2 * 10 / 11)):
        for part in trainee.module.parameters():
            part.detach().add_(1.0)
        trainee.outputs(course.batches.at(step))
        for name, part in trainee.mean.module.named_parameters():
            torch.testing.assert_close(part.detach(), start[name] + moved, rtol=1e-5, atol=1e-5)


def test_without_a_decay_there_is_no_average(make):
    trainee, _ = begun(make())
    assert trainee.mean is None and trainee.state().keys() == {EVALUATIONS}
    averaging, _ = begun(make(decay=0.5))
    names = {f"mean.module.{name}" for name in averaging.own()}
    assert names <= averaging.state().keys()


# --- what is shown -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_the_loss_that_is_shown_is_that_without_shots(make, run_fit, monkeypatch, decay):
    """Step by step that of the same parameters in a circuit without shots, whatever the gradient takes; so is
    what the student's own average teaches."""
    exact, trained = [], []
    loop_loss, step = loop_module._Loop.loss_of, loop_module._Loop.step

    def spy(loop, batch, shown):
        circuit = loop.trainee.module.circuit
        with torch.no_grad(), circuit.without_shots():
            exact.append(loop_loss(loop, loop.trainee.outputs(batch), batch).item())
        circuit.take_count()
        found = step(loop, batch, shown)
        trained.append(found.loss)
        return found

    monkeypatch.setattr(loop_module._Loop, "step", spy)
    _, seen = run_fit(make(execution=SHOTS, decay=decay), epochs=1)
    assert [one.loss for one in seen] == pytest.approx(exact, abs=1e-6)
    assert all(one != pytest.approx(other, abs=1e-6) for one, other in zip(trained, exact, strict=True))


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_what_is_shown_draws_nothing_and_changes_nothing(make, decay):
    trainee, course = begun(make(execution=SHOTS, align="2", decay=decay))
    batch = course.batches.at(0)
    before, how = torch.get_rng_state(), trainee.module.circuit.execution

    def shown():
        with trainee.exactly(), torch.no_grad():
            return trainee.outputs(batch), course.teach(batch)

    (found, taught), (again, retaught) = shown(), shown()
    assert torch.equal(found.scores, again.scores) and torch.equal(found.penalty, again.penalty)
    assert torch.equal(taught, retaught)
    assert torch.equal(torch.get_rng_state(), before)
    assert trainee.module.circuit.execution == how and int(trainee.state()[EVALUATIONS]) == 0
    assert not torch.equal(trainee.outputs(batch).scores, found.scores)
    assert not decay or not torch.equal(course.teach(batch), taught)


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_a_run_learns_the_same_whether_its_loss_is_shown_or_not(make, run_fit, monkeypatch, decay):
    shown, _ = run_fit(make(execution=SHOTS, decay=decay))
    monkeypatch.setattr(Taught, "exactly", lambda trainee: None)
    hidden, _ = run_fit(make(execution=SHOTS, decay=decay))
    for name, part in (shown.trained.parameters | shown.trained.state).items():
        assert torch.equal(part, (hidden.trained.parameters | hidden.trained.state)[name])


# --- circuits ----------------------------------------------------------------------------------------------


def circuits_of_a_step(trainee, rows):
    """Circuits that a step of so many rows takes, told by what it does in a module of its own."""
    module, how = trainee.module, trainee.module.circuit.execution
    module.circuit.take_count()
    module(torch.rand(rows, 1, 8, 8)).sum().backward()
    taken = module.circuit.take_count()
    # The state of each sample once; measured, the shifted ones besides.
    assert taken == rows if how.gradient == "adjoint" else taken > rows
    return taken


@pytest.mark.parametrize(
    "how", [Execution(), Execution("parameter-shift"), SHOTS, Execution("spsa", 20), Execution("spsa")]
)
@pytest.mark.parametrize("align", [None, "2"])
def test_the_circuits_of_the_steps_are_counted_and_no_others(make, run_fit, how, align):
    """Neither those of validation nor those that only show a loss; alignment takes the same features."""
    assert how.gradient in ESTIMATORS
    problem = make(execution=how, align=align)
    fitted, seen = run_fit(problem)
    expected = len(seen) * circuits_of_a_step(problem.begin(FIT), 50)
    assert int(fitted.trainee.state()[EVALUATIONS]) == expected
    assert int(fitted.trained.state[EVALUATIONS]) <= expected


@pytest.mark.parametrize("how", [Execution(), SHOTS, Execution("spsa", 20)])
def test_a_running_average_costs_a_circuit_a_sample_more(make, run_fit, how):
    problem = make(decay=0.9, execution=how)
    fitted, seen = run_fit(problem)
    own = circuits_of_a_step(problem.begin(FIT), 50)
    assert int(fitted.trainee.state()[EVALUATIONS]) == len(seen) * (own + 50)


def test_a_classical_student_has_no_circuits(make, run_fit):
    fitted, _ = run_fit(make(CLASSICAL))
    assert int(fitted.trainee.state()[EVALUATIONS]) == 0


@pytest.mark.parametrize(("how", "step"), [(Execution(), 1), (Execution(), 4), (SHOTS, 3), (SHOTS, 6)])
def test_the_count_goes_on_through_a_checkpoint(make, run_fit, every_step, how, step):
    def run(**given):
        return run_fit(make(execution=how, decay=0.9), **given)

    whole, _ = run(name="whole")
    with pytest.raises(Stopped):
        run(show=cut_at(step))
    again, seen = run(resume=True)
    assert seen[0].step == step
    assert again.trainee.state()[EVALUATIONS] == whole.trainee.state()[EVALUATIONS] > 0


def test_circuits_before_the_training_are_not_its_own(make):
    """What asked for a shape of features, say."""
    trainee, _ = begun(make())
    trainee.module(torch.rand(7, 1, 8, 8))
    fresh = Taught(trainee.module)
    assert int(fresh.state()[EVALUATIONS]) == 0


# --- nobody teaches ----------------------------------------------------------------------------------------


def test_without_a_teacher_labels_alone_are_learned(rows, run_fit, teacher):
    alone = student_problem(CLASSICAL, None, rows, LABELS)
    with_one = student_problem(CLASSICAL, teacher, rows, LABELS)
    one, other = run_fit(alone, name="a")[0], run_fit(with_one, name="b")[0]
    assert one.bits == other.bits
    taught = run_fit(student_problem(CLASSICAL, teacher, rows, BOTH), name="c")[0]
    assert taught.bits != one.bits and isinstance(one.trainee.module, nn.Module)


@pytest.mark.parametrize("text", [HYBRID, QNN])
def test_a_student_may_multiply_in_bfloat16_but_its_circuit_does_not(make, text):
    found = {}
    for precision in ("float32", "bf16"):
        fit = replace(FIT, precision=precision)
        trainee = make(text).begin(fit)
        given = []
        trainee.module.circuit.register_forward_hook(
            lambda layer, args, made, found=given: found.append(made)
        )
        batch = make(text).course(FIT, trainee).batches.at(0)
        scores = trainee.outputs(batch).scores
        scores.square().sum().backward()
        assert scores.dtype == given[0].dtype == trainee.module.circuit.theta.grad.dtype == torch.float32
        found[precision] = scores.detach()
    assert (found["float32"] - found["bf16"]).norm() / found["float32"].norm() < 0.05
    assert not torch.equal(*found.values())
