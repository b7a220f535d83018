"""Where to compute: the user's word for a device, resolved against this machine, tensors moved there, and how
many threads of a CPU share the work.

PyTorch's sums depend in their last bits on the number of threads. Light work has one, whatever the machine,
so that its result is the same on few cores and on many; it is no slower for that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from qtrain_cli.errors import UsageError
from qtrain_cli.training.ranks import Ranks, present

#: Light work: numbers of a model times those of one input, which is no less than a convolution multiplies.
LIGHT = 2**20


def resolve_device(name: str) -> torch.device:
    """``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``. Of several processes each has a GPU
    of its own.

    Raises:
        UsageError: a name torch does not know, a device this machine does not have, or fewer than processes.
    """
    gpus = torch.cuda.device_count()
    if present().several and gpus and name.partition(":")[0] in ("auto", "cuda"):
        return _own_gpu(name, gpus, present())
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


def _own_gpu(name: str, gpus: int, ranks: Ranks) -> torch.device:
    if name not in ("auto", "cuda"):
        raise UsageError(f"--device {name} is one device for {ranks.count} processes", "write --device cuda")
    if gpus < ranks.local_count:
        raise UsageError(
            f"{ranks.local_count} processes of this machine need a GPU each: {gpus} found",
            f"use --processes {gpus}, or --device cpu",
        )
    torch.cuda.set_device(ranks.local)
    return torch.device("cuda", ranks.local)


@contextlib.contextmanager
def usual_threads() -> Iterator[None]:
    """Whatever becomes of the number of threads meanwhile, it is the usual one again afterwards."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def share_out(numbers: int, row: int, device: torch.device) -> None:
    """Leaves a model of so many numbers, for inputs of so many, to one thread if that is light work."""
    if device.type == "cpu" and numbers * row <= LIGHT:
        torch.set_num_threads(1)


def numbers_in(module: nn.Module) -> int:
    """All numbers of a module's tensors."""
    return sum(tensor.numel() for tensor in module.state_dict().values())


def moved_to(state: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The same tensors on `device`, detached; names that share one tensor still share one."""
    moved = {id(tensor): tensor.detach().to(device) for tensor in state.values()}
    return {name: moved[id(tensor)] for name, tensor in state.items()}
