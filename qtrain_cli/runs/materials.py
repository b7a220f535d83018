"""What a run works on: a model, rows, and the batches that it learns from; out of files, or handed in.

    of_files(settings)      what `--data` and MODEL name
    handed_in               a module and loaders of a caller's own (`api`)

A comparison asks for the rows of each seed, since a seed sets apart its own validation rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from qtrain_cli.data import Dataset, load_data
from qtrain_cli.models import LoadedModel, load_model
from qtrain_cli.models.bases import load_base
from qtrain_cli.models.formats import is_adapter_folder
from qtrain_cli.models.heads import pooling_of
from qtrain_cli.models.peft_folder import with_tokenizer
from qtrain_cli.runs.fresh import fresh_module
from qtrain_cli.settings import ChangeSettings, DataSettings, FitSettings, ModelSettings
from qtrain_cli.targets.change import Wanted
from qtrain_cli.tasks import Task
from qtrain_cli.training.ahead import row_batches
from qtrain_cli.training.batches import Batches

#: How the training rows of some data come in steps, on a device.
Batching = Callable[[Dataset, FitSettings, torch.device], Batches]
#: A row of the table of tasks -> that row, or one of a caller's own.
OwnRow = Callable[[Task], Task]


def as_it_is(row: Task) -> Task:
    """The table's own."""
    return row


@dataclass(frozen=True)
class AskedChange:
    """Changes to a base: `base` gives its name and loads it, None where the model is the base itself, which
    then learns from labels alone, with a head that pools so if it lacks one."""

    wanted: Wanted | None
    base: Callable[[], tuple[str, LoadedModel | Mapping[str, Tensor]]] | None
    pooling: str


@dataclass(frozen=True)
class Materials:
    """`rows` gives the data of a seed, `fresh` a module of the model that was never trained (None where there
    is none), `batches` the steps, `own` the task's row for training, with a loss or figure of the caller's;
    `named` says what of that is not the usual, for the run's identity. `change` is there where a base is.
    """

    model: Callable[[], LoadedModel]
    rows: Callable[[int], Dataset]
    fresh: Callable[[LoadedModel, torch.device], nn.Module | None]
    batches: Batching = row_batches
    own: OwnRow = as_it_is
    named: str = ""
    change: AskedChange | None = None

    def by_row(self, fit: FitSettings) -> bool:
        """Whether batches are rows of the training split as they are."""
        return self.batches is row_batches and not fit.augment

    @property
    def identity(self) -> dict[str, str]:
        """What a run depends on beside model, data and settings; nothing for one of the command line."""
        return {"by": self.named} if self.named else {}


def of_files(model: ModelSettings, data: DataSettings, change: ChangeSettings | None = None) -> Materials:
    """Out of what the settings name. Its functions raise as `load_model` and `load_data`."""
    base = change.base if change else None
    return Materials(
        lambda: load_model(model, base),
        lambda seed: load_data(data, seed, with_tokenizer(model, base)),
        lambda loaded, device: _fresh(model, base, loaded, device),
        change=asked_change(model, change),
    )


def _fresh(
    model: ModelSettings, base: Path | None, loaded: LoadedModel, device: torch.device
) -> nn.Module | None:
    """A module that was never trained; of an adapter, whose folder holds no model, it is read again."""
    if is_adapter_folder(model.path):
        return load_model(model, base).module.to(device)
    return fresh_module(model, loaded, device)


def asked_change(model: ModelSettings, change: ChangeSettings | None) -> AskedChange | None:
    """What settings ask for; None where they name no base."""
    if change is None or change.base is None:
        return None
    path = change.base
    if path == model.path:
        return AskedChange(change.target, None, pooling_of(with_tokenizer(model).path))
    return AskedChange(change.target, lambda: (path.name, load_base(replace(model, path=path))), "")
