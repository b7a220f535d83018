"""How several inputs stand in a call, told by the forward's signature."""

import pytest
import torch
from torch import nn

from qtrain_cli.data.inputs import NamedInputs, joined_rows, single
from qtrain_cli.errors import BadInput
from qtrain_cli.models.arguments import AS_ONE, NAME, POSITION, arguments_of, said_call, way_of
from qtrain_cli.models.call import call_model, predict

TWO = NamedInputs({"tokens": torch.ones(5, 3, dtype=torch.int64), "mask": torch.ones(5, 3, dtype=torch.bool)})


def of(forward):
    class Model(nn.Module):
        pass

    Model.forward = forward
    return Model()


@pytest.mark.parametrize(
    ("forward", "way"),
    [
        (lambda self, tokens, mask: 0, NAME),
        (lambda self, mask=None, tokens=None, other=None: 0, NAME),
        (lambda self, tokens, *, mask: 0, NAME),
        (lambda self, **inputs: 0, NAME),
        (lambda self, tokens=None, labels=None, **rest: 0, NAME),
        (lambda self, batch: 0, AS_ONE),
        (lambda self, batch, dropout=0.0: 0, AS_ONE),
        (lambda self, ids, attention: 0, POSITION),
        (lambda self, ids, attention=None: 0, POSITION),
        (lambda self, ids=None, attention=None, **rest: 0, POSITION),
        (lambda self, tokens, third, mask=None: 0, POSITION),
        (lambda self, *inputs: 0, POSITION),
    ],
)
def test_the_way_is_told_by_the_signature(forward, way):
    assert way_of(of(forward), TWO) == way
    placed, named = arguments_of(of(forward), TWO)
    expected = {
        NAME: ((), dict(TWO.parts)),
        AS_ONE: ((dict(TWO.parts),), {}),
        POSITION: ((*TWO.parts.values(),), {}),
    }
    assert (placed, named) == expected[way]
    assert said_call(of(forward), TWO) == (f"the model is given tokens, mask {way}",)


def test_numbered_names_are_places_and_one_tensor_needs_no_sentence():
    numbered = NamedInputs({"0": torch.ones(2, 3), "1": torch.zeros(2)})
    assert way_of(of(lambda self, a, b: 0), numbered) == POSITION
    assert said_call(nn.Linear(2, 2), torch.ones(3, 2)) == ()


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, tokens, mask, weight):
        found = self.table(tokens) * mask.unsqueeze(-1)
        return self.out(found.sum(1) * weight)


def test_a_call_and_its_gradients_are_those_of_the_module_itself():
    module, other = Masked().double(), Masked().double()
    generator = torch.Generator().manual_seed(0)
    inputs = NamedInputs({
        "weight": torch.rand(7, 1, generator=generator),
        "tokens": torch.randint(0, 9, (7, 5), generator=generator),
        "mask": torch.rand(7, 5, generator=generator) > 0.3,
    })  # fmt: skip
    state = {name: tensor.detach().clone().requires_grad_() for name, tensor in other.state_dict().items()}
    outputs = call_model(module, state, inputs)
    expected = other(inputs.parts["tokens"], inputs.parts["mask"], inputs.parts["weight"].double())
    torch.testing.assert_close(outputs, expected.float())
    outputs.square().sum().backward()
    expected.float().square().sum().backward()
    for name, tensor in other.named_parameters():
        torch.testing.assert_close(state[name].grad, tensor.grad)
    plain = {name: tensor.detach() for name, tensor in state.items()}
    torch.testing.assert_close(predict(module, plain, inputs, lambda batch: batch), expected.detach().float())


def test_what_fails_says_each_inputs_shape():
    with pytest.raises(BadInput, match=r"does not take 5 inputs of tokens \[3\], mask \[3\]"):
        predict(nn.Linear(3, 2), nn.Linear(3, 2).state_dict(), TWO, lambda batch: batch)


def test_rows_are_cut_and_joined_together():
    parts = list(TWO.split(2))
    assert [len(part) for part in parts] == [2, 2, 1]
    whole = joined_rows(parts)
    assert all(torch.equal(whole.parts[name], part) for name, part in TWO.parts.items())
    assert list(TWO[torch.tensor([0, 4])].parts) == ["tokens", "mask"]
    with pytest.raises(BadInput, match="a student reads one tensor, and the data have several: tokens, mask"):
        single(TWO)
