"""Running statistics anew: those of the rows that are looked at, with the weights as they are."""

import torch
from torch import nn

from qtrain_cli.training.statistics import ROWS, has_statistics, re_estimated

BATCH = 128


def network(dropout=0.0):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(dropout), nn.Linear(6, 2))


def state_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


INPUTS = torch.randn(3 * BATCH + 5, 4, generator=torch.Generator().manual_seed(1)) * 3 + 1


def test_they_are_the_means_over_whole_batches_with_these_weights():
    module = network()
    state = state_of(module)
    state["0.weight"] = state["0.weight"] * 2  # not the module's own
    found = re_estimated(module, state, INPUTS, lambda rows: rows / 2, BATCH)
    hidden = [rows / 2 @ state["0.weight"].T + state["0.bias"] for rows in INPUTS[: 3 * BATCH].split(BATCH)]
    torch.testing.assert_close(found["1.running_mean"], torch.stack([h.mean(0) for h in hidden]).mean(0))
    torch.testing.assert_close(found["1.running_var"], torch.stack([h.var(0) for h in hidden]).mean(0))
    assert found.keys() == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}


def test_the_module_and_the_state_stay_as_they_are():
    module = network()
    state, before = state_of(module), state_of(module)
    re_estimated(module, state, INPUTS, lambda rows: rows, BATCH)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]) and torch.equal(state[name], before[name])
    assert module[1].momentum == 0.1


def test_dropout_draws_from_a_stream_of_its_own():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    re_estimated(network(0.5), state_of(network()), INPUTS, lambda rows: rows, BATCH)
    assert not torch.equal(torch.rand(3), expected)  # `network` seeds
    torch.manual_seed(5)
    module = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4))
    torch.manual_seed(5)
    re_estimated(module, state_of(module), INPUTS, lambda rows: rows, BATCH)
    assert torch.equal(torch.rand(3), expected)


def test_few_rows_are_one_batch_and_many_are_cut():
    module, few = network(), INPUTS[:10]
    hidden = few @ module[0].weight.T + module[0].bias
    found = re_estimated(module, state_of(module), few, lambda rows: rows, BATCH)
    torch.testing.assert_close(found["1.running_mean"], hidden.mean(0).detach())
    found = re_estimated(module, state_of(module), torch.zeros(2 * ROWS, 4), lambda rows: rows, BATCH)
    assert int(found["1.num_batches_tracked"]) == ROWS // BATCH


def test_who_has_statistics():
    assert has_statistics(network()) and not has_statistics(nn.Linear(2, 2))
    assert not has_statistics(nn.BatchNorm1d(3, track_running_stats=False))


class Tied(nn.Module):
    """Two layers with one weight, and a buffer of its own that counts the batches that it is trained on."""

    def __init__(self):
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.two.weight = self.one.weight
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.seen.add_(1)
        return self.two(self.norm(self.one(x)))


def test_tied_weights_stay_tied_and_other_buffers_as_they_are():
    module = Tied()
    state = module.state_dict(keep_vars=True)
    state = {name: tensor.detach() for name, tensor in state.items()}
    state["two.weight"] = state["one.weight"]
    found = re_estimated(module, state, INPUTS, lambda rows: rows, BATCH)
    assert found.keys() == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert float(module.seen) == float(state["seen"]) == 0 and float(found["norm.running_var"].min()) > 0


class Odd(nn.Module):
    """A layer that stays in evaluation mode, one that is not run, one without a counter, an ordinary one."""

    def __init__(self):
        super().__init__()
        self.frozen, self.idle, self.plain = nn.BatchNorm1d(4), nn.BatchNorm1d(4), nn.BatchNorm1d(4)
        self.uncounted = nn.BatchNorm1d(4)
        self.uncounted.num_batches_tracked = None
        self.frozen.running_mean.fill_(3)

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, x):
        return self.plain(self.uncounted(self.frozen(x)))


def test_layers_that_learn_nothing_keep_what_they_have():
    module = Odd()
    found = re_estimated(module, state_of(module), INPUTS, lambda rows: rows, BATCH)
    assert {name.split(".")[0] for name in found} == {"plain"}


def test_layers_that_share_statistics():
    module = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4), nn.BatchNorm1d(4))
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        setattr(module[2], name, getattr(module[0], name))
    state = {name: tensor.detach() for name, tensor in module.state_dict(keep_vars=True).items()}
    state |= {
        f"2.{name}": state[f"0.{name}"] for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    found = re_estimated(module, state, INPUTS, lambda rows: rows, BATCH)
    assert found["0.running_mean"] is found["2.running_mean"] and int(found["0.num_batches_tracked"]) == 6


def test_bfloat16_statistics_are_left():
    assert not has_statistics(network().bfloat16()) and has_statistics(network().double())
