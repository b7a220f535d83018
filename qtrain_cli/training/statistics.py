"""Running statistics of BatchNorm layers, estimated anew for weights that no longer move.

Those that training leaves are averages over weights that were still moving, the last of them rounded in
another way than the finished file's. The same number of bytes holds either; validation says which is better.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from qtrain_cli.files.data import Normalisation
from qtrain_cli.training.objective import in_precision

#: Training rows that are looked at, from the first on, and how many at once.
ROWS, BATCH = 10_240, 128


def has_statistics(module: nn.Module) -> bool:
    """Whether a layer of the module keeps running statistics that can be estimated anew."""
    layers = (layer for layer in module.modules() if isinstance(layer, _BatchNorm))
    return any(layer.running_mean is not None for layer in layers)


def re_estimated(
    module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor, prepare: Normalisation
) -> dict[str, Tensor]:
    """The running statistics after one pass over training rows with these weights, each batch counting alike.

    Args:
        module: whose layers they are; it stays as it is.
        state: a whole state dictionary, on one device.
        inputs: training rows (N, ...).
        prepare: their normalisation.
    """
    device = next(iter(state.values())).device
    copied = copy.deepcopy(module).to(device)
    copied.load_state_dict(dict(state))
    # A last batch of one row has no variance, and what is left over changes little.
    whole = inputs[: min(ROWS, max(BATCH, len(inputs) // BATCH * BATCH))]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # of dropout
        update_bn((in_precision(prepare(batch.to(device)), state) for batch in whole.split(BATCH)), copied)
    own = (path for path, layer in copied.named_modules() if isinstance(layer, _BatchNorm))
    named = {
        f"{path}.{name}" for path in own for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    return {name: buffer for name, buffer in copied.named_buffers() if name in named & state.keys()}
