"""All 2**n probabilities of a batch of circuits, and their vector-Jacobian product, in plain PyTorch.

    theta (b, L, n, r)  ->  p (b, 2**n)          p = |psi|**2, summing to 1 for each circuit

The rotations of one layer act on different qubits, so `g` neighbouring qubits share one 2**g x 2**g matrix
(`rotations`), and a layer is one matrix product per group. Each product also moves its group from the front
of the index to the back, so that every group in turn stands at the front without a copy, and after all of
them the qubits are in order again:

    out[rest, i] = sum_j U[i, j] psi[j, rest]                         # (2**n / d, d) <- (d, 2**n / d)

The entangler is one index permutation, one sign vector (`entanglers`), or controlled gates (`couplings`).
The backward sweep is the adjoint method; `adjoint.md` beside this file derives it in these letters, for the
diagonal observable diag(v) and for any cotangent of the final states. Memory is a handful of state vectors
whatever the depth, taken once: each step writes into the spare of two buffers, because fresh memory for a
large state costs more than the step itself. Small states run on one CPU thread. Circuits of real gates stay
in real arithmetic. Device and precision (float32, float64) are those of `theta`. Probabilities in float32 on
a CPU come from the compiled kernel (`native`) where that was built, on a GPU from those of `gpu`.

`evolve` runs the same circuits on given states, many for each circuit; `expectations` reads Pauli-Z off
probabilities.

Left out here: shots, noise, gradients of gradients.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum import gpu, native
from qtrain_cli.quantum.circuit import ENTANGLERS, CircuitSpec
from qtrain_cli.quantum.entanglers import entangler
from qtrain_cli.quantum.layers import LayerBlock, layer_blocks
from qtrain_cli.quantum.replayed import replayed
from qtrain_cli.quantum.rotations import state_dtype

#: Below so many amplitudes in all, waking a second thread for a step costs about as much as it saves, and far
#: more where threads sleep while they wait (13 qubits, 16 layers: 17 ms on two such threads, 4 ms on one).
THREADED_OUTCOMES = 2**16
#: Above so many amplitudes in all, kernels of a GPU run longer than it takes to launch them.
REPLAYED_OUTCOMES = 2**22


@dataclass(frozen=True)
class Passes:
    """What runs circuits, forward and back: each as `native` has it, with a state of its own kind."""

    forward: Callable[..., tuple[Tensor, Tensor]]
    backward: Callable[..., Tensor]


@dataclass(frozen=True)
class Underway:
    """The first layers of some circuits, done: their angles (b, first, n, r), and what they made of |0...0>.

    `state` is as the passes that made it keep it.
    """

    angles: Tensor
    state: Tensor
    passes: Passes

    @property
    def first(self) -> int:
        """How many layers."""
        return self.angles.shape[1]


def run_first(circuit: CircuitSpec, angles: Tensor) -> Underway:
    """Runs the first layers of the circuits, once for all calls of `probabilities`.

    Args:
        circuit: the whole circuits.
        angles: of fewer layers than they have, ``(b, first, n, r)``, float32 or float64; no gradient.

    Raises:
        BadInput: angles of another shape or dtype.
    """
    part = replace(circuit, layers=angles.shape[1], final_rotation=False)
    _check_angles(part, angles)
    passes = _passes_for(circuit, angles)
    with torch.no_grad():
        _, state = passes.forward(part, angles)
    return Underway(angles.detach(), state, passes)


def probabilities(circuit: CircuitSpec, theta: Tensor, begun: Underway | None = None) -> Tensor:
    """Measurement probabilities of every circuit from |0...0>, differentiable once with respect to `theta`.

    Args:
        circuit: the circuits as plain data.
        theta: angles in radians, float32 or float64, shape ``(b, L, n, r)``.
        begun: the first layers, if they are done: `theta` has the others' angles alone then.

    Returns:
        ``(b, 2**n)``, same device and precision. Wire 0 is the most significant bit of an outcome.

    Raises:
        BadInput: angles of another shape or dtype.
    """
    _check_angles(circuit, theta, begun.first if begun else 0)
    return _Probabilities.apply(theta, circuit, begun)


def evolve(circuit: CircuitSpec, theta: Tensor, states: Tensor) -> Tensor:
    """The circuits on given states, differentiable once with respect to `theta` and `states`.

    Args:
        circuit: the circuits as plain data.
        theta: angles in radians, float32 or float64, shape ``(b, L, n, r)``.
        states: amplitudes ``(b, s, 2**n)``, s of them for each circuit, of the angles' precision; real or
            complex for a real ansatz, else complex.

    Returns:
        Amplitudes of the same shape and dtype.

    Raises:
        BadInput: angles or states of another shape or dtype.
    """
    _check_angles(circuit, theta)
    allowed = {state_dtype(circuit, theta.dtype), theta.dtype.to_complex()}
    fits = states.dim() == 3 and states.shape[0] == circuit.circuits and states.shape[2] == 2**circuit.qubits
    if not fits or states.dtype not in allowed:
        raise BadInput(
            f"the states are {states.dtype} of shape {list(states.shape)};"
            f" needed: {' or '.join(sorted(map(str, allowed)))} of shape"
            f" [{circuit.circuits}, any, {2**circuit.qubits}]"
        )
    return _Evolution.apply(theta, states, circuit)


def expectations(p: Tensor) -> Tensor:
    """Pauli-Z expectations of all qubits, in -1..1, from probabilities: (..., 2**n) -> (..., n)."""
    qubits = p.shape[-1].bit_length() - 1
    outcomes = torch.arange(2**qubits, device=p.device)
    shifts = torch.arange(qubits - 1, -1, -1, device=p.device)
    signs = 1 - 2 * ((outcomes[:, None] >> shifts) & 1)  # (2**n, n)
    return p @ signs.to(p.dtype)


def _check_angles(circuit: CircuitSpec, theta: Tensor, first: int = 0) -> None:
    b, layers, n, r = circuit.angle_shape
    needed = (b, layers - first, n, r)
    if tuple(theta.shape) != needed or theta.dtype not in (torch.float32, torch.float64):
        raise BadInput(
            f"the angles are {theta.dtype} of shape {list(theta.shape)};"
            f" needed: float32 or float64 of shape {list(needed)}"
        )


class _Probabilities(torch.autograd.Function):
    """p = |psi|**2 with the adjoint sweep as its backward (adjoint.md)."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, circuit: CircuitSpec, begun: Underway | None) -> Tensor:
        # The compiled kernels where they can, the code below where not; each sweeps back what it ran.
        passes, first = (begun.passes, begun.first) if begun else (_passes_for(circuit, theta), 0)
        whole = torch.cat((begun.angles, theta), dim=1) if begun else theta
        ctx.sweep = _Backward(passes, circuit, first)
        p, psi = _done(_Forward(passes, circuit, first), whole, *((begun.state,) if begun else ()))
        ctx.save_for_backward(whole, psi)
        return p

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None, None]:
        theta, psi = ctx.saved_tensors
        return _Once.apply(partial(_swept, ctx.sweep), theta, psi, v), None, None


