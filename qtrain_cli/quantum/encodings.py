"""Data into states, one circuit a sample: (N, features) -> (N, 2**n), differentiable in the features.

    angles    phi[s, t] = scale_t f_t(x_s)                                (N, T)     all terms of all stages
    a stage   psi <- B diag(exp(-i phi @ signs)) B^H psi                  (N, 2**n)

A stage's rotations are diagonal in a product basis B, so it is one product of coefficients and signs, one
multiplication, and constant product matrices that meet their neighbours and merge: one stands between two
diagonals. A product matrix is kept as its halves, A x B with psi viewed as (N, 2**(n/2), 2**(n/2)), and as
the whole (2**n, 2**n) where it merges with the ansatz behind it.

Wire 0 is the most significant bit. Everything constant is cached by encoding, precision and device.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum.feature_maps import AMPLITUDE, EncodingSpec, Stage, stages

CPU = torch.device("cpu")
_ROOT = math.sqrt(0.5)
#: B of each letter: P = B Z B^H. That of X is the Hadamard gate.
_BASES = {
    "X": torch.tensor(((_ROOT, _ROOT), (_ROOT, -_ROOT)), dtype=torch.complex128),
    "Y": torch.tensor(((_ROOT, 1j * _ROOT), (1j * _ROOT, _ROOT)), dtype=torch.complex128),
    "Z": torch.eye(2, dtype=torch.complex128),
}


@dataclass(frozen=True)
class Turn:
    """A product matrix A x B for columns: its halves (2**j, 2**j), (2**k, 2**k), j + k = n, complex."""

    left: Tensor
    right: Tensor

    def __call__(self, psi: Tensor) -> Tensor:
        """Rows of states (N, 2**n) -> (N, 2**n)."""
        split = psi.unflatten(1, (len(self.left), len(self.right)))
        return (self.left @ split @ self.right.mT).flatten(1)

    @functools.cached_property
    def whole(self) -> Tensor:
        """The matrix for rows of states, (2**n, 2**n): its transpose."""
        return torch.kron(self.left, self.right).mT.contiguous()


@dataclass(frozen=True)
class Program:
    """What is constant of an encoding: start, diagonal 0, turns[0], diagonal 1, turns[1], ...

    `first` acts before the first diagonal; signs[k]: (terms, 2**n) of stage k, real.
    """

    first: Turn
    signs: tuple[Tensor, ...]
    turns: tuple[Turn, ...]


@functools.lru_cache(maxsize=64)
def program(spec: EncodingSpec, dtype: torch.dtype, device: torch.device = CPU) -> Program:
    """The constants of an encoding (not `amplitude`) for complex states of `dtype` on a device."""
    rows = stages(spec)
    hadamard, one = _BASES["X"], _BASES["Z"]
    # One 2 x 2 matrix a qubit between two diagonals: out of one basis, Hadamard or not, into the next.
    leaving = [[one] * spec.qubits, *([_BASES[letter] for letter in stage.bases] for stage in rows)]
    entering = [
        [_BASES[letter].mH @ (hadamard if stage.hadamards else one) for letter in stage.bases]
        for stage in rows
    ]
    entering.append([one] * spec.qubits)
    turns = [
        _turn([after @ before for before, after in zip(out, into, strict=True)], dtype, device)
        for out, into in zip(leaving, entering, strict=True)
    ]
    real = torch.float32 if dtype == torch.complex64 else torch.float64
    signs = tuple(_signs(stage, spec.qubits).to(device, real) for stage in rows)
    return Program(turns[0], signs, tuple(turns[1:]))


def _turn(factors: list[Tensor], dtype: torch.dtype, device: torch.device) -> Turn:
    half = len(factors) // 2
    start = torch.ones(1, 1, dtype=torch.complex128)
    left, right = (functools.reduce(torch.kron, part, start) for part in (factors[:half], factors[half:]))
    return Turn(left.to(device, dtype), right.to(device, dtype))


def angles(spec: EncodingSpec, features: Tensor) -> Tensor:
    """``phi``, the rotations' half angles: features (N, n) -> (N, T), in radians.

    Raises:
        BadInput: features of another shape.
    """
    if features.dim() != 2 or features.shape[1] != spec.qubits:
        raise BadInput(f"the features have the shape {list(features.shape)}; needed: [any, {spec.qubits}]")
    scales, index, single = _feature_table(spec, features.device)
    # (N, T, k): missing features of shorter terms are pi - pi = 0 away from a factor of 1.
    padded = torch.cat((math.pi - features, torch.ones_like(features[:, :1])), 1)
    products = padded[:, index].prod(-1)
    values = torch.where(single, features[:, index[:, 0].clamp_max(spec.qubits - 1)], products)
    return values * scales.to(features.dtype)


def apply(constants: Program, phi: Tensor, psi: Tensor | None, last: Tensor | None = None) -> Tensor:
    """Runs an encoding on rows of states.

    Args:
        constants: what `program` returns.
        phi: (N, T), what `angles` returns.
        psi: states (N, 2**n), complex; None is |0...0>.
        last: a matrix for rows of states, (2**n, 2**n), to run after it (merged with the encoding's last
            turn).

    Returns:
        (N, 2**n)
    """
    psi = constants.first.whole[:1] if psi is None else constants.first(psi)
    parts = phi.split([len(signs) for signs in constants.signs], 1)
    for k, (signs, part) in enumerate(zip(constants.signs, parts, strict=True)):
        phases = part @ signs
        psi = psi * torch.polar(torch.ones_like(phases), -phases)
        if last is not None and k == len(parts) - 1:
            return psi @ (constants.turns[k].whole @ last)
        psi = constants.turns[k](psi)
    return psi


def encode(spec: EncodingSpec, features: Tensor) -> Tensor:
    """The encoded states from |0...0>: features (N, n), or (N, 2**n) for `amplitude`, to (N, 2**n), complex.

    Raises:
        BadInput: features of another shape, or a row of zeros for `amplitude`.
    """
    if spec.name == AMPLITUDE:
        return amplitudes(spec, features).to(features.dtype.to_complex())
    return apply(program(spec, features.dtype.to_complex(), features.device), angles(spec, features), None)


def amplitudes(spec: EncodingSpec, features: Tensor) -> Tensor:
    """Rows divided by their norms: (N, 2**n) -> (N, 2**n), real.

    Raises:
        BadInput: features of another shape, or a row that is all zeros, which has no direction.
    """
    if features.dim() != 2 or features.shape[1] != spec.features:
        raise BadInput(f"the features have the shape {list(features.shape)}; needed: [any, {spec.features}]")
    norms = features.norm(dim=1, keepdim=True)
    if not bool((norms > 0).all()):
        row = int((norms[:, 0] > 0).int().argmin())
        raise BadInput(
            f"input number {row} of a batch cannot be amplitude-encoded: it is all zeros",
            "drop such rows, shift the data with --mean and --std, or use encoding=angle",
        )
    return features / norms


@functools.lru_cache(maxsize=64)
def _feature_table(spec: EncodingSpec, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of every term: its scale (T,), the features it takes (T, k) padded with n, and whether it takes one."""
    terms = [term for stage in stages(spec) for term in stage.terms]
    most = max(len(term.wires) for term in terms)
    index = [[*term.wires, *[spec.qubits] * (most - len(term.wires))] for term in terms]
    single = [len(term.wires) == 1 for term in terms]
    scales = torch.tensor([term.scale for term in terms], device=device)
    return scales, torch.tensor(index, device=device), torch.tensor(single, device=device)


def _signs(stage: Stage, qubits: int) -> Tensor:
    """The eigenvalue of each term's string on each basis state: (terms, 2**n) of 1 and -1."""
    outcomes = torch.arange(2**qubits)
    rows = []
    for term in stage.terms:
        bits = torch.stack([(outcomes >> (qubits - 1 - wire)) & 1 for wire in term.wires])
        rows.append(1 - 2 * (bits.sum(0) % 2))
    return torch.stack(rows)
