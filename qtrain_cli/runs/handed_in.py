"""A module and rows of a Python program as what a run works on, in place of files.

The module is copied: what is trained is the copy, and the caller's stays as it is. Its digest is that of its
tensors, so that a run that was interrupted goes on where the same weights are handed in again.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.data import Dataset, given_data
from qtrain_cli.data.given import Handed, batches_of, flat_inputs, gathered, is_pair, split_batch
from qtrain_cli.data.inputs import Inputs, NamedInputs
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.models import LoadedModel, module_in_memory
from qtrain_cli.models.in_place import own_streams, twin_of
from qtrain_cli.runs.materials import Materials
from qtrain_cli.settings import CompareSettings, CompressSettings, FitSettings
from qtrain_cli.tasks.task import Loss
from qtrain_cli.training.ahead import row_batches
from qtrain_cli.training.batches import Batches
from qtrain_cli.training.loaders import LoaderBatches

#: Bytes of a training loader's rows that are kept, for the first look and the train figure.
KEPT_BYTES = 256 * 10**6


@dataclass(frozen=True)
class HandedIn:
    """Rows of three splits, each as `data.given` takes them. Without validation, arrays and data sets give a
    share of train. `fresh` makes an untrained module of the same architecture, for the figures of the record;
    `loss` and `metric` are as in `Task.with_own`."""

    train: Handed
    validation: Handed | None
    test: Handed
    fresh: Callable[[], nn.Module] | None = None
    loss: Loss | None = None
    metric: Loss | None = None

    def __post_init__(self) -> None:
        if self.test is None:
            raise UsageError("there are no test rows", "hand over test=, which is used once, at the end")
        if self.validation is None and self.by_loader:
            raise UsageError("a loader gives no validation rows", "hand over validation= beside it")

    @property
    def by_loader(self) -> bool:
        """Whether training rows come in batches of their own."""
        return not is_pair(self.train) and batches_of(self.train) is self.train


def handed_in(module: nn.Module, given: HandedIn, settings: CompressSettings | CompareSettings) -> Materials:
    """What a run works on: the module of trained weights, what was handed in beside it, and the settings of
    its model and data, files aside."""
    loader = _Loader(given.train) if given.by_loader else None
    arrays: dict[str, Any] = {}

    def read(seed: int) -> Dataset:
        if not arrays:
            arrays.update(_arrays(given, loader))
        return given_data(arrays, settings.data, seed)

    fresh = given.fresh
    return Materials(
        model=lambda: _copied(module, settings.model.output),
        rows=read,
        fresh=lambda loaded, device: fresh().to(device) if fresh else None,
        batches=loader.batches if loader else row_batches,
        own=lambda row: row.with_own(given.loss, given.metric),
        named=", ".join(map(_name_of, filter(None, (given.loss, given.metric)))),
    )


def _name_of(function: Loss) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _arrays(given: HandedIn, loader: _Loader | None) -> dict[str, Any]:
    with own_streams(0):
        train = gathered("train", given.train, KEPT_BYTES if loader else math.inf)
        validation = {} if given.validation is None else gathered("validation", given.validation)
        return {**train, **validation, **gathered("test", given.test)}


def _copied(module: nn.Module, output: str | None) -> LoadedModel:
    copy = twin_of(module).cpu()
    return module_in_memory(copy, _digest(copy), output)


def _digest(module: nn.Module) -> str:
    """SHA-256 over names, shapes, dtypes and values."""
    found = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        found.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


class _Loader:
    """A training loader: how many batches it has is known once they were counted."""

    def __init__(self, loader: Any) -> None:
        self.loader, self._count = loader, 0

    def batches(self, data: Dataset, fit: FitSettings, device: torch.device) -> Batches:
        if fit.augment:
            raise UsageError("augment is for data of files", "augment what the training loader gives")
        if not self._count:
            self._count = _counted(self.loader)
        if not self._count:
            raise BadInput(
                "the training loader has no batches",
                "give a loader with rows; an iterator that was read once is empty",
            )
        kinds = _kinds(data)
        return LoaderBatches(
            self.loader,
            self._count,
            lambda batch: _read(batch, kinds),
            data.normalisation,
            (fit.seed, device),
        )


def _counted(loader: Any) -> int:
    """By its own word, or one pass: a loader of streamed rows has no length."""
    with contextlib.suppress(TypeError):
        return len(loader)
    with own_streams(0):
        return sum(1 for _ in loader)


def _kinds(data: Dataset) -> Mapping[str, torch.dtype]:
    """Of inputs by name, and of targets (``y``): what the same rows became when they were looked at."""
    inputs = data.train.inputs
    parts = inputs.parts if isinstance(inputs, NamedInputs) else {"": inputs}
    return {**{f"x{name}": part.dtype for name, part in parts.items()}, "y": data.train.targets.dtype}


def _read(batch: Any, kinds: Mapping[str, torch.dtype]) -> tuple[Inputs, Tensor]:
    given, targets = split_batch(batch)
    parts = {
        name: torch.as_tensor(part).to(kinds.get(f"x{name}")) for name, part in flat_inputs(given).items()
    }
    inputs: Inputs = parts[""] if "" in parts else NamedInputs(parts)
    return inputs, targets.to(kinds["y"])
