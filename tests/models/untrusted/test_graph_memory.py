"""Graphs of permitted operators that ask for any memory: refused by shapes alone, before they run."""

import copy
import zipfile
from dataclasses import replace

import pytest
import torch
from benchmarks.peak import forget, highest
from torch import nn
from torch.nn import functional as F

from qtrain_cli.errors import Refused
from qtrain_cli.models import load_model
from qtrain_cli.models.call import call_model, own_state
from qtrain_cli.models.untrusted.graph_memory import FREE, allowed_bytes
from qtrain_cli.settings import ModelSettings

HUGE = 10**10
RAISED = 200 * 2**20  # bytes


class Hungry(nn.Module):
    """Linear, and a term that asks for much and adds next to nothing."""

    def __init__(self, term):
        super().__init__()
        self.a, self.term = nn.Linear(4, 3), term

    def forward(self, x):
        return self.a(x) + self.term(x)


TERMS = {
    "new_zeros": lambda x: x.new_zeros(HUGE).sum(),
    "full": lambda x: torch.full((HUGE,), 0.5).sum(),
    "arange": lambda x: torch.arange(HUGE).sum(),
    "repeat": lambda x: x.repeat(HUGE, 1).sum(),
    "pad": lambda x: F.pad(x, (0, HUGE)).sum(),
    "expand": lambda x: x.sum().expand(HUGE).clone().sum(),
    "cat": lambda x: torch.cat([x.new_ones(2**24) for _ in range(40)]).sum(),
    "upsample": lambda x: F.interpolate(x[:, None], scale_factor=1e9).sum(),
    "one_hot": lambda x: F.one_hot(x[:, 0].long().clamp(0, 9), HUGE).sum(),
}


def saved(tmp_path, term, example=None, **more):
    path = tmp_path / "m.pt2"
    example = torch.rand(2, 4) if example is None else example
    torch.export.save(torch.export.export(Hungry(term).eval(), (example,), **more), path)
    return ModelSettings(path)


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("name", TERMS)
def test_a_graph_that_asks_for_much_is_refused_before_it_runs(tmp_path, name, free):
    batch = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if free else {}
    settings = saved(tmp_path, TERMS[name], **batch)
    forget()
    before = highest()
    with pytest.raises(Refused) as caught:
        load_model(settings)
    assert highest() - before < RAISED
    said = caught.value.message
    assert said.startswith("'m.pt2' asks for ") and " bytes, the last for [" in said and "aten." in said
    assert "allowed: 1,073,7" in said and "--trust-pickle" in caught.value.advice


def test_one_that_grows_with_its_rows_is_refused_where_it_would_run(tmp_path):
    batch = ({0: torch.export.Dim("batch")},)
    settings = saved(tmp_path, lambda x: x.new_zeros(x.shape[0] ** 6, 100).sum(), dynamic_shapes=batch)
    module = load_model(settings).module
    assert call_model(module, own_state(module), torch.rand(5, 4)).shape == (5, 3)
    with pytest.raises(Refused, match=r"'m.pt2' asks for .* by the operator 'aten.new_zeros"):
        call_model(module, own_state(module), torch.rand(50, 4))


def test_sizes_whose_digits_grow_are_refused(tmp_path):
    batch = ({0: torch.export.Dim("batch")},)
    settings = saved(tmp_path, lambda x: x.sum() * (x.shape[0] + 9) ** 8, dynamic_shapes=batch)
    module = load_model(settings).module
    with pytest.raises(Refused, match="a whole number of 80 bits by the operator"):
        call_model(module, own_state(module), torch.rand(1000, 4))


def test_a_batch_that_the_file_says_is_bounded(tmp_path):
    settings = saved(tmp_path, lambda x: x.sum(), torch.rand(1, 4).expand(10**8, 4))
    with pytest.raises(Refused, match=r"takes inputs of the shape \[100000000, 4\]; allowed: 67,108,864"):
        load_model(settings)


def test_a_size_that_depends_on_numbers_is_refused(tmp_path):
    """No export writes it: as many classes as the largest number says."""
    path = saved(tmp_path, lambda x: F.one_hot(x[:, 0].long(), 10).sum()).path
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, record in records.items():
            archive.writestr(name, record.replace(b'"arg": {"as_int": 10}', b'"arg": {"as_int": -1}'))
    with pytest.raises(Refused, match=r"size depends on numbers by the operator 'aten.one_hot.default'"):
        load_model(ModelSettings(path))


class Two(nn.Module):
    """Two inputs, and zeros as many as the first one's rows to the power of six."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 3)

    def forward(self, x, mask):
        return self.a(x * mask) + x.new_zeros(x.shape[0] ** 6, 100).sum()


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("copied", [lambda module: module, copy.deepcopy])
def test_graphs_of_several_inputs_are_bounded_too(tmp_path, copied, named):
    batch, example = torch.export.Dim("batch"), {"x": torch.rand(2, 4), "mask": torch.ones(2, 4)}
    shapes = {"x": {0: batch}, "mask": {0: batch}}
    given = ((), example) if named else (tuple(example.values()), {})
    program = torch.export.export(Two().eval(), *given, dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "m.pt2")
    module = copied(load_model(ModelSettings(tmp_path / "m.pt2")).module)
    few, many = (torch.rand(rows, 4) for rows in (3, 50))

    def call(rows):
        return module(mask=rows, x=rows) if named else module(rows, rows)

    assert call(few).shape == (3, 3)
    with pytest.raises(Refused, match=r"'m.pt2' asks for .* by the operator 'aten.new_zeros"):
        call(many)


def test_a_file_that_is_trusted_takes_what_it_takes(tmp_path):
    settings = saved(tmp_path, lambda x: x.sum().expand(2**30)[0])
    with pytest.raises(Refused, match="asks for 4,294,"):
        load_model(settings)
    assert load_model(replace(settings, trust_pickle=True)).trust == "pt2"


def test_the_bound_follows_inputs_and_parameters(tmp_path):
    layer = nn.Linear(4, 3)
    assert allowed_bytes(layer, torch.rand(5, 4)) == FREE + 2**10 * 80 + 16 * 5 * 60
    taken = load_model(saved(tmp_path, lambda x: x.new_zeros(2**20).sum())).module
    assert taken(torch.ones(3, 4)).shape == (3, 3)
