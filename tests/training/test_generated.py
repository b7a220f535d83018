"""Tensors of a method in training: buffers, ties, what is kept, masks, and the grid of the file."""

import pytest
import torch
from artifacts import idle_numbers
from oracles import dead_angles
from torch import nn
from trainees import CPU, KINDS, LABELS, Normalised, Problem, method_problem, our_problem, small_network

from qtrain_cli.methods.generator.angles import angles_fit, start_angles
from qtrain_cli.methods.generator.plan import ANGLES, MAPPING
from qtrain_cli.methods.generator.spec import MAPPINGS
from qtrain_cli.models.call import predict
from qtrain_cli.quantum.circuit import ANSATZE
from qtrain_cli.settings import FitSettings
from qtrain_cli.settings.fit import PRECISIONS
from qtrain_cli.targets.entries import GENERATED, KEPT
from qtrain_cli.targets.kept import kept_as_stored
from qtrain_cli.targets.layout import complete, kept_tensors
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training import loop as loop_module

CHANCE = 0.1
METHODS = pytest.mark.parametrize("kind", KINDS[:2])


@pytest.fixture
def make_method(rows):
    """``make_method(kind, module, **changes)``: ours or a rival on that model."""

    def make(kind, module, **changes) -> Problem:
        if kind == "ours":
            return our_problem(module, rows, **changes)
        patterns = {name: changes.pop(name) for name in ("targets", "ignore") if name in changes}
        if patterns:
            changes["layout"] = our_problem(module, rows, **patterns).chosen.layout
        plan = {"k": 160, "seed": 0}
        return method_problem("subspace", module, plan, rows, lr=0.05, **changes)

    return make


def buffers_of(fitted):
    return {
        name.removeprefix("buffer."): part
        for name, part in fitted.trained.state.items()
        if name.startswith("buffer.")
    }


def steps_of(fitted):
    found = fitted.trained.state.items()
    return {name.removeprefix("step."): float(part) for name, part in found if name.startswith("step.")}


def numbers_as_stored(problem, fitted):
    """The best state's numbers, by the codes that stand for them."""
    plan, grid, numbers = problem.chosen.plan, problem.chosen.method.grid, dict(fitted.trained.parameters)
    for name, step in steps_of(fitted).items():
        if step:
            codes = grid.coded(plan, name, numbers[name], step)
            numbers[name] = grid.decoded(plan, name, codes, step).float()
    return numbers


def whole_state(problem, fitted, buffers=None):
    """The state dictionary that a best state stands for, put together without the trainee."""
    layout = problem.chosen.layout
    with torch.no_grad():
        made = problem.chosen.method.decode(layout, problem.chosen.plan, CPU)(
            numbers_as_stored(problem, fitted)
        )
    kept = kept_tensors(layout, problem.scene.teacher) | (buffers or buffers_of(fitted))
    return complete(layout, made, kept_as_stored(layout, kept))


def score(problem, fitted, buffers=None):
    state, held = whole_state(problem, fitted, buffers), problem.validation
    outputs = predict(problem.chosen.module, state, held.inputs, lambda images: images / 255)
    return problem.objective.score(outputs, held.targets)


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

    begin = problem.begin

    def spy(fit):
        start["trainee"] = begin(fit)
        return start["trainee"]

    object.__setattr__(problem, "begin", spy)
    with pytest.raises(KeyboardInterrupt):
        run_fit(problem, show=first_step)
    numbers = start["trainee"].parameters()
    moved = numbers[ANGLES].detach() - start_angles(problem.spec.circuit, 0).float()
    stayed = numbers[MAPPING].grad == 0  # a damped step may be too short for a float32
    assert stayed.nonzero().flatten().tolist() == idle_numbers(problem.spec)
    for place in dead_angles(ansatz, problem.spec.circuit.entangler, 3, problem.spec.circuit.qubits):
        # No probability feels it: rounding alone may move it.
        assert moved[0][place].abs() < 2e-2
        moved[0][place] = 1
    assert torch.all(moved != 0)


