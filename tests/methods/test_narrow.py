"""Narrower copies of chains, residual networks and functional models; what cannot be narrowed is said."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from qtrain_cli.methods.method import Unsuited
from qtrain_cli.methods.narrow import module, narrowed, plan
from qtrain_cli.methods.small_dense import module as dense


class Functional(nn.Module):
    """Layers in attributes, the rest in forward, as most people write it."""

    def __init__(self, flat=None):
        super().__init__()
        self.conv, self.fc, self.last, self.flat = (
            nn.Conv2d(1, 8, 3),
            nn.Linear(72, 20),
            nn.Linear(20, 10),
            flat,
        )

    def forward(self, x):
        x = F.max_pool2d(self.conv(x), 2)
        return self.last(self.fc(x.view(-1, self.flat) if self.flat else x.flatten(1)))


class Residual(nn.Module):
    """A shortcut with its own convolution."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.one, self.two = nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.Conv2d(16, 16, 3, padding=1)
        self.short, self.last = nn.Conv2d(8, 16, 1, 2), nn.Linear(16, 10)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = self.two(self.one(x).relu()) + self.short(x)
        return self.last(x.mean((2, 3)))


def test_a_chain_has_half_its_channels_and_the_same_ends(scene):
    shapes = [tuple(value.shape) for value in narrowed(scene, 128).parameters()]
    assert shapes == [(2, 1, 3, 3), (2,), (2,), (2,), (8, 18), (8,), (10, 8), (10,)]


@pytest.mark.parametrize(("model", "width", "weights"), [(Functional(), 64, 175), (Residual(), 128, 1050)])
def test_functional_and_residual_models_are_narrowed_too(scene_of, model, width, weights):
    student = narrowed(scene_of(model), width)
    assert sum(value.numel() for value in student.parameters()) == weights
    assert student(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Functional(flat=72), "its forward does not run with narrower layers"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), "fewer than two convolutions and linear layers"),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(144, 10)),
            "a layer of the class GroupNorm cannot be narrowed",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(64, 10)),
            "a layer of the class Conv2d cannot be narrowed",
        ),
    ],
)
def test_what_cannot_be_narrowed_is_said(scene_of, model, said):
    with pytest.raises(Unsuited, match=said):
        narrowed(scene_of(model), 128)


def test_tied_tensors_are_not_narrowed(scene_of):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 64))
    model[2].weight = model[1].weight
    with pytest.raises(Unsuited, match="tied tensors cannot be narrowed"):
        narrowed(scene_of(model), 128)


def test_another_output_shape_is_said(scene_of):
    class Swapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(20, 10), nn.Linear(64, 20)

        def forward(self, x):
            return self.last(self.first(x.flatten(1)))

    with pytest.raises(Unsuited, match=r"narrower, it has outputs of the shape|does not run"):
        narrowed(scene_of(Swapped()), 128)


def test_the_start_follows_from_the_seed_and_disturbs_no_one(scene):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = module(scene, plan(scene, 100)), dense(scene, {"hidden": 3, "seed": 1})
    assert torch.rand(1) == expected
    again = module(scene, plan(scene, 100))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert sum(value.numel() for value in two.parameters()) == 64 * 3 + 3 + 3 * 10 + 10


def test_a_dense_network_has_the_outputs_of_the_model(scene_of):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Unflatten(1, (2, 3)))
    assert dense(scene_of(model), {"hidden": 4, "seed": 0})(torch.zeros(5, 1, 8, 8)).shape == (5, 2, 3)
