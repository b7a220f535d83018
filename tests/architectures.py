"""Architectures of varied habits in plain PyTorch, and what their weights are worth there.

Nothing here knows the package. Run as a program, it loads exported state dictionaries into fresh modules and
prints how many test rows each of them gets right.
"""

from __future__ import annotations

import json
import math
import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import register_parametrization
from torch.utils.checkpoint import checkpoint

FEATURES, CLASSES, WORDS, LENGTH, TRAIN, TEST = 8, 3, 40, 6, 240, 120


class Through(nn.Module):
    """Layers around a part that has a habit: (N, 8) -> (N, 12) -> part -> (N, 12) -> (N, 3)."""

    def __init__(self, part: nn.Module, before: int = 12) -> None:
        super().__init__()
        self.first, self.part, self.last = nn.Linear(FEATURES, before), part, nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.part(self.first(x))))


class Cells(nn.Module):
    """A part that sees twelve numbers as a picture or series of this shape, and is flattened again."""

    def __init__(self, *shape_then_layers) -> None:
        super().__init__()
        self.shape = [n for n in shape_then_layers if isinstance(n, int)]
        self.layers = nn.Sequential(*[n for n in shape_then_layers if isinstance(n, nn.Module)])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.view(len(x), *self.shape)).flatten(1)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(12, 12), nn.Linear(12, 12)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.relu(self.a(x)))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cell = kind(4, 6, num_layers=2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x.view(len(x), 3, 4))[0].mean(1)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.view(len(x), 3, 4)
        return self.heads(rows, rows, rows, need_weights=False)[0].flatten(1)


class Words(nn.Module):
    """Tokens (N, 6) -> (N, 3) over a table of words."""

    def __init__(self, table: nn.Module) -> None:
        super().__init__()
        self.table, self.last = table, nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        found = self.table(x)
        return self.last(found if found.dim() == 2 else found.mean(1))


class Symmetric(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return w.triu() + w.triu(1).T


class InAList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(12, 12), nn.Linear(12, 12)
        self.weights = [self.a.weight, self.b.weight]

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.relu(F.linear(x, self.weights[0], self.a.bias)), self.weights[1], self.b.bias)


class Parameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.list = nn.ParameterList([torch.randn(12, 12) / 4 for _ in range(2)])
        self.named = nn.ParameterDict({"shift": torch.zeros(12)})

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x @ self.list[0]) @ self.list[1] + self.named["shift"]


class Adapter(nn.Module):
    """W + B A; eval() merges, train() takes it out again."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, 12) / 4)
        self.a, self.b = nn.Parameter(torch.randn(2, 12) / 4), nn.Parameter(torch.zeros(12, 2))
        self.merged = False

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * self.b.data @ self.a.data
            self.merged = not mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight if self.merged else self.weight + self.b @ self.a)


class Renamed(nn.Linear):
    """Its state dictionary says `w`; whether it takes that back is another matter."""

    def __init__(self, both_ways: bool) -> None:
        super().__init__(12, 12)
        self._register_state_dict_hook(
            lambda module, state, prefix, _: state.update({prefix + "w": state.pop(prefix + "weight")})
        )
        if both_ways:
            self.register_load_state_dict_pre_hook(
                lambda module, state, prefix, *_: state.update({prefix + "weight": state.pop(prefix + "w")})
            )


class Scaling(nn.Linear):
    """Loading makes another tensor of its weight."""

    def __init__(self) -> None:
        super().__init__(12, 12)
        self.register_load_state_dict_pre_hook(
            lambda module, state, prefix, *_: state.update(
                {prefix + "weight": state[prefix + "weight"] * 0.5}
            )
        )


class Cached(nn.Module):
    """A standardised weight that is kept: until the mode changes, or for good."""

    def __init__(self, stale: bool = False) -> None:
        super().__init__()
        self.weight, self.stale, self.kept = nn.Parameter(torch.randn(12, 12)), stale, None

    def train(self, mode: bool = True) -> nn.Module:
        self.kept = self.kept if self.stale else None
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return F.linear(x, F.normalize(self.weight, dim=1))
        if self.kept is None:
            self.kept = F.normalize(self.weight, dim=1).detach()
        return F.linear(x, self.kept)


class Checkpointed(nn.Sequential):
    def __init__(self, reentrant: bool) -> None:
        super().__init__(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12))
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        return (
            checkpoint(super().forward, x, use_reentrant=self.reentrant)
            if self.training
            else super().forward(x)
        )


class CheckpointedFirst(nn.Module):
    """Reentrant from the inputs on, which need no gradient themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = nn.Sequential(nn.Linear(FEATURES, 12), nn.Tanh()), nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(checkpoint(self.body, x, use_reentrant=True) if self.training else self.body(x))