# --- tensors ---------------------------------------------------------------------------------------------


@METHODS
def test_batchnorm_statistics_are_the_students_own(make_method, run_fit, kind):
    changes = {"layers": 16} if kind == "ours" else {}
    problem = make_method(kind, Normalised(), objective=LABELS, **changes)
    fitted, seen = run_fit(problem, epochs=20)
    buffers = buffers_of(fitted)
    assert sorted(buffers) == ["2.num_batches_tracked", "2.running_mean", "2.running_var"]
    epochs = buffers["2.num_batches_tracked"].item() / 4
    first = problem.chosen.method.grid.first(problem.chosen.plan, 20) % 20
    scores = [step.validation for step in seen if step.validation is not None]
    assert scores[int(epochs) - 1] == max(scores[first:]) == fitted.score == score(problem, fitted)
    assert fitted.score > 4 * CHANCE
    teachers = {name: problem.scene.teacher[name] for name in buffers}
    assert teachers["2.num_batches_tracked"] == 0, "the teacher's own statistics were changed"
    assert score(problem, fitted, teachers) < fitted.score


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


@METHODS
def test_a_buffer_that_a_layer_assigns_is_kept(make_method, run_fit, kind):
    problem = make_method(kind, Counting())
    fitted, _ = run_fit(problem)
    assert buffers_of(fitted)["mean"].abs().sum() > 0
    assert problem.chosen.module.mean.abs().sum() == 0


@METHODS
def test_the_buffers_of_the_model_are_copied(make_method, kind):
    problem = make_method(kind, Normalised())
    problem.begin(FitSettings()).state()["buffer.2.running_mean"].add_(1)
    assert problem.scene.teacher["2.running_mean"].sum() == 0
    assert problem.begin(FitSettings()).state()["buffer.2.running_mean"].sum() == 0


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.out = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.out(self.second(self.first(x.flatten(1)).relu()).relu())


@METHODS
def test_tied_weights_stay_tied(make_method, run_fit, kind):
    problem = make_method(kind, Tied())
    fitted, _ = run_fit(problem, epochs=1)
    made = fitted.trainee.decode(fitted.trainee.rounded())
    for state in (whole_state(problem, fitted), fitted.trainee.whole(made, fitted.trainee.kept)):
        assert state["second.weight"] is state["first.weight"]
    assert problem.chosen.layout.generated == 64 * 64 + 64 + 64 + 650


