"""Where to compute: the user's word for a device, resolved against this machine, and tensors moved there."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from qtrain_cli.errors import UsageError


def resolve_device(name: str) -> torch.device:
    """``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        UsageError: a name torch does not know, or a device this machine does not have.
    """
    gpus = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device '{name}' is unknown", "write auto, cpu, cuda or cuda:1") from None
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda" or (device.index or 0) >= gpus:
        raise UsageError(f"--device '{name}' is not there: {gpus} GPUs found", "write auto, cpu or cuda")
    return device


def moved_to(state: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The same tensors on `device`, detached; names that share one tensor still share one."""
    moved = {id(tensor): tensor.detach().to(device) for tensor in state.values()}
    return {name: moved[id(tensor)] for name, tensor in state.items()}
