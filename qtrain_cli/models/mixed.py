"""The model's own steps in bfloat16: its forward, and with it its backward. Never the circuits.

    generated tensors, float32 --autocast--> bfloat16 products --> scores, float32

Weights, gradients and what is measured stay float32. On a processor attention is written out
(`SDPBackend.MATH`): the backward pass of torch's fused one took 18 ms a layer of MiniLM in bfloat16 there,
1.5 ms in float32. Written out, a step of that model takes 0.57 to 0.6 of its time in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

#: The dtype of products, by what `--precision` may say; none for the model's own.
_DTYPES = {"bf16": torch.bfloat16}


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