@METHODS
def test_ignored_tensors_and_the_module_stay_as_they_were(teacher, make_method, run_fit, kind):
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    problem = make_method(kind, teacher, ignore=("4",))
    fitted = run_fit(problem)[0]
    assert [entry.name for entry in problem.chosen.layout.of_role(GENERATED)] == ["2.weight", "2.bias"]
    for name in ("4.weight", "4.bias"):
        assert torch.equal(fitted.trainee.kept[name], before[name])
    made = fitted.trainee.decode(fitted.trainee.rounded())
    assert torch.equal(fitted.trainee.whole(made, fitted.trainee.kept)["4.weight"], before["4.weight"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


@pytest.mark.parametrize(
    ("name", "plan"),
    [("pruning", {"survivors": 900}), ("quantisation", {"bits": 4}), ("low-rank", {"share": 90})],
)
def test_a_model_whose_tensors_numbers_begin_with_stays_as_it_was(teacher, rows, run_fit, name, plan):
    before = {key: tensor.clone() for key, tensor in teacher.state_dict().items()}
    problem = method_problem(name, teacher, plan, rows)
    fitted, _ = run_fit(problem)
    assert not all(torch.equal(part, fitted.trainee.numbers[key]) for key, part in start_of(problem).items())
    assert all(torch.equal(tensor, before[key]) for key, tensor in teacher.state_dict().items())
    assert all(torch.equal(tensor, before[key]) for key, tensor in problem.scene.teacher.items())


def start_of(problem):
    return problem.chosen.method.start(problem.scene, problem.chosen.plan)


def test_kept_tensors_are_scored_as_the_file_gives_them_back(teacher, make_problem):
    layout = make_problem(teacher, ignore=("4",)).chosen.layout
    kept = kept_tensors(layout, teacher.state_dict())
    for entry in layout.of_role(KEPT):
        dtype = torch.float16 if entry.stored == "F16" else torch.float32
        found = kept_as_stored(layout, kept)[entry.name]
        assert torch.equal(found, kept[entry.name].to(dtype).float()) and found.dtype == torch.float32


# --- masks -----------------------------------------------------------------------------------------------


def test_a_rivals_masks_narrow_and_are_part_of_its_state(rows, run_fit):
    problem = method_problem("pruning", Normalised(), {"survivors": 200}, rows)
    fitted, _ = run_fit(problem, epochs=4)
    masks = {name: part for name, part in fitted.trained.state.items() if name.startswith("mask.")}
    assert sum(int(mask.sum()) for mask in masks.values()) == 200
    numbers = numbers_as_stored(problem, fitted)
    masked = {name: numbers[name] * masks[f"mask.{name}"] for name in numbers}
    assert 150 < sum(int(part.count_nonzero()) for part in masked.values()) <= 200
    begun = problem.begin(FitSettings())
    assert all(bool((mask == 1).all()) for name, mask in begun.state().items() if name.startswith("mask."))


# --- the grid --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "first"), [("ours", 3), ("rival", 2)])
def test_the_best_state_is_one_that_was_rounded(teacher, make_method, run_fit, monkeypatch, kind, first):
    """Even when a state before it was better: that one could not be stored."""
    problem = make_method(kind, teacher, **({"bits": 4} if kind == "ours" else {}))
    validate, scores, grids = loop_module._Loop.validate, [], []

    def spy(loop):
        before = loop.run.best_score
        found = validate(loop)
        grids.append({name: float(step) for name, step in loop.trainee.steps.items()})
        scores.append((before, found, loop.run.best_score))
        if len(scores) == 1:  # the first epoch, as if nothing could be better
            loop.run.best_score = 2.0
        return found

    monkeypatch.setattr(loop_module._Loop, "validate", spy)
    fitted, _ = run_fit(problem, epochs=4)
    assert [all(grid.values()) for grid in grids] == [epoch >= first for epoch in range(4)]
    assert [any(grid.values()) for grid in grids] == [epoch >= first for epoch in range(4)]
    assert scores[first - 1][2] == 2.0 and scores[first][2] == scores[first][1] < 2.0
    best = max(range(first, 4), key=lambda epoch: scores[epoch][1])
    assert steps_of(fitted) == grids[best] and fitted.score == scores[best][1]


@METHODS
def test_only_the_first_epoch_on_the_grid_says_that_what_was_best_no_longer_counts(
    teacher, make_method, kind
):
    problem = make_method(kind, teacher, **({"bits": 4} if kind == "ours" else {}))
    trainee, first = problem.begin(FitSettings()), {"ours": 8, "rival": 6}[kind]
    assert [trainee.begin(epoch, 10) for epoch in range(10)] == [epoch == first for epoch in range(10)]


@pytest.mark.parametrize("rival", [None, "subspace", "quantisation", "pruning"])
def test_what_is_validated_is_what_is_stored(teacher, rows, make_problem, run_fit, rival):
    plans = {"subspace": {"k": 160, "seed": 0}, "quantisation": {"bits": 3}, "pruning": {"survivors": 300}}
    problem = (
        method_problem(rival, teacher, plans[rival], rows, room=2500.0)
        if rival
        else make_problem(teacher, bits=3)
    )
    fitted, seen = run_fit(problem, epochs=10)
    masks = fitted.trained.state
    for name, part in fitted.trained.parameters.items():
        part *= masks.get(f"mask.{name}", torch.tensor(1.0))
    assert fitted.score == pytest.approx(score(problem, fitted), abs=1e-6)
    scores = [step.validation for step in seen if step.validation is not None]
    first = problem.chosen.method.grid.first(problem.chosen.plan, 10)
    assert fitted.score == max(scores[first:])
    if rival is None:
        plan, grid = problem.chosen.plan, problem.chosen.method.grid
        codes = grid.coded(plan, ANGLES, fitted.trained.parameters[ANGLES], steps_of(fitted)[ANGLES])
        assert angles_fit(codes.flatten().numpy(), 3)


def test_the_grid_is_fitted_to_the_room_beside_the_present_buffers(rows):
    """A tighter room is a coarser grid; what is kept is handed over as it is now."""
    asked = []

    def begun(room):
        problem = method_problem("subspace", Normalised(), {"k": 160, "seed": 0}, rows)
        trainee = problem.begin(FitSettings())
        trainee.room = lambda kept: asked.append(kept["2.running_mean"].clone()) or room
        trainee.buffers["2.running_mean"].fill_(3.0)
        trainee.numbers["d"].detach().normal_(generator=torch.Generator().manual_seed(0))
        trainee.begin(0, 1)
        return float(trainee.steps["d"])

    assert begun(500.0) > 1.5 * begun(900.0) > 0
    assert all(bool((mean == 3).all()) for mean in asked)


@pytest.mark.parametrize(("bits", "epochs"), [(32, 4), (4, 1)])
def test_angles_that_need_no_rounding_and_a_single_epoch_are_not_rounded(
    teacher, make_problem, run_fit, bits, epochs
):
    fitted, _ = run_fit(make_problem(teacher, bits=bits), epochs=epochs)
    assert not any(steps_of(fitted).values()) and not fitted.trainee.rounds


def test_a_rival_of_a_single_epoch_is_rounded_in_it(rows, run_fit):
    problem = method_problem("subspace", small_network(), {"k": 60, "seed": 0}, rows)
    assert all(steps_of(run_fit(problem, epochs=1)[0]).values())


# --- the best state, taken back ----------------------------------------------------------------------------


@METHODS
def test_a_loaded_best_state_is_what_was_scored(teacher, make_method, run_fit, kind):
    problem = make_method(kind, teacher, **({"bits": 4} if kind == "ours" else {}))
    fitted, _ = run_fit(problem, epochs=5)
    fresh = problem.begin(FitSettings())
    fresh.load(fitted.trained)
    outputs = fresh.predict(problem.validation.inputs, lambda images: images / 255)
    assert problem.objective.score(outputs, problem.validation.targets) == fitted.score
    assert all(torch.equal(part, fitted.trained.parameters[name]) for name, part in fresh.numbers.items())


# --- precision ---------------------------------------------------------------------------------------------


@METHODS
def test_a_model_may_multiply_in_bfloat16_and_all_else_stays_float32(make_method, kind):
    problem = make_method(kind, small_network())
    found = {}
    for precision in PRECISIONS:
        trainee = problem.begin(FitSettings(batch_size=50, precision=precision))
        batch = problem.course(FitSettings(batch_size=50), trainee).batches.at(0)
        dtypes = []
        first = next(layer for layer in trainee.chosen.module.modules() if isinstance(layer, nn.Linear))
        hook = first.register_forward_hook(lambda layer, given, made, found=dtypes: found.append(made.dtype))
        scores = trainee.outputs(batch).scores
        scores.square().sum().backward()
        hook.remove()
        gradients = [part.grad for part in trainee.parameters().values()]
        assert scores.dtype == torch.float32 and {g.dtype for g in gradients} == {torch.float32}
        assert set(dtypes) == {torch.bfloat16 if precision == "bf16" else torch.float32}
        predicted = trainee.predict(batch.inputs[:4] * 255, lambda images: images / 255)
        found[precision] = scores.detach(), torch.cat([g.flatten() for g in gradients]), predicted
    plain, rough = found.values()
    assert torch.equal(plain[2], rough[2])  # what is scored
    for exact, near in zip(plain[:2], rough[:2], strict=True):
        apart = (exact - near).norm() / exact.norm()
        assert 0 < apart < 0.05  # bfloat16 has 8 bits
