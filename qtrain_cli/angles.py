"""How angles are stored: a seeded start, and integer codes of the movement away from it.

    theta = start(seed) + step[c] * code          code in -(2**(k-1) - 1) .. 2**(k-1) - 1

Training moves an angle by little (0.1 rad is typical), so the start, which costs nothing but its seed,
carries most of the information, and few bits of movement keep what training found. `step` is one float32 a
circuit. The start is the Philox 4x64 stream of NumPy with the seed as its key, counter 0, each 64-bit word
turned into an angle by the formula below; neither depends on a version or a device.

    start = pi * (2 * (word >> 11) * 2**-53 - 1)             uniform in [-pi, pi), float64

Codes are packed `k` bits each, least significant bit first, offset by 2**(k-1). With k = 32 the float32
angles are stored themselves.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qtrain_cli.accounting import packed_bytes
from qtrain_cli.errors import BadInput
from qtrain_cli.quantum.circuit import CircuitSpec

#: Shares of the largest movement that are tried as the edge of the grid (the best one is kept).
_EDGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)


def start_angles(circuit: CircuitSpec, seed: int) -> Tensor:
    """The seeded start in radians, float64, shape ``(b, L, n, r)``, on the CPU."""
    words = np.random.Philox(key=seed).random_raw(circuit.angles)
    unit = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return torch.from_numpy(math.pi * (2 * unit - 1)).view(circuit.angle_shape)


def movement(theta: Tensor, start: Tensor) -> Tensor:
    """``theta - start`` in float64, wrapped into [-pi, pi): the shorter way around the circle."""
    return torch.remainder(theta.double() - start + math.pi, 2 * math.pi) - math.pi


def choose_steps(moved: Tensor, bits: int) -> Tensor:
    """The grid step of each circuit that loses least in mean square: (b, L, n, r) -> float32 (b,)."""
    flat = moved.double().flatten(1)
    highest = 2 ** (bits - 1) - 1
    largest = flat.abs().amax(1).clamp_min(1e-6)
    edges = torch.tensor(_EDGES, dtype=torch.float64)
    steps = (largest[:, None] * edges / highest).float()  # (b, edges)
    wide = steps.double()[:, :, None]
    codes = (flat[:, None] / wide).round().clamp(-highest, highest)
    best = (codes * wide - flat[:, None]).square().sum(-1).argmin(1)
    return steps.gather(1, best[:, None])[:, 0]


def encode(moved: Tensor, steps: Tensor, bits: int) -> Tensor:
    """Integer codes of a movement, rounded half to even and clipped: int64 (b, L, n, r)."""
    highest = 2 ** (bits - 1) - 1
    ratio = moved.double() / steps.double()[:, None, None, None]
    return ratio.round().clamp(-highest, highest).long()


def decode(codes: Tensor, steps: Tensor, start: Tensor) -> Tensor:
    """The angles that the codes stand for, float64 (b, L, n, r)."""
    return start + codes.double() * steps.double()[:, None, None, None]


def pack(codes: Tensor, bits: int) -> bytes:
    """Codes (any shape, row-major) as packed bytes, least significant bit first."""
    raw = (codes.flatten().numpy() + 2 ** (bits - 1)).astype("<u2").view(np.uint8).reshape(-1, 2)
    each = np.unpackbits(raw, axis=1, count=bits, bitorder="little")  # (count, bits)
    return np.packbits(each.ravel(), bitorder="little").tobytes()


def unpack(packed: bytes, count: int, bits: int) -> Tensor:
    """The inverse of `pack`: int64 (count,). Raises `BadInput` for a wrong size or bits beyond the end."""
    if len(packed) != packed_bytes(count, bits):
        raise BadInput(f"{len(packed)} bytes of packed angles; needed: {packed_bytes(count, bits)}")
    flat: NDArray[np.uint8] = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
    if flat[count * bits :].any():
        raise BadInput("the packed angles do not end in zeros")
    raw = np.zeros((count, 2), np.uint8)
    raw[:, : packed_bytes(1, bits)] = np.packbits(
        flat[: count * bits].reshape(count, bits), axis=1, bitorder="little"
    )
    codes = raw.view("<u2")[:, 0].astype(np.int64) - 2 ** (bits - 1)
    if (codes == -(2 ** (bits - 1))).any():
        raise BadInput("a packed angle lies outside the grid")
    return torch.from_numpy(codes)
