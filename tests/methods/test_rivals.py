"""Every row of the table: a file within its budget that gives back the very tensors that were scored."""

import math
from dataclasses import replace

import pytest
import torch
from qtrain_cli.artifact.packed import _counts, read_packed, restored
from qtrain_cli.methods.recipes import RECIPES
from qtrain_cli.training.rival_loop import Lap, fitting, sized

from qtrain_cli.data import Normalisation
from qtrain_cli.errors import RunFailed
from qtrain_cli.methods import low_rank, pruning
from qtrain_cli.methods.method import Choice, away_from_centre, in_place, scales_of
from qtrain_cli.methods.table import METHODS, OURS
from qtrain_cli.models.call import predict
from qtrain_cli.settings import own_rate
from qtrain_cli.targets.layout import layout_of, split
from qtrain_cli.training import rival_loop as loop
from qtrain_cli.training.whitened import WhitenedAdam

BUDGET = 700


def lap(name, scene, lesson, budget=BUDGET, lr=None, **changes):
    recipe = RECIPES[name]
    width = recipe.row.widths[0]
    chosen = fitting(recipe, scene, width, budget)
    rate = recipe.row.rates[0] * (own_rate(chosen.numbers) if recipe.row.relative_rates else 1)
    return Lap(chosen, scene, lesson, Choice(lr or rate, width), budget)


@pytest.mark.parametrize("name", RECIPES)
def test_the_file_meets_its_budget_and_gives_back_what_was_scored(name, scene, lesson):
    run = lap(name, scene, lesson)
    found = run.run()
    assert 0.6 * BUDGET < len(found.data) <= BUDGET
    method, plan, state = restored(found.data)
    module = RECIPES[method].module(scene, plan)
    assert method == name and state.keys() == module.state_dict().keys()
    outputs = predict(module, state, lesson.validation.inputs, Normalisation())
    assert lesson.objective.score(outputs, lesson.validation.targets) == pytest.approx(found.score)
    assert torch.isfinite(outputs).all()


@pytest.mark.parametrize("name", RECIPES)
def test_who_descends_as_ours_does(name, scene, lesson):
    """Both controls, or they would be none; and the rivals that gain by it."""
    whitened = isinstance(lap(name, scene, lesson).descent.optimizer, WhitenedAdam)
    gaining = ("subspace", "pruning")
    assert whitened == (name in gaining or RECIPES[name].row.control)


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(name, scene, lesson):
    torch.manual_seed(1)
    first = lap(name, scene, lesson).run()
    torch.manual_seed(2)
    assert lap(name, scene, lesson).run().data == first.data


@pytest.mark.parametrize("name", RECIPES)
def test_gradients_reach_every_group_of_numbers(name, scene):
    chosen = fitting(RECIPES[name], scene, 4, BUDGET)
    begin = RECIPES[name].start(scene, chosen.plan)
    assert {key: tuple(value.shape) for key, value in begin.items()} == chosen.shapes
    numbers = {key: value.clone().requires_grad_() for key, value in begin.items()}
    tensors = RECIPES[name].decode(chosen.layout, chosen.plan, scene.device)(numbers)
    sum((tensor * torch.randn_like(tensor)).sum() for tensor in tensors.values()).backward()
    assert all(float(value.grad.abs().sum()) > 0 for value in numbers.values())


@pytest.mark.parametrize("name", ["subspace", "hashing", "classical-curve", "fixed-random"])
def test_seeded_weights_start_at_the_size_of_an_initialiser(name, scene):
    chosen = fitting(RECIPES[name], scene, 4, BUDGET)
    begin = RECIPES[name].start(scene, chosen.plan)
    tensors = RECIPES[name].decode(chosen.layout, chosen.plan, scene.device)(begin)
    large = tensors["5.weight"]  # (16, 36)
    assert float(large.std()) == pytest.approx(1 / math.sqrt(36), rel=0.3)
    assert float(tensors["1.weight"].mean()) == pytest.approx(1, abs=0.8)


