"""How much work a training is, counted and not timed: the same settings train alike on every machine.

    one row through the model: w floating-point operations (PyTorch's own counter)
    a step: 3 w for each of its rows, since a backward pass is two more of the forward's size

From it follow the rows of a step and the epochs where nothing is said of them (`FitSettings.for_work`), and
about how long they will take. What the counter does not know counts as every weight once for each position of
a row. Left out: the generator's circuits, which `qtrain plan` times.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, _FlopCounterMode

from qtrain_cli.data.inputs import Inputs, tensors_in
from qtrain_cli.errors import BadInput
from qtrain_cli.models.call import call_model
from qtrain_cli.models.in_place import own_streams, unchanged
from qtrain_cli.settings import FitSettings
from qtrain_cli.training.devices import numbers_in

#: Operations in a second that a usual machine of this kind has in training: two cores, or one GPU.
SPEED = {"cpu": 3e10, "cuda": 5e12}
_WHERE = {"cpu": "two cores", "cuda": "a GPU"}
#: A training that takes less is not worth a word.
WORTH_SAYING = 120.0
_PASSES = 3


def work_of(module: nn.Module, row: Inputs) -> float:
    """Operations that a step has for each row, by one prepared row (1, ...) on the module's device."""
    positions = max(map(_positions, tensors_in(row)))
    return float(_PASSES * max(_counted(module, row), numbers_in(module) * positions))


def _positions(part: Tensor) -> int:
    """How many places one row has: (1, L, features), or (1, L) tokens."""
    if part.dtype == torch.int64 and part.dim() == 2:
        return part.shape[1]
    return part[0].numel() // part.shape[-1] if part.dim() == 3 else 1


def _counted(module: nn.Module, row: Inputs) -> int:
    """Of a forward pass, as far as the model takes a single row."""
    counter = _Counter(display=False)
    with (
        contextlib.suppress(BadInput),
        own_streams(),
        unchanged(module),
        _unfused(),
        torch.no_grad(),
        counter,
    ):
        call_model(module.eval(), {}, row)
    return int(counter.get_total_flops())


class _Counting(_FlopCounterMode):
    """The same, unmarked: for a mark that says to the compiler to leave it alone, it imports the compiler."""

    __torch_dispatch__ = inspect.unwrap(_FlopCounterMode.__torch_dispatch__)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or the mark would be set on this class anew


class _Counter(FlopCounterMode):
    """PyTorch's own counter, without its compiler: a second of each start."""

    def __enter__(self) -> _Counter:
        self.flop_counts.clear()
        self.mod_tracker.__enter__()
        self.mode = _Counting(self)
        self.mode.__enter__()
        return self


@contextlib.contextmanager
def _unfused() -> Iterator[None]:
    """Fused attention is one operation, which the counter does not know everywhere."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def said_of_work(fit: FitSettings, rows: int, work: float, change: bool = False) -> str:
    """What was chosen for heavy rows, and about how long it takes; empty where nothing is heavy.

    Args:
        fit: as the user gave it.
        rows: of the training split.
        work: of a row in a step.
        change: whether changes to a base are trained.
    """
    chosen, usual = (fit.for_work(rows, operations, change) for operations in (work, 0.0))
    kind = torch.device(chosen.device).type
    seconds = chosen.steps(rows) * min(chosen.batch_size, rows) * work / SPEED[kind]
    if seconds < WORTH_SAYING:
        return ""
    fewer = [
        f"{name} {ours} in place of {theirs}"
        for name, ours, theirs in (
            ("--batch-size", chosen.batch_size, usual.batch_size),
            ("--epochs", chosen.epochs, usual.epochs),
        )
        if ours < theirs
    ]
    said = f"; {' and '.join(fewer)}, so that it ends in minutes" if fewer else ""
    return (
        f"a step takes {work / 1e9:.2g} billion operations a row: about {seconds / 60:,.0f} minutes for"
        f" {chosen.steps(rows):,} steps on {_WHERE[kind]}{said}"
    )
