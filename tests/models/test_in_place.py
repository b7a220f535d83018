"""Tensors in a module's place: gradients against autograd's own, however a forward has its weights."""

import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from qtrain_cli.errors import BadInput
from qtrain_cli.models import in_place
from qtrain_cli.models.call import call_model, file_state, load_into, predict
from qtrain_cli.models.in_place import own_streams, places_of, twin_of, unchanged


@pytest.fixture(autouse=True, params=[False, True], ids=["copies", "lends"])
def large(request, monkeypatch):
    """Every test once more as for a model of many numbers, which may take the state's memory."""
    monkeypatch.setattr(in_place, "LENDS", -1 if request.param else in_place.LENDS)
    return request.param


class Net(nn.Module):
    """Two layers with BatchNorm and dropout; `how` says what becomes of the first part in training."""

    def __init__(self, how="plain"):
        super().__init__()
        torch.manual_seed(0)
        self.how, self.body = (
            how,
            nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.3)),
        )
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        if self.how == "plain" or not self.training:
            return self.head(self.body(x))
        return self.head(checkpoint(self.body, x, use_reentrant=self.how == "reentrant"))


class Listed(nn.Module):
    """Its forward knows its weights by a list, an alias of their numbers, and a scripted layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 3)
        self.weights, self.numbers = [self.first.weight, self.first.bias], self.second.weight.detach()
        self.last = torch.jit.script(self.third)

    def forward(self, x):
        hidden = linear(x, *self.weights)
        return self.last(linear(hidden, self.second.weight * 0 + self.numbers, self.second.bias))


class Renamed(nn.Linear):
    """Its state dictionary has another name for its weight, in both directions."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self._register_state_dict_hook(
            lambda m, state, prefix, _: state.update(w=state.pop(f"{prefix}weight"))
        )
        self.register_load_state_dict_pre_hook(
            lambda m, state, prefix, *rest: state.update(weight=state.pop(f"{prefix}w"))
        )


def apart(module):
    """A state of other numbers that asks for gradients; buffers are copies, and what is tied stays so."""
    made = {}
    for tensor in module.state_dict(keep_vars=True).values():
        moved = tensor.detach().clone()
        if isinstance(tensor, nn.Parameter):
            moved = (moved * 1.5 + 0.1).requires_grad_()
        made.setdefault(id(tensor), moved)
    return {name: made[id(tensor)] for name, tensor in module.state_dict(keep_vars=True).items()}


def gradients(module, state, inputs, seed=3):
    torch.manual_seed(seed)
    outputs = call_model(module.train(), state, inputs)
    outputs.square().sum().backward()
    return outputs.detach(), {name: tensor.grad for name, tensor in state.items() if tensor.requires_grad}


def expected(module, state, inputs, seed=3):
    """The same by autograd alone: the state loaded, the parameters' own gradients."""
    module.load_state_dict({name: tensor.detach() for name, tensor in state.items()})
    torch.manual_seed(seed)
    outputs = module.train()(inputs)
    outputs.square().sum().backward()
    named = module.state_dict(keep_vars=True).items()
    return outputs.detach(), {name: p.grad for name, p in named if isinstance(p, nn.Parameter)}


INPUTS = torch.randn(7, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "make",
    [
        Net,
        Listed,
        lambda: nn.utils.weight_norm(nn.Linear(4, 3)),
        lambda: nn.utils.spectral_norm(nn.Linear(4, 3)),
        lambda: Renamed(4, 3),
    ],
)
def test_outputs_and_gradients_are_those_of_a_module_that_holds_the_state(make):
    module, other = make(), make()
    other.load_state_dict(module.state_dict())
    state = apart(module)
    outputs, found = gradients(module, state, INPUTS)
    right, wanted = expected(other, apart(module), INPUTS)
    assert torch.equal(outputs, right) and found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert torch.equal(found[name], gradient), name
    for name, buffer in dict(other.named_buffers()).items():
        assert torch.equal(state[name], buffer), name


@pytest.mark.parametrize("how", ["nonreentrant", "reentrant"])
def test_activation_checkpointing_changes_no_gradient_and_no_statistic(how):
    plain, state = gradients(Net(), (one := apart(Net())), INPUTS), apart(Net())
    module = Net(how)
    outputs, found = gradients(module, state, INPUTS)
    assert torch.equal(outputs, plain[0])
    for name, gradient in plain[1].items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-6)
    for name in ("body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked"):
        assert torch.equal(state[name], one[name])  # the recomputed forward does not count


