"""Every method made under a budget: a file within it that gives back the very tensors that were scored."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_files import (
    BUDGET,
    artifact_in,
    digits_data,
    file_of,
    made_in,
    model_scene,
    trained_network,
    work_of,
)
from torch import nn

from qtrain_cli.artifact.numbers import Artifact, Coded, encode_artifact
from qtrain_cli.data import Normalisation, TrainSplit
from qtrain_cli.errors import BadInput, RunFailed
from qtrain_cli.methods.table import OURS, method_of, serving
from qtrain_cli.models.call import predict
from qtrain_cli.quantum.estimators import Cost
from qtrain_cli.runs import cells, making
from qtrain_cli.runs.regenerate import regenerate
from qtrain_cli.settings import FitSettings, GradientSettings
from qtrain_cli.training import generated as generated_module
from qtrain_cli.training import loop as loop_module
from qtrain_cli.training.recovery import Clock

EVERYONE = pytest.mark.parametrize("name", serving(False))
#: One epoch more than its first on the grid, for ours too.
EPOCHS = 3


@pytest.fixture(scope="module")
def scene():
    return model_scene(trained_network())


@pytest.fixture(scope="module")
def finished(scene, tmp_path_factory):
    """``finished(name, epochs)``: what was made of a method, and how, by one run for all tests."""

    @functools.cache
    def call(name, epochs):
        work = work_of(name, scene, epochs=epochs)
        return work, made_in(tmp_path_factory.mktemp("made"), work)

    return call


class Seen(Exception):
    """What a test ends a run with, once it has seen how it would train."""


def codes_of(artifact):
    groups = artifact.numbers.groups.values()
    return np.concatenate([group.codes.flatten().numpy() for group in groups if isinstance(group, Coded)])


@EVERYONE
def test_the_file_meets_its_budget_and_gives_back_what_was_scored(name, scene, finished):
    work, made = finished(name, EPOCHS)
    data = file_of(work, made)
    assert 0.6 * BUDGET < len(data) <= BUDGET
    artifact = artifact_in(data)
    module = method_of(artifact.description.method).module(scene, artifact.description.plan)
    found = regenerate(artifact)
    assert artifact.description.method == name and found.exact
    assert found.state.keys() == module.state_dict().keys()
    held = work.data.validation
    outputs = predict(module, found.state, held.inputs, Normalisation())
    assert torch.isfinite(outputs).all()
    rescored = work.objective.score(outputs, held.targets)
    assert rescored == pytest.approx(made.score)  # with fresh running statistics, where those were taken


@EVERYONE
def test_without_fresh_statistics_the_file_is_worth_what_chose_it(name, scene, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "has_statistics", lambda module: False)
    work = work_of(name, scene, epochs=EPOCHS)
    made = made_in(tmp_path, work)
    artifact = artifact_in(file_of(work, made))
    held, module = work.data.validation, work.chosen.module
    outputs = predict(module, regenerate(artifact).state, held.inputs, Normalisation())
    assert work.objective.score(outputs, held.targets) == pytest.approx(made.score)


@EVERYONE
def test_who_descends_as_ours_does_and_where_gradients_are_clipped(name, scene, tmp_path, monkeypatch):
    work = work_of(name, scene)

    def seen(trainee, course, settings, rate, *rest):
        assert rate.clip == making.CLIP == 1.0 and rate.lr == work.fit.lr
        assert rate.whitened == method_of(name).whitened
        raise Seen

    monkeypatch.setattr(making, "train", seen)
    with pytest.raises(Seen):
        made_in(tmp_path, work)


@pytest.mark.parametrize(
    ("gradient", "plain"),
    [
        (GradientSettings(), False),
        (GradientSettings("parameter-shift"), False),
        (GradientSettings("finite-difference"), False),
        (GradientSettings("parameter-shift", shots=100), True),
        (GradientSettings("spsa"), True),
    ],
)
def test_rough_gradients_descend_by_plain_adam(gradient, plain, scene, tmp_path, monkeypatch):
    """What is noise in them would be taken for what makes the loss steep."""

    def seen(trainee, course, settings, rate, *rest):
        assert rate.whitened is not plain
        assert (trainee.circuits is None) == (gradient.method == "adjoint")
        raise Seen

    monkeypatch.setattr(making, "train", seen)
    with pytest.raises(Seen):
        made_in(tmp_path, work_of(OURS, scene, gradient=gradient))


def test_circuits_and_shots_are_those_of_all_steps(scene, tmp_path):
    spent = made_in(tmp_path, work_of(OURS, scene, gradient=GradientSettings("spsa", 10), epochs=1)).spent
    assert spent == Cost(6 * 3, 6 * 3 * 10)
    assert made_in(tmp_path, work_of("hashing", scene, epochs=1)).spent == Cost(0, 0)


@EVERYONE
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(name, scene, finished, tmp_path):
    files = [file_of(*finished(name, 1))]
    for place, seed in enumerate((0, 1)):
        torch.manual_seed(place)
        work = work_of(name, replace(scene, seed=seed), epochs=1)
        files.append(file_of(work, made_in(tmp_path, work)))
    assert files[0] == files[1] != files[2]


@EVERYONE
def test_a_run_cut_off_gives_the_same_bytes(name, scene, finished, tmp_path, monkeypatch):
    """A checkpoint after every step until it is cut off in the second epoch; none in the run beside it."""
    work, made = finished(name, EPOCHS)
    whole = file_of(work, made)
    steps, advance = [], loop_module._Loop.advance

    def cut(loop):
        steps.append(loop.run.step)
        if len(steps) == 9:
            raise KeyboardInterrupt
        return advance(loop)

    monkeypatch.setattr(loop_module._Loop, "advance", cut)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Clock, "due", lambda self: True)
        made_in(tmp_path, work)
    again = work_of(name, scene, epochs=EPOCHS)
    assert file_of(again, made_in(tmp_path, again, resume=True)) == whole
    assert steps[9] == 8


@pytest.mark.parametrize("name", [name for name in serving(False) if name != OURS])
def test_a_budget_leaves_a_rivals_codes_what_is_not_taken_by_the_rest(name, scene):
    """Each byte more of the budget is eight bits more, less what its own length takes."""
    work = work_of(name, scene)
    own = work.chosen.module.state_dict()
    kept = {entry.name: own[entry.name] for entry in work.chosen.layout.entries}
    small, large = (making._room(replace(work, budget=budget))(kept) for budget in (BUDGET, BUDGET + 10))
    assert 0 < small < 8 * BUDGET and 8 * 7 <= large - small <= 8 * 10


def test_ours_keeps_its_budget_by_its_plan(scene):
    work = work_of(OURS, scene)
    assert work.budget is None and making._room(work)({}) == math.inf


def test_a_budget_that_is_too_small_gives_a_file_that_is_too_large(scene, tmp_path):
    """What `cells` then calls unreached."""
    work = work_of("quantisation", scene, 100, lr=0.01)
    assert len(file_of(work, made_in(tmp_path, work))) > 100


@pytest.mark.parametrize(("budget", "bits"), [(525, 2), (625, 3)])
def test_quantised_weights_have_as_many_levels_as_their_bits_allow(scene, tmp_path, budget, bits):
    work = work_of("quantisation", scene, budget)
    assert work.chosen.plan == {"bits": bits}
    codes = codes_of(artifact_in(file_of(work, made_in(tmp_path, work))))
    assert abs(codes).max() == 2 ** (bits - 1) - 1


@pytest.mark.parametrize("budget", [450, BUDGET])
def test_pruned_weights_are_zero_in_the_file_and_are_not_counted(scene, tmp_path, budget):
    work = work_of("pruning", scene, budget)
    made = made_in(tmp_path, work)
    stored = int((codes_of(artifact_in(file_of(work, made))) != 0).sum())
    assert 0 < stored == cells._count(work.chosen, made.numbers) <= work.chosen.plan["survivors"]
    assert (work.chosen.plan["survivors"] < 300) == (budget == 450)


@EVERYONE
def test_the_size_is_known_before_the_digest_is(name, finished):
    """So a budget is neither missed nor left unused for the sake of a digest."""
    work, made = finished(name, 1)
    assert len(encode_artifact(Artifact(work.blank, made.numbers))) == len(file_of(work, made))


# --- running statistics --------------------------------------------------------------------------------


def test_running_statistics_are_those_of_the_training_that_was_scored(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "has_statistics", lambda module: False)
    work = work_of("subspace", scene)
    state = regenerate(artifact_in(file_of(work, made_in(tmp_path, work)))).state
    assert not torch.equal(state["1.running_mean"], scene.teacher["1.running_mean"].half().float())
    assert int(state["1.num_batches_tracked"]) == 60 + 6 * work.fit.epochs


@pytest.mark.parametrize("name", ["subspace", OURS])
@pytest.mark.parametrize("better", [True, False])
def test_running_statistics_anew_are_taken_where_validation_is_better(
    better, scene, tmp_path, monkeypatch, name
):
    work = work_of(name, scene, epochs=1)
    monkeypatch.setattr(type(work.objective), "better", lambda self, one, than: better)
    state = regenerate(artifact_in(file_of(work, made_in(tmp_path, work)))).state
    anew = len(work.data.train) // work.fit.batch_size
    expected = anew if better else 60 + 6
    assert int(state["1.num_batches_tracked"]) == expected and anew != 60 + 6


def test_better_statistics_that_do_not_fit_the_budget_are_not_taken(scene, tmp_path, monkeypatch):
    work = work_of("subspace", scene, epochs=1)
    monkeypatch.setattr(type(work.objective), "better", lambda self, one, than: True)
    monkeypatch.setattr(making, "fits", lambda work, numbers: False)
    kept = made_in(tmp_path, work).numbers.kept
    assert int(kept["1.num_batches_tracked"]) == 60 + 6


def test_a_file_fits_by_its_own_length(finished):
    work, made = finished("subspace", 1)
    numbers = made.numbers
    size = len(file_of(work, making.Made(numbers, None, Cost())))
    for budget, expected in ((size, True), (size - 1, False), (None, True)):
        changed = type(work)(**{**vars(work), "budget": budget})
        assert making.fits(changed, numbers) == expected


# --- buffers that are replaced ---------------------------------------------------------------------------


class Counting(nn.Module):
    """Puts a new tensor in the place of its buffer at each step, as some layers do, and drops inputs.

    The buffer is called what a file stores in half precision.
    """

    def __init__(self):
        super().__init__()
        self.flat, self.last = nn.Flatten(), nn.Linear(64, 10)
        self.register_buffer("running_mean", torch.zeros(10))

    def forward(self, x):
        if self.training:
            self.running_mean = self.running_mean + 200 + 0.05 * torch.arange(10)
        return self.last(nn.functional.dropout(self.flat(x), 0.2, self.training)) + self.running_mean


def test_a_buffer_that_is_replaced_is_kept_and_scored_as_it_is_stored(tmp_path, monkeypatch):
    scored = []

    def watched(module, state, *rest):
        scored.append(dict(state))
        return predict(module, state, *rest)

    monkeypatch.setattr(generated_module, "predict", watched)
    work = work_of("hashing", model_scene(Counting().eval()))
    # The last epoch is the best by decree.
    monkeypatch.setattr(type(work.objective), "better", lambda self, one, than: True)
    trainees, train = [], making.train
    monkeypatch.setattr(making, "train", lambda *given: trainees.append(given[0]) or train(*given))
    artifact = artifact_in(file_of(work, made_in(tmp_path, work)))
    expected = [2400 + 0.6 * number for number in range(10)]
    assert trainees[0].buffers["running_mean"].tolist() == pytest.approx(expected)
    state = regenerate(artifact).state
    # A float16 has eleven bits.
    assert set(state["running_mean"].tolist()) == {2400.0, 2402.0, 2404.0, 2406.0}
    assert torch.equal(scored[-1]["running_mean"], state["running_mean"])
    for name in state:  # training decodes in float32
        torch.testing.assert_close(scored[-1][name], state[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["hashing", OURS])
def test_what_a_model_draws_follows_from_the_seed(tmp_path, name):
    files = []
    for place in (1, 2):
        scene = model_scene(Counting().eval())
        torch.manual_seed(place)
        work = work_of(name, scene)
        files.append(file_of(work, made_in(tmp_path, work)))
    assert files[0] == files[1]


# --- what cannot be made ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["narrow", OURS])
def test_a_loss_that_is_not_finite_ends_the_run(scene, tmp_path, name):
    with pytest.raises(RunFailed, match=r"the (loss|gradient) is not finite"):
        made_in(tmp_path, work_of(name, scene, lr=1e30))


def test_a_teacher_without_finite_outputs_is_refused_before_the_first_step(tmp_path):
    data = digits_data()
    inputs = data.train.inputs.float()
    inputs[-1] = float("inf")
    changed = type(data)(**{**vars(data), "train": TrainSplit(inputs, data.train.targets)})
    scene = model_scene(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    with pytest.raises(BadInput, match="outputs are not finite on this data"):
        making.answers_of(scene, changed)
    assert not list(tmp_path.iterdir())


def test_a_model_that_does_not_fit_the_data_is_refused():
    data = digits_data()

    class Loaded:
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    with pytest.raises(BadInput):
        making.scene_of(Loaded, data, FitSettings(device="cpu"), ((), ()))
    Loaded.module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    scene = making.scene_of(Loaded, data, FitSettings(device="cpu", seed=3), ((), ("1.bias",)))
    assert (scene.input_shape, scene.output_shape, scene.seed) == ((1, 8, 8), (10,), 3)
    assert scene.layout.generated == 640