class Table(nn.Module):
    """A buffer that no state dictionary holds: made by a rule, or drawn."""

    def __init__(self, drawn: bool) -> None:
        super().__init__()
        self.register_buffer(
            "table", torch.randn(12) if drawn else torch.linspace(0.5, 1.5, 12), persistent=False
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.table


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 12))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w, self.scale = nn.Parameter(torch.randn(12, 12) / 4), nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.w) * self.scale


class Counting(nn.Module):
    """Counts its training steps, and means something by it in evaluation: in a buffer, or in a number."""

    def __init__(self, stored: bool) -> None:
        super().__init__()
        self.layer, self.steps = nn.Linear(12, 12), 0
        if stored:
            del self.steps
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps = self.steps + 1
        return self.layer(x) * (1 + self.steps / 1000)


class Averaging(nn.Module):
    """Assigns its buffer anew."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(12))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(12, 12)
        self.again = self.a

    def forward(self, x: Tensor) -> Tensor:
        return self.again(F.relu(self.a(x)))


class Sampling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.3, training=True)


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(12, 3), nn.ModuleList(nn.Linear(12, 12) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        return (self.gate(x).softmax(1).unsqueeze(2) * outputs).sum(1)


class Squeeze(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(12, 3), nn.Linear(3, 12)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.up(F.relu(self.down(x))).sigmoid()


def frozen() -> nn.Module:
    part = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 12))
    part[0].requires_grad_(False)
    return part


def _linear() -> nn.Linear:
    return nn.Linear(12, 12)


def _parametrised() -> nn.Module:
    layer = _linear()
    register_parametrization(layer, "weight", Symmetric())
    return layer


def _sines() -> torch.Tensor:
    """A table with no row of zeros."""
    return torch.sin(torch.arange(WORDS * 12.0) + 1).view(WORDS, 12)


#: Name -> a module that is built anew at each call.
FACTORIES = {
    "batch-norm": lambda: Through(nn.Sequential(_linear(), nn.BatchNorm1d(12))),
    "layer-norm": lambda: Through(nn.Sequential(_linear(), nn.LayerNorm(12))),
    "group-norm": lambda: Through(Cells(4, 3, nn.Conv1d(4, 4, 3, padding=1), nn.GroupNorm(2, 4))),
    "instance-norm": lambda: Through(
        Cells(4, 3, nn.Conv1d(4, 4, 1), nn.InstanceNorm1d(4, affine=True, track_running_stats=True))
    ),
    "rms-norm": lambda: Through(nn.Sequential(_linear(), nn.RMSNorm(12))),
    "tied": lambda: Through(Tied()),
    "lstm": lambda: Through(Recurrent(nn.LSTM)),
    "gru": lambda: Through(Recurrent(nn.GRU)),
    "attention": lambda: Through(Attention()),
    "transformer": lambda: Through(
        Cells(3, 4, nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2))
    ),
    "embedding-padding": lambda: Words(nn.Embedding(WORDS, 12, padding_idx=0)),
    "embedding-padding-row": lambda: Words(nn.Embedding.from_pretrained(_sines(), False, 0)),
    "embedding-sparse": lambda: Words(nn.Embedding(WORDS, 12, sparse=True)),
    "embedding-bag": lambda: Words(nn.EmbeddingBag(WORDS, 12)),
    "weight-norm-old": lambda: Through(nn.utils.weight_norm(_linear())),
    "weight-norm-new": lambda: Through(parametrizations.weight_norm(_linear())),
    "spectral-norm-old": lambda: Through(nn.utils.spectral_norm(_linear())),
    "spectral-norm-new": lambda: Through(parametrizations.spectral_norm(_linear())),
    "parametrised": lambda: Through(_parametrised()),
    "parameters-in-a-list": lambda: Through(InAList()),
    "parameter-list-and-dict": lambda: Through(Parameters()),
    "adapter-merging": lambda: Through(Adapter()),
    "hook-renames": lambda: Through(Renamed(True)),
    "hook-renames-one-way": lambda: Through(Renamed(False)),
    "hook-scales": lambda: Through(Scaling()),
    "cached-in-evaluation": lambda: Through(Cached()),
    "cached-for-good": lambda: Through(Cached(stale=True)),
    "checkpoint": lambda: Through(Checkpointed(False)),
    "checkpoint-reentrant": lambda: Through(Checkpointed(True)),
    "checkpoint-first": lambda: CheckpointedFirst(),
    "scripted": lambda: Through(torch.jit.script(nn.Sequential(_linear(), nn.ReLU()))),
    "lazy": lambda: Through(nn.Sequential(nn.LazyLinear(12), nn.LazyBatchNorm1d())),
    "unsaved-table": lambda: Through(Table(False)),
    "unsaved-drawn": lambda: Through(Table(True)),
    "residual": lambda: Through(Residual()),
    "depthwise": lambda: Through(Cells(3, 2, 2, nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.Conv2d(3, 3, 1))),
    "transposed": lambda: Through(Cells(3, 2, 2, nn.Conv2d(3, 3, 2), nn.ConvTranspose2d(3, 3, 2))),
    "functional": lambda: Through(Functional()),
    "frozen-part": lambda: Through(frozen()),
    "counter": lambda: Through(Counting(True)),
    "counter-unsaved": lambda: Through(Counting(False)),
    "averaging": lambda: Through(Averaging()),
    "shared-module": lambda: Through(Shared()),
    "softmax-output": lambda: nn.Sequential(Through(_linear()), nn.Softmax(1)),
    "dropout": lambda: Through(nn.Sequential(_linear(), nn.Dropout(0.2), nn.AlphaDropout(0.1))),
    "sampling": lambda: Through(Sampling()),
    "prelu": lambda: Through(nn.Sequential(_linear(), nn.PReLU(12))),
    "experts": lambda: Through(Experts()),
    "squeeze-excite": lambda: Through(Squeeze()),
}  # fmt: skip


def make(name: str) -> nn.Module:
    """A fresh module."""
    module = FACTORIES[name]()
    if name == "lazy":
        module(rows_of(name, 2, 0)[0])
    return module


def rows_of(name: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of one split: features near the centre of a class, or words of which most are a class's own."""
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(0, CLASSES, (count,), generator=random)
    if name.startswith("embedding"):
        own = 1 + 13 * y[:, None] + torch.randint(0, 13, (count, LENGTH), generator=random)
        other = torch.randint(0, WORDS, (count, LENGTH), generator=random)
        return torch.where(torch.rand(count, LENGTH, generator=random) < 0.6, own, other), y
    centres = torch.randn(CLASSES, FEATURES, generator=torch.Generator().manual_seed(99)) * 1.5
    return centres[y] + torch.randn(count, FEATURES, generator=random), y