@dataclass(frozen=True)
class _Pass:
    """One pass of circuits whose first layers, so many, are done."""

    passes: Passes
    circuit: CircuitSpec
    first: int

    def tables(self, like: Tensor) -> list[object]:
        """What it reads besides what it is given, on the device of `like`."""
        if ENTANGLERS[self.circuit.entangler].parametrised:
            return []
        dtypes = torch.float32, state_dtype(self.circuit, like.dtype)
        layers = range(self.circuit.layers)
        return [entangler(self.circuit, layer, dtype, like.device) for dtype in dtypes for layer in layers]


@dataclass(frozen=True)
class _Forward(_Pass):
    def __call__(self, *given: Tensor) -> tuple[Tensor, ...]:
        theta, *state = given
        return self.passes.forward(self.circuit, theta, (self.first, *state) if state else None)


@dataclass(frozen=True)
class _Backward(_Pass):
    def __call__(self, *given: Tensor) -> tuple[Tensor, ...]:
        theta, psi, v = given
        return (self.passes.backward(self.circuit, theta, psi, v, first=self.first),)


def _done(one: _Forward | _Backward, *given: Tensor) -> tuple[Tensor, ...]:
    """What a pass makes of these tensors; on a GPU, of a recording where launching would take longer."""
    theta = given[0]
    if not theta.is_cuda or one.circuit.outcomes > REPLAYED_OUTCOMES:
        return one(*given)
    return replayed(one, *given)


