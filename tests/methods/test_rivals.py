"""Every row of the table as a method: sizes in bytes, starts, decoders that gradients pass through."""

import math

import pytest
import torch
from small_files import BUDGET, measure_of

from qtrain_cli.methods import low_rank, pruning
from qtrain_cli.methods.method import away_from_centre, in_place, scales_of
from qtrain_cli.methods.table import METHODS, OURS, method_of, serving
from qtrain_cli.targets.layout import join, layout_of, split

RIVALS = [name for name in serving(False) if name != OURS]
EVERYONE = pytest.mark.parametrize("name", serving(False))


def fitting(name, scene, width, budget, most=None):
    measure = measure_of(name, scene)
    return measure.sized(measure.fitting(width, budget, most))


def sized(name, scene, size):
    return measure_of(name, scene).sized(method_of(name).plan(scene, size))


def shapes(chosen):
    return {name: form.shape for name, form in chosen.forms.items()}


@EVERYONE
def test_who_descends_as_ours_does(name):
    """Both controls, or they would be none; and the rivals that gain by it."""
    gaining = ("subspace", "pruning", OURS)
    assert method_of(name).whitened == (name in gaining or METHODS[name].control)


@EVERYONE
def test_gradients_reach_every_group_of_numbers(name, scene):
    chosen = fitting(name, scene, 4, BUDGET)
    begin = chosen.method.start(scene, chosen.plan)
    assert {key: tuple(value.shape) for key, value in begin.items()} == shapes(chosen)
    numbers = {key: value.clone().requires_grad_() for key, value in begin.items()}
    tensors = chosen.method.decode(chosen.layout, chosen.plan, scene.device)(numbers)
    sum((tensor * torch.randn_like(tensor)).sum() for tensor in tensors.values()).backward()
    assert all(float(value.grad.abs().sum()) > 0 for value in numbers.values())


@EVERYONE
def test_what_a_file_gives_is_what_was_trained(name, scene):
    """The portable decoder in float64 beside that of training in float32."""
    chosen = fitting(name, scene, 4, BUDGET)
    begin = chosen.method.start(scene, chosen.plan)
    random = torch.Generator().manual_seed(0)
    numbers = {key: value + 0.05 * torch.randn(value.shape, generator=random) for key, value in begin.items()}
    trained = chosen.method.decode(chosen.layout, chosen.plan, scene.device)(numbers)
    groups = {key: value.double().numpy() for key, value in numbers.items()}
    found = torch.from_numpy(chosen.method.portable(chosen.layout, chosen.plan, groups))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, join(chosen.layout, trained), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["subspace", "hashing", "classical-curve", "fixed-random"])
def test_seeded_weights_start_at_the_size_of_an_initialiser(name, scene):
    chosen = fitting(name, scene, 4, BUDGET)
    begin = chosen.method.start(scene, chosen.plan)
    tensors = chosen.method.decode(chosen.layout, chosen.plan, scene.device)(begin)
    large = tensors["5.weight"]  # (16, 36)
    assert float(large.std()) == pytest.approx(1 / math.sqrt(36), rel=0.3)
    assert float(tensors["1.weight"].mean()) == pytest.approx(1, abs=0.8)


@pytest.mark.parametrize("name", ["pruning", "quantisation", "low-rank"])
def test_methods_on_the_teachers_weights_start_near_them(name, scene):
    chosen = sized(name, scene, method_of(name).largest(scene))
    begin = chosen.method.start(scene, chosen.plan)
    tensors = chosen.method.decode(chosen.layout, chosen.plan, scene.device)(begin)
    for key, tensor in tensors.items():
        torch.testing.assert_close(tensor, scene.teacher[key].detach(), rtol=1e-4, atol=1e-4)


@EVERYONE
def test_a_larger_size_is_a_larger_file(name, scene):
    method, measure = method_of(name), measure_of(name, scene)
    sizes = sorted({1, *(max(1, method.largest(scene) * part // 8) for part in range(1, 8))})
    bytes_ = [measure.bytes(method.plan(scene, size), 4) for size in sizes if size < 2000]
    assert bytes_ == sorted(bytes_)


@pytest.mark.parametrize("name", ["subspace", "hashing", "classical-curve"])
def test_no_more_numbers_than_a_file_may_have(name, scene, monkeypatch):
    """Of a model with more weights than that the largest size has no file, and smaller ones have."""
    monkeypatch.setattr("qtrain_cli.artifact.extents.MAX_CODES", 300)
    assert sum(count for (count,) in shapes(fitting(name, scene, 6, 10**6)).values()) == 300


def test_no_size_beyond_the_most_that_is_wanted(scene):
    assert fitting("subspace", scene, 6, 10_000, most=50).plan["k"] == 50
    assert shapes(fitting("classical-curve", scene, 6, 10_000, most=50)) == {"theta": (49,), "gain": (1,)}
    fixed = fitting("fixed-random", scene, 6, 10_000, most=200)
    assert 180 < shapes(fixed)["numbers"][0] <= 200


@pytest.mark.parametrize("name", RIVALS)
def test_the_largest_size_that_fits_is_found(name, scene):
    """By bisection: the next size is too large, or there is none."""
    method, measure, width = method_of(name), measure_of(name, scene), METHODS[name].widths[0]
    plan = measure.fitting(width, BUDGET)
    sizes = range(1, min(method.largest(scene), 3000) + 1)
    places = [size for size in sizes if method.plan(scene, size) == plan]
    assert measure.bytes(plan, width) <= BUDGET
    assert places[-1] == sizes[-1] or measure.bytes(method.plan(scene, places[-1] + 1), width) > BUDGET


def test_a_budget_that_is_too_small_gives_the_smallest_size(scene):
    chosen = fitting("quantisation", scene, 0, 100)
    assert chosen.plan == {"bits": 2} and measure_of("quantisation", scene).bytes(chosen.plan, 0) > 100


def test_more_bits_are_taken_where_they_fit(scene):
    budgets = (490, 600, 750, 3000)
    plans = [fitting("quantisation", scene, 0, budget).plan for budget in budgets]
    assert [plan["bits"] for plan in plans] == [2, 3, 4, 8]


def test_the_largest_weights_survive(scene):
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


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize(("epochs", "share"), [(1, 0.4), (2, 0.4), (5, 0.4), (10, 0.4), (60, 0.4)])
def test_the_last_part_of_the_epochs_is_on_the_grid_at_least_the_last(name, scene, epochs, share):
    share = 1.0 if name == "quantisation" else share
    chosen = fitting(name, scene, METHODS[name].widths[0], BUDGET)
    first = chosen.method.grid.first(chosen.plan, epochs)
    assert first == min(epochs - 1, round(epochs * (1 - share))) < epochs


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
    assert controls == ["classical-curve", "fixed-random"] and not METHODS[OURS].control
    assert METHODS["narrow"].tuned == "learning rate 0.01, 0.02, 0.05; bits 3, 4, 6"
    assert METHODS["quantisation"].tuned == "learning rate 0.001, 0.003, 0.01"
