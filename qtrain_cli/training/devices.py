"""Where to compute: the user's word for a device, resolved against this machine."""

from __future__ import annotations

import torch

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
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and (device.index or 0) >= gpus):
        raise UsageError(f"--device '{name}' is not there: {gpus} GPUs found", "write auto, cpu or cuda")
    return device