def _swept(sweep: _Backward, *given: Tensor) -> Tensor:
    return _done(sweep, *given)[0]


def _passes_for(circuit: CircuitSpec, theta: Tensor) -> Passes:
    """The compiled kernel's, the GPU's, or those in plain PyTorch."""
    for compiled in (native, gpu):
        if compiled.supports_circuit(circuit, theta):
            return Passes(compiled.forward, compiled.backward)
    return Passes(_run, _gradient)


class _Evolution(torch.autograd.Function):
    """psi = U psi_0; its cotangent is the adjoint state itself."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, states: Tensor, circuit: CircuitSpec) -> Tensor:
        with _fitting_threads(states):
            psi = _final_states(circuit, theta, states.clone())
        ctx.circuit = circuit
        ctx.save_for_backward(theta, psi)
        return psi

    @staticmethod
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor, Tensor, None]:
        theta, psi = ctx.saved_tensors
        gradient, bra = _Once.apply(partial(_sweep, ctx.circuit), theta, _beside(psi, adjoint.conj()))
        return gradient, bra.conj(), None


class _Once(torch.autograd.Function):
    """A backward sweep, as a function of its own so that a second derivative is refused and never zero."""

    @staticmethod
    def forward(ctx: Any, sweep: Callable[..., Any], *tensors: Tensor) -> Any:
        return sweep(*tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> None:
        raise RuntimeError("the gradient of the probabilities cannot be differentiated again")


def _run(
    circuit: CircuitSpec, theta: Tensor, begun: tuple[int, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Probabilities (b, 2**n) and final states (b, 1, 2**n) from |0...0>, or from what some layers left."""
    shape, dtype = (circuit.circuits, 1, 2**circuit.qubits), state_dtype(circuit, theta.dtype)
    first, given = begun or (0, None)
    psi = torch.zeros(shape, dtype=dtype, device=theta.device) if given is None else given.clone()
    if given is None:
        psi[..., 0] = 1
    with _fitting_threads(psi):
        psi = _final_states(circuit, theta, psi, first)
        return _squared(psi)[:, 0], psi


def _gradient(circuit: CircuitSpec, theta: Tensor, psi: Tensor, v: Tensor, first: int = 0) -> Tensor:
    """Gradient of sum(v * p) with respect to the angles from layer `first` on: final states (b, 1, 2**n), v
    (b, 2**n)."""
    return _sweep(circuit, theta, _beside(psi, 2 * v[:, None] * psi.conj()), first)[0]


def _sweep(circuit: CircuitSpec, theta: Tensor, both: Tensor, first: int = 0) -> tuple[Tensor, Tensor]:
    """`_adjoint_sweep` on as many threads as it can use."""
    with _fitting_threads(both):
        return _adjoint_sweep(circuit, theta, both, first)


@contextlib.contextmanager
def _fitting_threads(states: Tensor) -> Iterator[None]:
    """One CPU thread while few amplitudes are turned; the caller's number of threads afterwards."""
    before = torch.get_num_threads()
    turned = states.shape[0] * states.shape[1] * states.shape[-1]  # (b, s, 2**n) or (b, s, 2, 2**n)
    if states.device.type == "cpu" and turned < THREADED_OUTCOMES:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _squared(psi: Tensor) -> Tensor:
    return psi.square() if not psi.is_complex() else torch.view_as_real(psi).square().sum(-1)


