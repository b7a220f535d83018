"""The thread settings a PyTorch rival is tried with: sharing out a small state costs far more than it saves.

The engine, too, runs small states on one thread.
"""

import os

import torch

#: Amplitudes of the batch below which only one thread is tried, and from which one is not tried any more.
NEVER_SHARED, ALWAYS_SHARED = 2**12, 2**18


def with_threads(case, steps):
    """Every step on one thread and on as many as the environment says."""
    every = int(os.environ.get("OMP_NUM_THREADS", "1"))
    counts = {1} if case.v.size < NEVER_SHARED else {1, every} if case.v.size < ALWAYS_SHARED else {every}
    return {f"{name}, {on} threads": _on(on, step) for name, step in steps.items() for on in sorted(counts)}


def _on(threads, step):
    def run():
        torch.set_num_threads(threads)
        return step()

    return run