def taught(name: str) -> nn.Module:
    """A module that was trained for some steps, in training mode."""
    torch.manual_seed(0)
    module, (x, y) = make(name), rows_of(name, TRAIN, 1)
    wanted = [p for p in module.parameters() if p.requires_grad]
    steps = [torch.optim.SparseAdam(wanted[:1], 0.02), torch.optim.Adam(wanted[1:], 0.02)]
    steps = steps if name == "embedding-sparse" else [torch.optim.Adam(wanted, 0.02)]
    for _ in range(60):
        module.zero_grad()
        F.cross_entropy(module.train()(x), y).backward()
        for step in steps:
            step.step()
    return module


def correct(name: str, path: str) -> int:
    """How many test rows a fresh module with the tensors of a `.pt` file gets right."""
    module = make(name)
    module.load_state_dict(torch.load(path, weights_only=True))
    module.eval()
    x, y = rows_of(name, TEST, 2)
    with torch.no_grad():
        return int((module(x).argmax(1) == y).sum())


if __name__ == "__main__":
    torch.manual_seed(math.floor(torch.pi * 1e6))  # whatever a fresh module begins with
    print(
        json.dumps(
            {name: correct(name, path) for name, path in zip(sys.argv[1::2], sys.argv[2::2], strict=True)}
        )
    )
    assert not any(name.startswith("qtrain") for name in sys.modules)
