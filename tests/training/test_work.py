"""Work that is counted: PyTorch's counter against the sums that anyone can do, and what is said of it."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from qtrain_cli.settings import FitSettings
from qtrain_cli.training.work import said_of_work, work_of


def worked(module, *row, tokens=False):
    return work_of(module, torch.zeros(1, *row, dtype=torch.int64 if tokens else torch.float32))


def test_a_step_is_three_forward_passes():
    assert worked(nn.Linear(10, 4), 10) == 3 * 2 * 10 * 4
    conv = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 30 * 30, 10))
    assert worked(conv, 3, 32, 32) == 3 * 2 * (8 * 27 * 30 * 30 + 10 * 8 * 30 * 30)


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(16, 32, batch_first=True), nn.Linear(32, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


def test_what_the_counter_does_not_know_is_every_weight_at_each_position():
    weights = sum(tensor.numel() for tensor in Last().parameters())
    assert worked(Last(), 20, 16) == 3 * 20 * weights


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.table, self.body, self.head = (
            nn.Embedding(50, 32),
            nn.TransformerEncoder(layer, 2),
            nn.Linear(32, 2),
        )

    def forward(self, x):
        return self.head(self.body(self.table(x)).mean(1))


def test_attention_is_counted_although_it_is_fused():
    module = Pooled().eval()
    dense = 2 * (4 * 32 * 32 + 2 * 32 * 64) * 2 * 20  # two layers, 20 tokens
    attention = 2 * 2 * 2 * 20 * 20 * 32
    assert worked(module, 20, tokens=True) == 3 * (dense + attention + 2 * 32 * 2)
    assert not module.training and torch.backends.mha.get_fastpath_enabled()


def test_pytorchs_own_counter_says_the_same():
    """Of convolutions in groups and transposed, of operations that are made of others, and of branches."""

    class Branched(nn.Linear):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda x: x @ self.weight.T, lambda x: x[:, :3], (x,))

    module = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), nn.GELU(), nn.ConvTranspose2d(8, 4, 3), nn.Flatten(),
        nn.Linear(576, 5), Branched(5, 3),
    )  # fmt: skip
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module.eval()(torch.zeros(1, 4, 12, 12))
    assert worked(module, 4, 12, 12) == 3 * counter.get_total_flops() > 0


def test_a_model_that_takes_no_single_row_counts_by_its_weights():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            assert len(x) > 1
            return self.head(x)

    assert worked(Two(), 4) == 3 * 10


@pytest.mark.parametrize(
    ("fit", "work", "said"),
    [
        (FitSettings(device="cpu"), 1e6, ""),
        (FitSettings(device="cpu", epochs=5, batch_size=64), 1e10,
         "a step takes 10 billion operations a row: about 27 minutes for 75 steps on two cores"),
        (FitSettings(device="cpu"), 1e10,
         "a step takes 10 billion operations a row: about 11 minutes for 124 steps on two cores;"
         " --batch-size 16 in place of 128 and --epochs 2 in place of 286, so that it ends in minutes"),
    ],
)  # fmt: skip
def test_what_takes_long_is_said_with_what_was_left_off(fit, work, said):
    assert said_of_work(fit, 1000, work) == said
