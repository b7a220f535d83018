"""The weights of files of former formats: as PyTorch's arithmetic gives them, on one thread of the CPU.

Those files were hashed on the machine that wrote them. Another machine's arithmetic may round differently:
there the signed sums of the weights before their last rounding ("probes") have to agree within the file's
tolerance, which is far below what any float32 model can feel. Ours was decoded in float64; a rival in
float32, as it was trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.artifact.description import Digest
from qtrain_cli.artifact.former.model_4 import PROBES
from qtrain_cli.artifact.payload import single_precision
from qtrain_cli.methods.forms import Plan
from qtrain_cli.methods.table import method_of
from qtrain_cli.portable.streams import philox_words
from qtrain_cli.targets.entries import GENERATED, LayoutSpec

MAX_TOLERANCE = 1e-4


def former_generated(
    method: str, plan: Plan, layout: LayoutSpec, numbers: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The generated tensors by name in float64, before they are rounded to their own dtypes."""
    found = method_of(method)
    entries = layout.of_role(GENERATED)
    wide = LayoutSpec(tuple(replace(entry, dtype="F64", stored="", row=-1) for entry in entries))
    with _one_thread(), torch.no_grad():
        return (found.exact or found.decode)(wide, plan, torch.device("cpu"))(numbers)


def allowed_tolerance(digest: Digest) -> float:
    """The file's tolerance, capped; 0 for a file of this format."""
    return min(digest.tolerance, MAX_TOLERANCE)


def near(weights: Tensor, digest: Digest) -> bool:
    """Whether float64 weights (m,) agree with the probes of a former digest, within its tolerance."""
    allowed = allowed_tolerance(digest) * float(weights.norm())
    pairs = zip(probes_of_weights(weights), digest.probes, strict=True)
    return all(abs(one - other) <= allowed for one, other in pairs)


def probes_of_weights(weights: Tensor) -> tuple[float, ...]:
    """Sums of float64 weights (m,) under fixed random signs (the bits of Philox streams 1..4), as float32."""
    values, found = weights.numpy(), []
    for key in range(1, PROBES + 1):
        words = philox_words(key, 0, -(-values.size // 64))
        bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")[: values.size]
        found.append(single_precision(float((values * (2.0 * bits - 1)).sum())))
    return tuple(found)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
