"""`qtrain env`: versions and hardware, for a bug report."""

from __future__ import annotations

import os
import platform

from qtrain_cli.results.versions import all_versions


def run() -> dict[str, str | int]:
    """Versions of everything this project can use, processor, threads, and GPUs."""
    import torch

    found: dict[str, str | int] = {**all_versions()}
    found |= {
        "platform": platform.platform(),
        "cores": os.cpu_count() or 1,
        "torch_threads": torch.get_num_threads(),
        "gpus": torch.cuda.device_count(),
    }
    for number in range(torch.cuda.device_count()):
        found[f"gpu_{number}"] = torch.cuda.get_device_name(number)
    return found
