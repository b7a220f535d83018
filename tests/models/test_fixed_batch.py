"""Graphs exported for one size of batch."""

import copy

import pytest
import torch
from torch import nn

from qtrain_cli.data.inputs import NamedInputs
from qtrain_cli.errors import BadInput
from qtrain_cli.exports import export
from qtrain_cli.models import load_model
from qtrain_cli.models.arguments import way_of
from qtrain_cli.models.call import call_model
from qtrain_cli.models.fixed_batch import fixed_rows
from qtrain_cli.models.in_place import twin_of
from qtrain_cli.settings import ModelSettings


class Viewing(nn.Module):
    """Its code names the number of rows, so that a graph of it fits one only."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 4)

    def forward(self, x):
        return self.a(x.reshape(x.shape[0], 6)).softmax(1)


class Tokens(Viewing):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(9, 2)

    def forward(self, x):
        return self.a(self.e(x).reshape(x.shape[0], 6))


@pytest.fixture
def archive(tmp_path):
    """``archive(model, example, **more)``: the model, and the same from an archive."""

    def make(model, example, **more):
        torch.export.save(torch.export.export(model.eval(), (example,), **more), tmp_path / "m.pt2")
        return model, load_model(ModelSettings(tmp_path / "m.pt2"))

    return make


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("size", [1, 4])
def test_any_number_of_rows_is_run_in_batches_of_the_one_size(archive, size, rows):
    model, loaded = archive(Viewing(), torch.rand(size, 2, 3))
    assert fixed_rows(loaded.module) == size
    assert loaded.notes[0].startswith(f"the graph takes batches of {size} only")
    inputs = torch.rand(rows, 2, 3)
    state = loaded.module.state_dict()
    assert torch.allclose(call_model(loaded.module, state, inputs), model(inputs), atol=1e-6)


def test_whole_numbers_too_and_gradients_of_no_filling(archive):
    model, loaded = archive(Tokens(), torch.zeros(4, 3, dtype=torch.int64))
    inputs = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 0]])
    state = {name: tensor.clone().requires_grad_() for name, tensor in loaded.module.state_dict().items()}
    call_model(loaded.module, state, inputs).square().sum().backward()
    model(inputs).square().sum().backward()
    for name, tensor in model.named_parameters():
        assert torch.allclose(state[name].grad, tensor.grad, atol=1e-5)


def test_a_graph_that_takes_more_is_left_alone(archive):
    plain = nn.Sequential(nn.Linear(6, 4), nn.Tanh())
    _, loaded = archive(plain, torch.rand(4, 6))
    assert fixed_rows(loaded.module) is None and loaded.notes == ()
    free = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    _, loaded = archive(Viewing(), torch.rand(4, 2, 3), **free)
    assert fixed_rows(loaded.module) is None and loaded.notes == ()


def test_a_wrong_shape_is_still_the_graphs_to_refuse(archive):
    _, loaded = archive(Viewing(), torch.rand(4, 2, 3))
    with pytest.raises(Exception, match="does not take 4 inputs"):
        call_model(loaded.module, loaded.module.state_dict(), torch.rand(4, 5))


def test_it_can_be_exported_at_its_size(archive, tmp_path):
    model, loaded = archive(Viewing(), torch.rand(4, 2, 3))
    state = {name: tensor.detach() for name, tensor in loaded.module.state_dict().items()}
    record = export(state, tmp_path / "new.pt2", module=loaded.module, example=torch.rand(2, 2, 3))
    assert record.note == "the batch size is fixed at 4, as in the archive that the model comes from"
    again = load_model(ModelSettings(tmp_path / "new.pt2")).module
    inputs = torch.rand(3, 2, 3)
    assert torch.allclose(again(inputs), model(inputs), atol=1e-6)


@pytest.mark.parametrize("copied", [copy.deepcopy, twin_of, lambda module: copy.deepcopy(twin_of(module))])
def test_a_copy_is_run_as_the_graph_is(archive, copied):
    model, loaded = archive(Viewing(), torch.rand(4, 2, 3))
    twin, inputs = copied(loaded.module), torch.rand(3, 2, 3)
    assert fixed_rows(twin) == 4 and torch.allclose(twin(inputs), model(inputs), atol=1e-6)
    assert twin.train() is twin and not twin.training
    with torch.no_grad():
        twin.a.weight.zero_()
    assert not torch.allclose(twin(inputs), loaded.module(inputs)), "each has weights of its own"
    with pytest.raises(ValueError, match=r"takes inputs of the shape \[2, 3\] only"):
        twin(torch.rand(4, 5))


# --- several inputs -----------------------------------------------------------------------------------------


class Mixed(nn.Module):
    """Of two inputs, which are not alike: the order matters."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, left, right):
        return self.a(left) - self.b(right)


class OfOne(Mixed):
    def forward(self, batch):
        return super().forward(batch["left"], batch["right"])


def several(count):
    generator = torch.Generator().manual_seed(count)
    return {
        "right": torch.rand(count, 2, generator=generator),
        "left": torch.rand(count, 4, generator=generator),
    }


CALLS = {
    "by name": (Mixed, (), several),
    "by position": (Mixed, lambda parts: (parts["left"], parts["right"]), None),
    "in a dictionary": (OfOne, lambda parts: (parts,), None),
}


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("way", CALLS)
def test_a_graph_of_several_inputs_is_called_as_it_was_exported(way, free, tmp_path):
    kind, placed, named = CALLS[way]
    torch.manual_seed(0)
    module, parts = kind().eval(), several(3)
    args, kwargs = placed(parts) if placed else (), parts if named else {}
    sizes = {0: torch.export.Dim("batch", min=1)} if free else None
    shapes = torch.utils._pytree.tree_map(lambda part: sizes, (args, kwargs))
    dynamic = (shapes[1] or shapes[0]) if free else None
    torch.export.save(torch.export.export(module, args, kwargs, dynamic_shapes=dynamic), tmp_path / "m.pt2")
    loaded = load_model(ModelSettings(tmp_path / "m.pt2")).module
    for count in (1, 3, 7):
        given = NamedInputs(several(count))
        assert way_of(loaded, given) == way
        found = call_model(loaded, dict(loaded.state_dict()), given)
        expected = module(**given.parts) if kind is Mixed else module(dict(given.parts))
        torch.testing.assert_close(found, expected)
    if not free:
        with pytest.raises(BadInput, match="the graph takes inputs of the shape"):
            call_model(
                loaded, dict(loaded.state_dict()), NamedInputs({n: p[:, :1] for n, p in parts.items()})
            )
    with pytest.raises(BadInput, match=r"another form|the graph takes|mismatch|input tree"):
        call_model(loaded, dict(loaded.state_dict()), torch.rand(3, 4))