@pytest.mark.parametrize("name", ["pruning", "quantisation", "low-rank"])
def test_methods_on_the_teachers_weights_start_near_them(name, scene):
    chosen = sized(RECIPES[name], scene, RECIPES[name].largest(scene), 8)
    begin = RECIPES[name].start(scene, chosen.plan)
    tensors = RECIPES[name].decode(chosen.layout, chosen.plan, scene.device)(begin)
    for key, tensor in tensors.items():
        torch.testing.assert_close(tensor, scene.teacher[key].detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", RECIPES)
def test_a_larger_size_is_a_larger_file(name, scene):
    recipe = RECIPES[name]
    sizes = sorted({1, *(max(1, recipe.largest(scene) * part // 8) for part in range(1, 8))})
    bytes_ = [sized(recipe, scene, size, 4).bytes for size in sizes if size < 2000]
    assert bytes_ == sorted(bytes_)


def test_no_size_beyond_the_most_that_is_wanted(scene):
    assert fitting(RECIPES["subspace"], scene, 6, 10_000, most=50).plan["k"] == 50
    assert fitting(RECIPES["classical-curve"], scene, 6, 10_000, most=50).shapes == {
        "theta": (49,),
        "gain": (1,),
    }
    fixed = fitting(RECIPES["fixed-random"], scene, 6, 10_000, most=200)
    assert 180 < fixed.shapes["numbers"][0] <= 200


def test_a_budget_that_is_too_small_gives_the_smallest_size_or_none(scene, lesson):
    chosen = fitting(RECIPES["quantisation"], scene, 0, 100)
    assert chosen.plan == {"bits": 2} and chosen.bytes > 100
    assert Lap(chosen, scene, lesson, Choice(0.01, 0), 100).run() is None


def test_more_bits_are_taken_where_they_fit(scene):
    budgets = (440, 600, 700, 3000)
    plans = [fitting(RECIPES["quantisation"], scene, 0, budget).plan for budget in budgets]
    assert [plan["bits"] for plan in plans] == [2, 3, 4, 8]


def test_quantised_weights_have_as_many_levels_as_their_bits_allow(scene, lesson):
    for budget, bits in ((500, 2), (600, 3)):
        run = lap("quantisation", scene, lesson, budget)
        assert run.chosen.plan == {"bits": bits}
        codes = [code for group in read_packed(run.run().data, _counts).groups for code in group.codes]
        assert max(map(abs, codes)) == 2 ** (bits - 1) - 1


def test_pruned_weights_are_zero_in_the_file_and_the_largest_survive(scene, lesson):
    run = lap("pruning", scene, lesson)
    found = run.run()
    survivors = run.chosen.plan["survivors"]
    stored = sum(int((group.codes != 0).sum()) for group in read_packed(found.data, _counts).groups)
    assert found.numbers == stored <= survivors
    weights = {"a": torch.tensor([3.0, -5.0, 0.1, 1.0]), "b": torch.tensor([[0.2, -4.0]])}
    assert pruning.mask({"survivors": 2}, weights, 0.0)["a"].tolist() == [1, 1, 1, 1]
    masks = pruning.mask({"survivors": 2}, weights, 0.7)
    assert (masks["a"].tolist(), masks["b"].tolist()) == ([0, 1, 0, 0], [[0, 1]])
    halfway = pruning.mask({"survivors": 2}, weights, 0.25)
    assert sum(int(mask.sum()) for mask in halfway.values()) == 2 + round(4 / 8)


def test_low_rank_factors_are_the_best_of_their_rank(scene):
    plan = low_rank.plan(scene, 100)
    begin = low_rank.start(scene, plan)
    tensors = low_rank.decode(scene.layout, plan, scene.device)(begin)
    matrix, rank = scene.teacher["5.weight"].detach(), begin["u4"].shape[1]
    lost = torch.linalg.svdvals(matrix)[rank:].square().sum()
    assert float((tensors["5.weight"] - matrix).square().sum()) == pytest.approx(float(lost), rel=1e-3)


def test_running_statistics_are_those_of_the_training_that_was_scored(scene, lesson, monkeypatch):
    monkeypatch.setattr(loop, "has_statistics", lambda module: False)
    found = lap("subspace", scene, lesson).run()
    _, _, state = restored(found.data)
    assert not torch.equal(state["1.running_mean"], scene.teacher["1.running_mean"].half().float())
    assert int(state["1.num_batches_tracked"]) == 60 + 6 * lesson.epochs


@pytest.mark.parametrize("better", [True, False])
def test_running_statistics_anew_are_taken_where_validation_is_better(better, scene, lesson, monkeypatch):
    monkeypatch.setattr(type(lesson.objective), "better", lambda self, one, than: better)
    _, _, state = restored(lap("subspace", scene, replace(lesson, epochs=1)).run().data)
    anew = len(lesson.train) // min(lesson.batch_size, len(lesson.train))
    assert anew != 60 + 6 and int(state["1.num_batches_tracked"]) == (anew if better else 60 + 6)


class Counting(torch.nn.Module):
    """Puts a new tensor in the place of its buffer at each step, as some layers do, and drops inputs."""

    def __init__(self):
        super().__init__()
        self.flat, self.last = torch.nn.Flatten(), torch.nn.Linear(64, 10)
        self.register_buffer("shift", torch.zeros(10))

    def forward(self, x):
        if self.training:
            self.shift = self.shift + 200 + 0.05 * torch.arange(10)
        return self.last(torch.nn.functional.dropout(self.flat(x), 0.2, self.training)) + self.shift


def test_a_buffer_that_is_replaced_is_kept_and_scored_as_it_is_stored(scene_of, lesson, monkeypatch):
    scored = []

    def watched(module, state, *rest):
        scored.append(state)
        return predict(module, state, *rest)

    monkeypatch.setattr(loop, "predict", watched)
    scene = scene_of(Counting().eval())
    run = lap("hashing", scene, lesson)
    found = run.run()
    assert run.buffers["shift"].tolist() == pytest.approx([2400 + 0.6 * number for number in range(10)])
    state = restored(found.data)[2]
    assert set(state["shift"].tolist()) == {2400.0, 2402.0, 2404.0, 2406.0}  # a float16 has eleven bits
    assert all(torch.equal(scored[-1][name], state[name]) for name in state)


def test_what_a_model_draws_follows_from_the_seed(scene_of, lesson):
    scene = scene_of(Counting().eval())
    torch.manual_seed(1)
    first = lap("hashing", scene, lesson).run()
    torch.manual_seed(2)
    assert lap("hashing", scene, lesson).run().data == first.data


def test_a_loss_that_is_not_finite_ends_the_run(scene, lesson):
    with pytest.raises(RunFailed, match="the loss of 'narrow' is not finite"):
        lap("narrow", scene, lesson, lr=1e30).run()


def test_values_away_from_their_centres_come_back(scene):
    layout = scene.layout
    back = in_place(layout, away_from_centre(layout, scene.teacher))
    for name, tensor in back.items():
        torch.testing.assert_close(tensor, scene.teacher[name].detach())
    scale, centre = scales_of(layout, scene.device)
    assert split(layout, centre)["1.weight"].tolist() == [1, 1, 1, 1]
    assert float(split(layout, scale)["5.weight"][0, 0]) == pytest.approx(1 / math.sqrt(3 * 36))
    assert layout_of(scene.module) == layout


def test_ours_and_its_controls_are_marked():
    controls = [row.name for row in METHODS.values() if row.control]
    assert controls == ["classical-curve", "fixed-random"] and OURS not in RECIPES
    assert METHODS["narrow"].tuned == "learning rate 0.01, 0.02, 0.05; bits 3, 4, 6"
    assert METHODS["quantisation"].tuned == "learning rate 0.001, 0.003, 0.01"
