"""How angles are stored: a seeded start, and entropy-coded whole steps of the movement away from it.

    theta = start(seed) + step * code          code a whole number, -2047..2047

Training moves an angle by little (0.1 rad is typical), so the start, which costs nothing but its seed,
carries most of the information. A small change of any angle moves the state by half of it, whichever circuit
and layer it belongs to, so one step serves all. The step is the finest whose codes take `bits` each on the
average (`codec`): common codes take fewer, rare ones more. The start is the Philox 4x64 stream of NumPy with
the seed as its key, counter 0, each 64-bit word turned into an angle by the formula below; neither depends on
a version or a device.

    start = pi * (2 * (word >> 11) * 2**-53 - 1)             uniform in [-pi, pi), float64

With 32 bits the float32 angles are stored themselves.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qtrain_cli.files.codec import MAX_CODE, best_spread, bits_needed
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.portable.streams import philox_words
from qtrain_cli.quantum.circuit import CircuitSpec

_BISECTIONS = 24
#: Counts that were halved (from 32,768 numbers on) forget: so much longer a message may get.
_LONG, _FORGETS = 30_000, 1.005


def start_angles(circuit: CircuitSpec, seed: int) -> Tensor:
    """The seeded start in radians, float64, shape ``(b, L, n, r)``, on the CPU."""
    words = philox_words(seed, 0, circuit.angles)
    unit = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return torch.from_numpy(math.pi * (2 * unit - 1)).view(circuit.angle_shape)


def trained_start(spec: GeneratorSpec) -> Tensor:
    """The same of the layers that are trained alone, behind the seeded ones."""
    return start_angles(spec.circuit, spec.angles.start_seed)[:, spec.angles.seeded :]


def movement(theta: Tensor, start: Tensor) -> Tensor:
    """``theta - start`` in float64, wrapped into [-pi, pi): the shorter way around the circle."""
    return torch.remainder(theta.double() - start + math.pi, 2 * math.pi) - math.pi


def finest_step(moved: Tensor, bits: float) -> float:
    """The finest step, a float32, with which the codes of a movement (any shape) take `bits` each."""
    flat = moved.detach().double().flatten().cpu().numpy()
    largest = max(float(np.abs(flat).max()), 1e-6)
    fine, coarse = largest / MAX_CODE, float(np.float32(3 * largest))  # the coarse one makes every code 0
    for _ in range(_BISECTIONS):
        middle = float(np.float32(math.sqrt(fine * coarse)))
        fine, coarse = (fine, middle) if angles_fit(_codes(flat, middle), bits) else (middle, coarse)
    return coarse


def angles_fit(codes: NDArray[np.int64], bits: float) -> bool:
    """Whether codes, one axis, take no more than `bits` each on the average."""
    histogram, low = np.bincount(codes - codes.min()), int(codes.min())
    needed = bits_needed(histogram, low, best_spread(histogram, low))
    return needed * (_FORGETS if codes.size > _LONG else 1) <= bits * codes.size


def angle_codes(moved: Tensor, step: float) -> Tensor:
    """Whole steps of a movement, rounded half to even and clipped: int64, of its shape, where it lies."""
    exact = moved.detach().double()
    # By a tensor: a device may multiply by the inverse of a number, which rounds otherwise.
    return (exact / torch.full_like(exact, step)).round().clamp(-MAX_CODE, MAX_CODE).long()


def coded_angles(codes: Tensor, step: float, start: Tensor) -> Tensor:
    """The angles that the codes stand for, float64 (b, L, n, r)."""
    return start + codes.double() * step


def _codes(moved: NDArray[np.float64], step: float) -> NDArray[np.int64]:
    return np.clip(np.rint(moved / step), -MAX_CODE, MAX_CODE).astype(np.int64)
