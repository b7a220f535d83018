"""Constant rows: what of an embedding no gradient reaches."""

import pytest
import torch
from torch import nn

from qtrain_cli.targets.entries import GENERATED, TensorEntry
from qtrain_cli.targets.layout import complete, kept_tensors, layout_of
from qtrain_cli.targets.padding import constant_rows


class Tied(nn.Module):
    """An embedding whose table is the matrix of the output layer too."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3, padding_idx=1)
        self.out = nn.Linear(3, 5)
        self.out.weight = self.embed.weight

    def forward(self, x):
        return self.out(self.embed(x))


def test_the_padding_row_of_each_kind_of_embedding():
    module = nn.ModuleDict(
        {
            "a": nn.Embedding(5, 3, padding_idx=0),
            "b": nn.EmbeddingBag(5, 3, padding_idx=-1),
            "c": nn.Embedding(5, 3),
        }
    )
    assert constant_rows(module) == {"a.weight": 0, "b.weight": 4}
    assert {entry.name: entry.row for entry in layout_of(module).entries} == {
        "a.weight": 0,
        "b.weight": 4,
        "c.weight": -1,
    }


@pytest.mark.parametrize(("given", "rows"), [(-2, {"weight": 3}), (-7, {}), (5, {}), (10**9, {})])
def test_a_padding_index_that_was_set_later_counts_where_there_is_such_a_row(given, rows):
    layer = nn.Embedding(5, 3)
    layer.padding_idx = given
    assert constant_rows(layer) == rows


def test_a_table_that_something_else_uses_too_has_none():
    assert constant_rows(Tied()) == {}
    other = nn.ModuleList([nn.Embedding(5, 3, padding_idx=0), nn.Embedding(5, 3, padding_idx=2)])
    other[1].weight = other[0].weight
    assert constant_rows(other) == {}


@pytest.mark.parametrize(
    ("module", "rows"), [(nn.Embedding(5, 3, padding_idx=2), {"weight": 2}), (Tied(), {})]
)
def test_an_archive_says_it_by_its_operators(module, rows):
    graph = torch.export.export(module, (torch.tensor([[1, 2]]),)).module()
    assert constant_rows(graph) == rows


@pytest.mark.parametrize("stored", ["", "F32"])
def test_a_constant_row_takes_no_gradient_and_is_there_in_every_name(stored):
    entry = TensorEntry("w", (4, 2), "F32", GENERATED, stored=stored, row=2)
    layout = layout_of(nn.Embedding(4, 2, padding_idx=2))
    layout = type(layout)((entry, TensorEntry("again", (4, 2), "F32", "tied", source="w")))
    table = torch.arange(8.0).view(4, 2)
    kept = kept_tensors(layout, {"w": table})
    assert [tensor.tolist() for tensor in kept.values()] == ([[4.0, 5.0]] if stored else [])
    made = torch.ones(4, 2, requires_grad=True)
    state = complete(layout, {"w": made}, kept)
    assert state["again"] is state["w"]
    assert state["w"].tolist() == [[1, 1], [1, 1], [4, 5] if stored else [0, 0], [1, 1]]
    state["w"].sum().backward()
    assert made.grad.tolist() == [[1, 1], [1, 1], [0, 0], [1, 1]]
