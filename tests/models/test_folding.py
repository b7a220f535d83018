"""Weights in parts, as training leaves them, for an architecture that has them whole or in its own parts."""

import pytest
import torch
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from qtrain_cli.errors import BadInput
from qtrain_cli.models import load_model
from qtrain_cli.models.folding import folded
from qtrain_cli.settings import ModelSettings

NETS = """
from torch import nn
from torch.nn.utils import parametrizations

def plain():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 2))

def normed():
    net = plain()
    parametrizations.weight_norm(net[0])
    return net

def orthogonal():
    net = plain()
    parametrizations.orthogonal(net[3])
    return net
"""
NAMES: dict = {}
exec(NETS, NAMES)
NAMED = ("weight", "bias")
WAYS = {
    "weight norm": lambda net: parametrizations.weight_norm(net[0]),
    "weight norm along the inputs": lambda net: parametrizations.weight_norm(net[3], dim=1),
    "weight norm of all": lambda net: parametrizations.weight_norm(net[3], dim=None),
    "older weight norm": lambda net: weight_norm(net[0]),
    "spectral norm": lambda net: parametrizations.spectral_norm(net[0]),
    "older spectral norm": lambda net: spectral_norm(net[3]),
    "pruning": lambda net: prune.l1_unstructured(net[3], "weight", 0.5),
    "pruning of a bias too": lambda net: [prune.random_unstructured(net[3], n, 2) for n in NAMED],
    "all at once": lambda net: [WAYS[one](net) for one in ("weight norm", "older spectral norm")],
}


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)

    def make(tensors, name="plain", **more):
        torch.save(tensors, tmp_path / "net.pt")
        return ModelSettings(tmp_path / "net.pt", arch=f"{tmp_path / 'nets.py'}:{name}", **more)

    return make


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("prefix", ["", "module.model."])
@pytest.mark.parametrize("way", WAYS)
def test_parts_are_multiplied_out_as_the_module_itself_does(settings, way, prefix):
    torch.manual_seed(0)
    net, inputs = NAMES["plain"](), torch.randn(5, 2, 4, 4)
    WAYS[way](net)
    for _ in range(3):
        net(inputs)  # a spectral norm finds its vectors
    loaded = load_model(settings({prefix + name: part for name, part in net.eval().state_dict().items()}))
    with torch.no_grad():
        torch.testing.assert_close(loaded.module(inputs), net(inputs))
    assert any("multiplied out" in note for note in loaded.notes)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_architecture_with_parts_of_its_own_gets_them_under_its_names(settings):
    old = NAMES["plain"]()
    weight_norm(old[0])
    loaded = load_model(settings(old.state_dict(), "normed"))
    assert not loaded.notes
    torch.testing.assert_close(loaded.module[0].weight, old[0].weight)
    own = load_model(settings(NAMES["orthogonal"]().state_dict(), "orthogonal"))
    assert not own.notes and "3.parametrizations.weight.0.base" in own.module.state_dict()


def test_what_only_its_own_code_multiplies_out_is_refused_with_the_way_on(settings):
    with pytest.raises(BadInput) as caught:
        load_model(settings(NAMES["orthogonal"]().state_dict()))
    assert caught.value.advice.startswith("its weights are parametrised: give an --arch that registers")


def test_a_name_with_such_an_ending_and_no_other_part_stays():
    tensors = {"x_orig": torch.ones(2), "y_g": torch.ones(2), "z_v": torch.ones(2), "m_mask": torch.ones(2)}
    assert folded(tensors, ["x"]).tensors == tensors and not folded(tensors, ["x"]).notes
    whole = {"a_orig": torch.ones(2), "a_mask": torch.ones(2), "a": torch.ones(2)}
    assert list(folded(whole, ["a"]).tensors) == list(whole)


def test_only_the_shapes_are_needed():
    tensors = {"a_orig": torch.empty(2, 3, device="meta"), "a_mask": torch.empty(2, 3, device="meta")}
    assert folded(tensors, ["a"]).tensors["a"].is_meta