def _final_states(circuit: CircuitSpec, theta: Tensor, psi: Tensor, begin_at: int = 0) -> Tensor:
    """The states after all layers, (b, s, 2**n), written over `psi`'s memory and one spare."""
    b, s, _ = psi.shape
    spare = torch.empty_like(psi)
    for first, last in layer_blocks(circuit.layers, begin_at):
        turns = LayerBlock(circuit, theta[:, first:last], psi.dtype)
        groups = [group.repeat_interleave(s, 1) if s > 1 else group for group in turns.groups]
        for layer in range(last - first):
            for group in groups:
                d = group.shape[-1]
                torch.bmm(psi.view(b * s, d, -1).mT, group[layer].mT, out=spare.view(b * s, -1, d))
                psi, spare = spare, psi
            if turns.couplings:
                turns.couplings.forward(psi, layer)
            elif table := entangler(circuit, first + layer, psi.dtype, psi.device):
                table.forward(psi.flatten(0, 1), out=spare.flatten(0, 1))
                psi, spare = spare, psi
    return psi


def _beside(psi: Tensor, bra: Tensor) -> Tensor:
    """What a sweep starts from: twice (b, s, 2**n) -> (b, s, 2, 2**n)."""
    return torch.stack((psi, bra), dim=2)


def _adjoint_sweep(
    circuit: CircuitSpec, theta: Tensor, both: Tensor, end_at: int = 0
) -> tuple[Tensor, Tensor]:
    """Walks the circuits backwards, to layer `end_at`.

    Args:
        both: final states and adjoint states, (b, s, 2, 2**n); written over. The adjoint states are bras
            <lambda|, conjugated once instead of in every overlap.

    Returns:
        The gradient with respect to the angles from that layer on, (b, L - end_at, n, r), and the bras there,
        (b, s, 2**n).
    """
    b, s, _, _ = both.shape
    both = both.flatten(0, 2)  # (2 * b * s, 2**n)
    spare = torch.empty_like(both)
    gradient = torch.empty_like(theta[:, end_at:])
    for first, last in reversed(list(layer_blocks(circuit.layers, end_at))):
        turns = LayerBlock(circuit, theta[:, first:last], both.dtype)
        inverses = [_inverse_pairs(group, s) for group in turns.groups]
        overlaps = [torch.empty_like(group) for group in turns.groups]
        for layer in reversed(range(last - first)):
            if turns.couplings:
                pair = both.view(b, s, 2, -1)
                turns.couplings.inverse(pair[:, :, 0], pair[:, :, 1], layer)
            elif table := entangler(circuit, first + layer, both.dtype, both.device):
                table.inverse(both, out=spare)
                both, spare = spare, both
            for inverse, overlap in zip(reversed(inverses), reversed(overlaps), strict=True):
                d = overlap.shape[-1]
                pair = both.view(b * s, 2, -1, d)
                overlap[layer] = torch.bmm(pair[:, 1].mT, pair[:, 0]).view(b, s, d, d).sum(1)
                torch.bmm(inverse[layer], both.view(2 * b * s, -1, d).mT, out=spare.view(2 * b * s, d, -1))
                both, spare = spare, both
        gradient[:, first - end_at : last - end_at] = turns.gradient(overlaps)
    return gradient, both.view(b, s, 2, -1)[:, :, 1]


def _inverse_pairs(group: Tensor, s: int) -> Tensor:
    """What undoes each matrix on the ket and on the bra of its states: (l, b, d, d) -> (l, 2 b s, d, d)."""
    pairs = torch.stack((group.mH, group.mT), dim=2)  # (l, b, 2, d, d)
    return pairs[:, :, None].expand(-1, -1, s, -1, -1, -1).flatten(1, 3)
