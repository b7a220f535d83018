"""What a run of changes works with, of models whose tensors are not all plain."""

from dataclasses import replace

import torch
from torch import nn

from qtrain_cli.runs import grounds
from qtrain_cli.runs.grounds import base_of_module, changed_layout


class Table(nn.Module):
    """Its padding row was set to other numbers than 0, as pretrained models have them."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(9, 4, padding_idx=2), nn.Linear(4, 3)
        nn.init.ones_(self.table.weight)


def test_the_prefix_is_found_whatever_the_base_has_besides():
    """The first matrix of the base, its head, is none of the model's."""
    inner = nn.ModuleDict({f"layer{place}": nn.Linear(4, 4) for place in range(3)})
    model = nn.ModuleDict({"backbone": nn.ModuleDict({"encoder": inner}), "head": nn.Linear(4, 2)})
    tensors = {"classifier.weight": torch.ones(5, 4)}
    tensors |= {f"encoder.{name}": tensor for name, tensor in inner.state_dict().items()}
    base = replace(base_of_module(model, "base"), tensors=tensors)
    assert grounds._prefix(model.state_dict(), base) == "backbone."


def test_a_padding_row_stays_the_bases_and_takes_no_bytes():
    base = Table()
    layout, ground = changed_layout(base, base_of_module(base, "base"), ((), ()), 0)
    assert layout.entries[0].row == 2 and not layout.stored and layout.kept == 0
    made = {entry.name: torch.full(entry.shape, 0.5) for entry in layout.entries}
    changed = ground.changed(layout, made)["table.weight"]
    scale = ground.change.scale
    assert torch.equal(changed[2], torch.ones(4)) and torch.allclose(changed[3], torch.ones(4) + scale / 2)
