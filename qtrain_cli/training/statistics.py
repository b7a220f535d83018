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

from qtrain_cli.data import Normalisation
from qtrain_cli.data.inputs import Inputs
from qtrain_cli.models.call import call_model, joined

#: Training rows that are looked at, from the first on.
ROWS = 10_240
_NAMES = ("running_mean", "running_var", "num_batches_tracked")


def has_statistics(module: nn.Module) -> bool:
    """Whether a layer of the module keeps running statistics that can be estimated anew."""
    return bool(_layers(module))


def re_estimated(
    module: nn.Module, state: Mapping[str, Tensor], inputs: Inputs, prepare: Normalisation, batch_size: int
) -> dict[str, Tensor]:
    """The running statistics after one pass over training rows with these weights, each batch counting alike.

    Layers that the model keeps in evaluation mode, or does not run, keep theirs and are not in the result.

    Args:
        module: whose layers they are.
        state: a whole state dictionary, on one device; it stays as it is.
        inputs: training rows (N, ...).
        prepare: their normalisation.
        batch_size: as in training.

    Raises:
        BadInput: as `call_model`.
    """
    device = next(iter(state.values())).device
    buffers = {id(state[name]): state[name].clone() for name, _ in module.named_buffers() if name in state}
    fresh = {name: buffers.get(id(tensor), tensor) for name, tensor in state.items()}  # tied ones stay tied
    module.train()
    layers = {path: layer for path, layer in _layers(module).items() if layer.training}
    if not layers:
        return {}
    for path in layers:
        for name in _NAMES:
            fresh[joined(path, name)].fill_(name == "running_var")
    # A last batch of one row has no variance, and what is left over changes little.
    size = min(batch_size, len(inputs))
    whole = inputs[: min(max(ROWS // size, 1), len(inputs) // size) * size]
    with torch.random.fork_rng([device] if device.type == "cuda" else []), _averaging(layers):  # of dropout
        for batch in whole.split(size):
            call_model(module, fresh, prepare(batch.to(device)))
    seen = [path for path in layers if int(fresh[joined(path, "num_batches_tracked")])]
    return {joined(path, name): fresh[joined(path, name)] for path in seen for name in _NAMES}


def _layers(module: nn.Module) -> dict[str, _BatchNorm]:
    """By path. In float16 or bfloat16 an average over many batches stands still."""
    return {
        path: layer
        for path, layer in module.named_modules()
        if isinstance(layer, _BatchNorm)
        and layer.running_mean is not None
        and layer.num_batches_tracked is not None
        and layer.running_mean.dtype in (torch.float32, torch.float64)
    }


@contextmanager
def _averaging(layers: Mapping[str, _BatchNorm]) -> Iterator[None]:
    """The layers with plain averages over batches; without gradients."""
    momenta = [(layer, layer.momentum) for layer in layers.values()]
    try:
        for layer, _ in momenta:
            layer.momentum = None
        with torch.no_grad():
            yield
    finally:
        for layer, momentum in momenta:
            layer.momentum = momentum
