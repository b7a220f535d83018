"""The model's own steps in bfloat16: its forward, and with it its backward. Never the circuits.

    generated tensors, float32 --autocast--> bfloat16 products --> scores, float32

Weights, gradients and what is measured stay float32. On a processor attention is written out
(`SDPBackend.MATH`): the backward pass of torch's fused one took 18 ms a layer of MiniLM in bfloat16 there,
1.5 ms in float32. Written out, a step of that model takes 0.57 to 0.6 of its time in float32 on a processor
that has instructions for bfloat16. On one that has none it took twenty times as long (`said_of_products`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

#: The dtype of products, by what `--precision` may say; none for the model's own.
_DTYPES = {"bf16": torch.bfloat16}
#: A side of the matrices by which a processor is timed, and how often: some milliseconds at the slowest.
_SIDE, _TIMES = 128, 3
#: So many times the seconds of float32 are worth a word: no noise of a busy machine, as the least of some.
_MUCH_SLOWER = 3.0


@contextmanager
def products_in(precision: str, device: torch.device) -> Iterator[None]:
    """Inside it a model on this device multiplies in the precision (`settings.fit.PRECISIONS`)."""
    dtype = _DTYPES.get(precision)
    if dtype is None:
        yield
        return
    with torch.autocast(device.type, dtype), attention_in(precision, device):
        yield


@contextmanager
def attention_in(precision: str, device: torch.device) -> Iterator[None]:
    """The part of it that a backward pass needs once more, where it computes activations anew: a checkpoint
    brings autocast back by itself, and which attention it was not."""
    if precision in _DTYPES and device.type == "cpu":
        with sdpa_kernel(SDPBackend.MATH):
            yield
    else:
        yield


def said_of_products(precision: str, device: torch.device) -> str:
    """A line where this processor multiplies much more slowly in the precision than in float32, by a product
    of each that is timed here; else nothing. What is computed does not depend on it."""
    if precision not in _DTYPES or device.type != "cpu":
        return ""
    slower = _seconds(_DTYPES[precision]) / _seconds(torch.float32)
    if slower < _MUCH_SLOWER:
        return ""
    return (
        f"--precision {precision} is slow on this processor: its matrix products take about"
        f" {slower:.0f} times as long as in float32; leave the option out here"
    )


def _seconds(dtype: torch.dtype) -> float:
    """Of a product of square matrices, the least of some, after one that is not counted."""
    one = torch.ones(_SIDE, _SIDE, dtype=dtype)
    taken = []
    for _ in range(_TIMES + 1):
        started = time.perf_counter()
        one @ one
        taken.append(time.perf_counter() - started)
    return min(taken[1:])
