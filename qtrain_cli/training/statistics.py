"""Running statistics of BatchNorm layers, estimated anew for weights that no longer move.

Those that training leaves are averages over weights that were still moving, the last of them rounded in
another way than the finished file's. The same number of bytes holds either; validation says which is better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from qtrain_cli.files.data import Normalisation
from qtrain_cli.training.objective import call_model

#: Training rows that are looked at, from the first on, and how many at once.
ROWS, BATCH = 10_240, 128
_NAMES = ("running_mean", "running_var", "num_batches_tracked")


def has_statistics(module: nn.Module) -> bool:
    """Whether a layer of the module keeps running statistics that can be estimated anew."""
    return bool(_layers(module))


def re_estimated(
    module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor, prepare: Normalisation
) -> dict[str, Tensor]:
    """The running statistics after one pass over training rows with these weights, each batch counting alike.

    Args:
        module: whose layers they are.
        state: a whole state dictionary, on one device; it stays as it is.
        inputs: training rows (N, ...).
        prepare: their normalisation.

    Raises:
        BadInput: as `call_model`.
    """
    device = next(iter(state.values())).device
    buffers = [name for name, _ in module.named_buffers() if name in state]
    fresh = dict(state) | {name: state[name].clone() for name in buffers}  # tied names keep one tensor
    names = [f"{path}.{name}".removeprefix(".") for path in _layers(module) for name in _NAMES]
    for name in names:
        fresh[name].fill_(name.endswith("var"))
    # A last batch of one row has no variance, and what is left over changes little.
    whole = inputs[: min(ROWS, max(BATCH, len(inputs) // BATCH * BATCH))]
    with torch.random.fork_rng([device] if device.type == "cuda" else []), _averaging(module):  # of dropout
        for batch in whole.split(BATCH):
            call_model(module, fresh, prepare(batch.to(device)))
    return {name: fresh[name] for name in names}


def _layers(module: nn.Module) -> dict[str, _BatchNorm]:
    return {
        path: layer
        for path, layer in module.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None
    }


@contextmanager
def _averaging(module: nn.Module) -> Iterator[None]:
    """The module in training mode, its layers with plain averages over batches; without gradients."""
    momenta = [(layer, layer.momentum) for layer in _layers(module).values()]
    try:
        for layer, _ in momenta:
            layer.momentum = None
        with torch.no_grad():
            module.train()
            yield
    finally:
        for layer, momentum in momenta:
            layer.momentum = momentum