def test_reentrant_checkpointing_of_whole_numbers_is_refused():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Sequential(nn.Embedding(5, 4), nn.Flatten())

        def forward(self, x):
            return checkpoint(self.table, x, use_reentrant=True)

    module = Tokens()
    with pytest.raises(BadInput, match="use_reentrant=True: no gradient reaches its weights") as caught:
        call_model(module, apart(module), torch.tensor([[1, 2]]))
    assert "use_reentrant=False" in caught.value.advice


def test_a_sparse_gradient_arrives_dense():
    module = nn.Sequential(nn.Embedding(5, 4, sparse=True), nn.Flatten())
    state = apart(module)
    call_model(module, state, torch.tensor([[1], [1], [3]])).sum().backward()
    assert state["0.weight"].grad.tolist() == [[0.0] * 4, [2.0] * 4, [0.0] * 4, [1.0] * 4, [0.0] * 4]


def test_the_module_is_as_it_was_after_forward_and_backward_and_evaluation():
    module = Net().eval()
    module.head.weight.requires_grad_(False)
    module.head.bias.grad = torch.ones(3)
    module.register_buffer("unsaved", torch.zeros(2), persistent=False)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    predict(module, apart(module), INPUTS, lambda rows: rows)
    gradients(module, apart(module), INPUTS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert not module.head.weight.requires_grad and module.head.bias.grad.tolist() == [1.0] * 3
    assert module.body[0].weight.requires_grad and module.body[0].weight.grad is None


def test_calls_between_a_forward_and_its_backward_do_not_disturb_it():
    module = Net("nonreentrant")
    _, wanted = gradients(module, apart(module), INPUTS)
    state = apart(module)
    torch.manual_seed(3)
    loss = call_model(module.train(), state, INPUTS).square().sum()
    predict(module, module.state_dict(), INPUTS, lambda rows: rows)
    call_model(module, {name: t.detach() * 3 for name, t in apart(module).items()}, INPUTS)
    module.train()
    loss.backward()
    for name, gradient in wanted.items():
        torch.testing.assert_close(state[name].grad, gradient, rtol=1e-6, atol=1e-6)


def test_outputs_that_no_tensor_reaches_need_no_gradient():
    class Deaf(nn.Linear):
        def forward(self, x):
            return torch.zeros(len(x), 2)

    module = Deaf(4, 2)
    assert not call_model(module, apart(module), INPUTS).requires_grad


def test_names_of_places_follow_the_tensors_and_not_the_attributes():
    assert {name: [key for _, key in places] for name, places in places_of(Renamed(4, 3)).items()} == {
        "w": ["weight"], "bias": ["bias"],
    }  # fmt: skip


class Adapter(nn.Module):
    """W + B A, merged into W in evaluation mode as adapters are."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.w, self.a, self.b = (nn.Parameter(torch.randn(size)) for size in ((3, 4), (2, 4), (3, 2)))
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode == self.merged:
            self.w.data += (-1 if mode else 1) * self.b.data @ self.a.data
            self.merged = not mode
        return self

    def forward(self, x):
        return x @ (self.w if self.merged else self.w + self.b @ self.a).T


def test_an_adapter_that_merges_in_evaluation_is_evaluated_merged_once():
    module, other = Adapter().eval(), Adapter()
    state = {name: tensor.detach() for name, tensor in apart(module.train()).items()}
    other.load_state_dict(state)
    wanted = other.eval()(INPUTS).detach()
    for _ in range(2):
        torch.testing.assert_close(predict(module.eval(), state, INPUTS, lambda rows: rows), wanted)
        torch.testing.assert_close(call_model(module.train(), state, INPUTS), wanted)
    fresh = Adapter()
    torch.testing.assert_close(file_state(fresh.eval())["w"], Adapter().w.detach())


def test_a_state_that_the_module_does_not_take_back():
    class OneWay(nn.Linear):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self._register_state_dict_hook(lambda m, state, *rest: state.update(w=state.pop("weight")))

    module = OneWay(4, 3)
    with pytest.raises(
        BadInput, match=r"(?s)does not take its own state dictionary: .*Unexpected key.*\"w\""
    ) as caught:
        load_into(module, module.state_dict())
    assert "its counterpart for loading" in caught.value.advice


def test_a_twin_of_a_layer_that_holds_a_computed_weight():
    module = nn.utils.weight_norm(nn.Linear(4, 3))
    twin = twin_of(module)
    assert torch.equal(twin(INPUTS), module(INPUTS)) and twin.weight_g is not module.weight_g


def test_streams_of_ones_own_leave_no_trace_and_follow_from_a_seed():
    def draw():
        return torch.rand(()).item(), random.random(), float(np.random.rand())

    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    before = draw()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    drawn = []
    for seed in (1, 1, 2):
        with own_streams(seed):
            drawn.append(draw())
    assert drawn[0] == drawn[1] and not set(drawn[0]) & set(drawn[2])
    assert draw() == before


def test_what_warns_in_training_goes_on_warning():
    class Warns(nn.Linear):
        def forward(self, x):
            warnings.warn("mind the gap", stacklevel=1)
            return super().forward(x)

    module = Warns(4, 2)
    with pytest.warns(UserWarning, match="mind the gap"):
        assert call_model(module, apart(module), INPUTS).requires_grad


def test_parts_keep_modes_of_their_own():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).train()
    module[1].eval()
    with unchanged(module):
        module.eval()
    assert [part.training for part in module.modules()] == [True, True, False]


# --- lending the state's memory -----------------------------------------------------------------------------


class Clipped(nn.Module):
    """Its forward writes into its own weight."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head = nn.Embedding(9, 4, max_norm=0.5), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.table(x).mean(1))


class Halved(nn.Module):
    """Its forward writes into its own weight past autograd, which counts no version."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        self.first.weight.data.mul_(0.5)
        return self.head(self.first(x))


@pytest.mark.parametrize(
    ("make", "inputs", "lent"),
    [
        (Net, torch.randn(5, 4), True),
        (lambda: Net("reentrant"), torch.randn(5, 4), True),
        (Listed, torch.randn(5, 4), False),  # a view of its own memory stays behind
        (Clipped, torch.randint(9, (5, 3)), False),  # it would write into the state
        (Halved, torch.randn(5, 4), False),
    ],
)
def test_memory_is_lent_only_where_the_module_makes_the_same_of_it(large, make, inputs, lent):
    module = make()
    state, before = apart(module), {n: t.detach().clone() for n, t in module.state_dict().items()}
    given = {name: tensor.detach().clone() for name, tensor in state.items()}
    places = [tensor.data_ptr() for tensor in module.parameters()]
    gradients(module, state, inputs)
    assert in_place._LENT[module] == (large and lent)
    assert [tensor.data_ptr() for tensor in module.parameters()] == places
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert "running" in name or "num_batches" in name or torch.equal(state[name], given[name])


def test_a_state_of_another_form_is_copied(large):
    module = Net()
    state = apart(module)
    gradients(module, state, torch.randn(5, 4))
    turned = dict(state)
    for name, tensor in state.items():
        if tensor.dim() == 2:
            turned[name] = tensor.detach().t().contiguous().t().requires_grad_()
    found, expected = (gradients(module, one, torch.ones(5, 4))[0] for one in (turned, state))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("reentrant", [False, True])
def test_attention_that_is_computed_anew_multiplies_as_it_did(reentrant):
    """In bfloat16 on a processor it is written out: backward finds the same sizes as forward saved."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.into, self.head = nn.Linear(8, 24), nn.Linear(8, 3)

        def attend(self, x):
            q, k, v = self.into(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
            return nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

        def forward(self, x):
            return self.head(checkpoint(self.attend, x, use_reentrant=reentrant).mean(1))

    module, inputs = Attention(), torch.randn(5, 6, 8)
    state = apart(module)
    call_model(module, state, inputs, "bf16").square().sum().backward()
    rough = {name: tensor.grad.clone() for name, tensor in state.items()}
    exact = gradients(module, apart(module), inputs)[1]
    for name, found in rough.items():
        assert (found - exact[name]).norm() < 0.05 * exact[name].norm()
