"""Calling a model with a state of its own: the same as loading it, in batches, and what it may do wrong."""

import pytest
import torch
from torch import nn

from qtrain_cli.errors import BadInput
from qtrain_cli.models import call
from qtrain_cli.models.call import call_model, predict
from qtrain_cli.models.outputs import noting_choice


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


class TiedPair(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


class Twice(nn.Module):
    """One layer under two names, and BatchNorm under two names."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)
        self.second, self.again = self.first, self.norm

    def forward(self, x):
        return self.again(self.second(self.norm(self.first(x))))


NETWORKS = {
    "twice": (Twice, (3,)),
    "linear": (lambda: nn.Linear(3, 2), (3,)),
    "tied": (TiedPair, (3,)),
    "recurrent": (Recurrent, (5, 3)),
    "attention": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (5, 4)),
    "batchnorm": (lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), (3,)),
    "weight-norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), (3,)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_in_place_of_the_modules_own_is_the_same_as_loading_it(name):
    make, shape = NETWORKS[name]
    module, other = make(), make()
    tensors = {id(tensor): tensor.detach().clone() for tensor in other.state_dict(keep_vars=True).values()}
    state = {key: tensors[id(tensor)] for key, tensor in other.state_dict(keep_vars=True).items()}
    inputs = torch.randn(7, *shape)
    found = predict(module, state, inputs, lambda batch: batch)
    module.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(found, module.eval()(inputs))


def test_a_module_of_two_names_is_as_it_was_after_each_call():
    module = Twice().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    copies = {id(t): t.detach() + 1 for t in module.state_dict(keep_vars=True).values()}
    state = {name: copies[id(t)] for name, t in module.state_dict(keep_vars=True).items()}
    for calls in (1, 2):
        call_model(module, state, torch.randn(7, 3))
        assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
        assert int(state["again.num_batches_tracked"]) == 1 + 2 * calls
        assert state["again.running_mean"] is state["norm.running_mean"]


@pytest.mark.parametrize(("rows", "numbers"), [(3, 10**6), (1000, 12), (1000, 1)])
def test_a_split_is_evaluated_in_batches_in_evaluation_mode(monkeypatch, rows, numbers):
    monkeypatch.setattr(call, "EVALUATION_ROWS", rows)
    monkeypatch.setattr(call, "EVALUATION_NUMBERS", numbers)
    module, sizes = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5)).train(), []
    module.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    inputs = torch.randn(10, 4)
    found = predict(module, module.state_dict(), inputs, lambda batch: batch * 2)
    torch.testing.assert_close(found, module[0](inputs * 2))
    assert not found.requires_grad
    assert sum(sizes) == 10 and max(sizes) == {10**6: 3, 12: 3, 1: 1}[numbers]


def test_inputs_that_the_model_does_not_take():
    with pytest.raises(BadInput) as caught:
        predict(nn.Linear(3, 2).eval(), nn.Linear(3, 2).state_dict(), torch.zeros(5, 4), lambda batch: batch)
    assert caught.value.message.startswith(
        "the model does not take 5 inputs of shape [4] (RuntimeError: mat1"
    )
    assert "--arch" in caught.value.advice
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("forward", "found"),
    [
        (lambda x: (), "a tuple"),
        (lambda x: {}, "a dict"),
        (lambda x: None, "a NoneType"),
        (lambda x: (torch.sum(x), x), r"\[\]"),
        (torch.sum, r"\[\]"),
    ],
)
def test_outputs_that_are_not_a_row_for_each_input(forward, found):
    class Odd(nn.Linear):
        def forward(self, x):
            return forward(super().forward(x))

    module = Odd(3, 2)
    with pytest.raises(BadInput, match=f"returns {found} in training mode for 4 inputs of shape .3."):
        call_model(module, module.state_dict(), torch.zeros(4, 3))


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_used_up_memory_is_not_blamed_on_the_model(error):
    class Hungry(nn.Linear):
        def forward(self, x):
            raise error

    module = Hungry(3, 2)
    with pytest.raises(type(error)):
        call_model(module, module.state_dict(), torch.zeros(4, 3))


class Several(nn.Module):
    """Returns what it was made with, of a hidden layer and of scores."""

    def __init__(self, pack):
        super().__init__()
        self.first, self.second, self.pack = nn.Linear(3, 4), nn.Linear(4, 2), pack

    def forward(self, x):
        hidden = self.first(x)
        return self.pack(hidden, self.second(hidden))


@pytest.mark.parametrize(
    ("pack", "width"),
    [
        (lambda hidden, scores: (scores, hidden), 2),
        (lambda hidden, scores: [hidden, scores], 4),
        (lambda hidden, scores: {"hidden": hidden, "logits": scores}, 2),
        (lambda hidden, scores: {"hidden": hidden, "scores": scores}, 4),
    ],
    ids=["tuple", "list", "logits", "first of a dictionary"],
)
def test_of_several_outputs_logits_or_the_first_counts(pack, width):
    module = Several(pack)
    assert call_model(module, dict(module.state_dict()), torch.ones(5, 3)).shape == (5, width)


@pytest.mark.parametrize(
    ("pack", "said"),
    [
        (lambda hidden, scores: scores, []),
        (lambda hidden, scores: (scores,), []),
        (lambda hidden, scores: (scores, hidden), ["of the model's outputs the first of 2 counts"]),
        (
            lambda hidden, scores: {"hidden": hidden, "logits": scores},
            ["of the model's outputs 'logits' counts"],
        ),
        (
            lambda hidden, scores: {"h": hidden, "s": scores},
            ["of the model's outputs 'h', the first of 2, counts"],
        ),
    ],
)
def test_which_of_several_outputs_counts_is_said_once(pack, said):
    module, lines = Several(pack), []
    with noting_choice(module, lines.append):
        for _ in range(2):
            predict(module, dict(module.state_dict()), torch.ones(5, 3), lambda x: x)
    assert lines == said
    assert not module._forward_hooks


class ShortRows:
    """Prepares rows whose length is their first number."""

    def __call__(self, inputs):
        return inputs

    def lengths(self, inputs):
        return inputs[:, 0].long()


def test_rows_that_go_by_their_length_come_back_in_their_own_order(monkeypatch):
    monkeypatch.setattr(call, "EVALUATION_ROWS", 2)
    seen, module = [], nn.Linear(3, 2)
    module.register_forward_pre_hook(lambda module, args: seen.append(args[0][:, 0].tolist()))
    inputs = torch.tensor([[3.0, 1, 2], [1, 5, 5], [2, 0, 1], [1, 7, 7], [3, 4, 4]])
    found = predict(module, dict(module.state_dict()), inputs, ShortRows())
    assert seen == [[1, 1], [2, 3], [3]]
    torch.testing.assert_close(found, module(inputs).detach())


@pytest.mark.parametrize(
    ("rows", "tokens", "sizes"),
    [(9, 5, [2, 1, 1, 1]), (2, 100, [2, 2, 1]), (9, 7, [3, 1, 1]), (9, 1, [1] * 5), (9, 100, [5])],
)
def test_a_batch_of_short_rows_has_more_of_them(monkeypatch, rows, tokens, sizes):
    """Rows of 1, 2, 2, 4 and 5 tokens: as many as fit with their padding, and a long one alone."""
    monkeypatch.setattr(call, "EVALUATION_ROWS", rows)
    monkeypatch.setattr(call, "EVALUATION_TOKENS", tokens)
    seen, module = [], nn.Linear(3, 2)
    module.register_forward_pre_hook(lambda module, args: seen.append(args[0][:, 0].tolist()))
    inputs = torch.tensor([[5.0, 1, 2], [2, 5, 5], [1, 0, 1], [4, 7, 7], [2, 4, 4]])
    found = predict(module, dict(module.state_dict()), inputs, ShortRows())
    assert [len(part) for part in seen] == sizes
    assert [length for part in seen for length in part] == [1, 2, 2, 4, 5]
    torch.testing.assert_close(found, module(inputs).detach())
