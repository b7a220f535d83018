"""When an exported file counts as the same model: tensors bit for bit, outputs within a tolerance.

A reader that gives back other tensors than were written is broken, so there the tolerance is none. A graph
that another program runs sums in another order, and fuses layers: its outputs ``y`` may differ by

    |y' - y|  <=  sqrt(eps) * max(max |y|, sqrt(eps))

with `eps` the dtype's own, which is half of its digits: 3e-4 of the largest output in float32. Reordered
sums cost a few eps (3e-7 of it, measured on a ResNet-20). A wrong tensor shows; one weight that is a little
off need not, and so tensors are compared as well wherever the format keeps them (`.onnx` does not).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from qtrain_cli.data.inputs import Inputs
from qtrain_cli.errors import RunFailed
from qtrain_cli.exports.tracing import PLAIN_ADVICE, PROBE_SEED, Traced
from qtrain_cli.models.in_place import own_streams

#: What was written is not what was to be written: a disk or its memory fails.
WRITE_AGAIN = "run it again, with -o on another disk if it fails again"


def require_same(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    """Raise `RunFailed` unless both hold the same names, dtypes, shapes and bits, in any order.

    Bits and not values: nan equals itself, and -0.0 is not 0.0.
    """
    if names := sorted(expected.keys() ^ found.keys()):
        raise RunFailed(
            f"{where} and the weights do not hold the same tensors: {', '.join(names)}", WRITE_AGAIN
        )
    for name, tensor in expected.items():
        if not _same_bits(tensor, found[name]):
            raise RunFailed(f"tensor '{name}' of {where} differs from the weights", WRITE_AGAIN)


def require_close(traced: Traced, outputs: Callable[[Inputs], Tensor], where: str) -> str:
    """Raise `RunFailed` unless `outputs` computes what `traced.module` does; returns how it was compared."""
    worst = bound = 0.0
    for probe in traced.probes():
        expected = traced.eager(probe)
        with own_streams(PROBE_SEED):
            found = outputs(probe)
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise RunFailed(
                f"{where} returns {_kind(found)}; PyTorch returns {_kind(expected)}", PLAIN_ADVICE
            )
        difference, limit = _difference(expected, found), tolerance(expected)
        if not difference <= limit and traced.draws(probe):
            raise RunFailed(
                "the model draws random numbers in evaluation: no graph of it can be compared with it",
                PLAIN_ADVICE,
            )
        if not difference <= limit:  # true for nan, too
            raise RunFailed(
                f"{where} differs from PyTorch by {difference:.2g}; allowed: {limit:.2g}", PLAIN_ADVICE
            )
        worst, bound = max(worst, difference), max(bound, limit)
    return f"outputs on {traced.compared} within {worst:.2g} of PyTorch (allowed: {bound:.2g})"


def tolerance(expected: Tensor) -> float:
    """How far outputs may lie from `expected`; 0 for integers and truth values, which have no rounding."""
    if not expected.is_floating_point():
        return 0.0
    half = torch.finfo(expected.dtype).eps ** 0.5
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    return half * max(largest, half)


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return torch.equal(*(t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (one, other)))
