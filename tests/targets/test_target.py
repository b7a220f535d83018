"""Targets: which tensors a method makes of a model, and the state dictionary that is bound of them."""

import torch
from qtrain_cli.targets.target import TARGETS, WHOLE
from torch import nn

from qtrain_cli.targets.entries import GENERATED, KEPT, TIED
from qtrain_cli.targets.layout import layout_of


class Tied(nn.Module):
    """Two layers of one weight, one norm with buffers."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.norm = nn.Linear(4, 4), nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.two.weight = self.one.weight


def test_every_row_has_its_own_name():
    assert WHOLE in TARGETS and all(row.name == name for name, row in TARGETS.items())


def test_whole_weights_are_the_layout_itself():
    module = Tied()
    for patterns in (((), ()), (("*.weight",), ()), ((), ("norm",))):
        found = TARGETS[WHOLE].tensors(module, *patterns)
        assert found == layout_of(module, *patterns)
    assert {entry.role for entry in TARGETS[WHOLE].tensors(module, (), ()).entries} == {GENERATED, KEPT, TIED}


def test_what_is_bound_is_what_was_made_and_the_bases_rest():
    module = Tied()
    layout = TARGETS[WHOLE].tensors(module, (), ("two.bias",))
    made = {entry.name: torch.full(entry.shape, 0.5) for entry in layout.of_role(GENERATED)}
    base = {name: torch.full_like(tensor, 2) for name, tensor in module.state_dict().items()}
    state = TARGETS[WHOLE].bind(layout, base, made)
    assert list(state) == list(module.state_dict())
    kept = {entry.name for entry in layout.of_role(KEPT)}
    assert kept == {"two.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    for name, tensor in state.items():
        assert bool((tensor == (2 if name in kept else 0.5)).all()), name
        if name not in kept and name != "two.weight":
            assert tensor is made[name]
    assert state["two.weight"] is state["one.weight"]
    module.load_state_dict(state)


def test_gradients_pass_through_what_is_bound():
    module = Tied()
    layout = TARGETS[WHOLE].tensors(module, (), ())
    made = {entry.name: torch.zeros(entry.shape, requires_grad=True) for entry in layout.of_role(GENERATED)}
    state = TARGETS[WHOLE].bind(layout, module.state_dict(), made)
    sum(state[name].sum() for name in ("one.weight", "two.weight", "two.bias")).backward()
    assert bool((made["one.weight"].grad == 2).all()) and bool((made["two.bias"].grad == 1).all())
