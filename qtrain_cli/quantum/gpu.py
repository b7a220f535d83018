"""The engine on a GPU: the same passes as `statevector`, by the Triton kernels of `gpu_kernels`.

    forward(circuit, theta, begun)              -> p (b, 2**n), state (opaque)
    backward(circuit, theta, state, v, first)   -> gradient (b, L - first, n, r)

For float32 and entanglers without angles, where Triton is there, as it is with PyTorch's CUDA builds; plain
PyTorch does the rest. `state` is planar, (b, planes, 2**n); only `backward` reads it.

A pass of a layer goes through memory once for each group of qubits, the entangler's moves included, and once
more backwards, overlaps included. Sums are in an order of their own that does not change.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.quantum import native
from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec
from qtrain_cli.quantum.entanglers import Permutation, Signs, entangler
from qtrain_cli.quantum.layers import LayerBlock, layer_blocks
from qtrain_cli.quantum.rotations import state_dtype

#: Columns of a program, and programs that all rows together have in `unturn`, about: eight a processor.
BLOCK, PROGRAMS = 64, 1024
#: Of products: three of tensor cores make one of float32 (`gpu_kernels`).
PRECISION = "tf32x3"
#: A product and a sum may be one operation: said, since Triton's default is not the same in all its versions.
FUSED = {"enable_fp_fusion": True}
#: NVIDIA's cards have such tensor cores from this compute capability on.
_OLDEST = (8, 0)
_LEAST = 16  # rows that a product takes
_KINDS: dict[type, int] = {Permutation: 1, Signs: 2}


def supports_circuit(circuit: CircuitSpec, theta: Tensor) -> bool:
    """True when the kernels do this circuit at these angles; QTRAIN_NATIVE=0 forbids them."""
    known = theta.is_cuda and theta.dtype == torch.float32 and knows_circuit(circuit)
    return known and available() and _multiplies(theta.device)


def knows_circuit(circuit: CircuitSpec) -> bool:
    """True when the kernels have the gates of the circuit."""
    return not ENTANGLERS[circuit.entangler].parametrised


def available() -> bool:
    """True when Triton is there and QTRAIN_NATIVE does not forbid it."""
    return _has_triton() and native.allowed()


@functools.cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


@functools.cache
def _multiplies(device: torch.device) -> bool:
    """Whether the GPU has the products of `PRECISION`."""
    return torch.version.hip is None and torch.cuda.get_device_capability(device) >= _OLDEST


def forward(
    circuit: CircuitSpec, theta: Tensor, begun: tuple[int, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Probabilities (b, 2**n), and the state that `backward` needs.

    Args:
        circuit: of the kernels' gates.
        theta: (b, L, n, r), float32.
        begun: so many layers, and the state that `forward` left of those alone; they are not run.
    """
    first, given = begun or (0, None)
    planes = 1 if ANSATZE[circuit.ansatz].real else 2
    psi = theta.new_zeros(circuit.circuits, planes, 2**circuit.qubits) if given is None else given.clone()
    if given is None:
        psi[:, 0, 0] = 1
    spare, dtype = torch.empty_like(psi), state_dtype(circuit, theta.dtype)
    with _on(theta.device):
        for begin, end in layer_blocks(circuit.layers, first):
            groups = [_planar(group) for group in LayerBlock(circuit, theta[:, begin:end], dtype).groups]
            for layer in range(end - begin):
                for group in groups[:-1]:
                    _turn(psi, spare, group[layer], 0, psi)
                    psi, spare = spare, psi
                _turn(psi, spare, groups[-1][layer], *_moves(circuit, begin + layer, psi))
                psi, spare = spare, psi
    return psi.square().sum(1), psi


def backward(circuit: CircuitSpec, theta: Tensor, state: Tensor, v: Tensor, first: int = 0) -> Tensor:
    """Gradient of sum(v * p) by the angles from layer `first` on, shape (b, L - first, n, r)."""
    bra = 2 * v[:, None] * state
    if state.shape[1] == 2:
        bra[:, 1].neg_()  # conjugated
    both = torch.stack((state, bra), dim=1)  # (b, 2, planes, 2**n)
    spare, dtype = torch.empty_like(both), state_dtype(circuit, theta.dtype)
    gradient = torch.empty_like(theta[:, first:])
    with _on(theta.device):
        for begin, end in reversed(list(layer_blocks(circuit.layers, first))):
            turns = LayerBlock(circuit, theta[:, begin:end], dtype)
            groups = [_planar(group) for group in turns.groups]
            shares = [_shares_of(group, both) for group in groups]
            for layer in reversed(range(end - begin)):
                for kind, table, place in _undone(circuit, begin + layer, both, len(groups)):
                    _unturn(both, spare, groups[place][layer], shares[place][layer], kind, table)
                    both, spare = spare, both
            gradient[:, begin - first : end - first] = turns.gradient([_joined(one) for one in shares])
    return gradient


def _undone(circuit: CircuitSpec, layer: int, like: Tensor, groups: int) -> Iterator[tuple[int, Tensor, int]]:
    """A layer's groups, the last one first, which undoes the entangler: its kind, its table, its place."""
    kind, table = _moves(circuit, layer, like)
    for place in reversed(range(groups)):
        last = place == groups - 1
        yield (kind, table, place) if last else (0, like, place)


def _moves(circuit: CircuitSpec, layer: int, like: Tensor) -> tuple[int, Tensor]:
    """The kind and the table of a layer's entangler: where an outcome goes, or its sign; else anything."""
    found = entangler(circuit, layer, torch.float32, like.device)
    if found is None:
        return 0, like
    return _KINDS[type(found)], found.target if isinstance(found, Permutation) else found.signs


def _planar(group: Tensor) -> Tensor:
    """(l, b, d, d) -> (l, b, d, d, planes) of float32."""
    return torch.view_as_real(group.resolve_conj()) if group.is_complex() else group[..., None]


def _shares_of(group: Tensor, both: Tensor) -> Tensor:
    """Room for the shares of M of all layers: (l, b, programs, planes, d, d)."""
    layers, b, d, _, planes = group.shape
    return both.new_empty(layers, b, _programs(b, both.shape[-1] // d)[0], planes, d, d)


def _joined(shares: Tensor) -> Tensor:
    """M of all layers, (l, b, d, d)."""
    m = shares.sum(2)
    return m[:, :, 0] if m.shape[2] == 1 else torch.complex(m[:, :, 0], m[:, :, 1])


def _programs(b: int, columns: int) -> tuple[int, int]:
    """Of each circuit, and the blocks that one goes through."""
    blocks = -(-columns // BLOCK)
    tiles = max(1, blocks * b // PROGRAMS)
    return -(-blocks // tiles), tiles


def _turn(psi: Tensor, out: Tensor, matrices: Tensor, kind: int, table: Tensor) -> None:
    """One group of all circuits: psi (b, planes, 2**n), matrices (b, d, d, planes)."""
    b, d, planes = len(psi), matrices.shape[1], psi.shape[1]
    columns = psi.shape[-1] // d
    _kernels().turn[-(-columns // BLOCK), b](
        psi, out, matrices, table, columns, d, max(d, _LEAST), BLOCK, planes, kind, PRECISION, **FUSED
    )


def _unturn(
    both: Tensor, out: Tensor, matrices: Tensor, shares: Tensor, kind: int, table: Tensor
) -> None:  # fmt: skip
    """One group of all circuits undone: both (b, 2, planes, 2**n), shares (b, programs, planes, d, d)."""
    b, d, planes = len(both), matrices.shape[1], both.shape[2]
    columns = both.shape[-1] // d
    programs, tiles = _programs(b, columns)
    _kernels().unturn[programs, b](
        both, out, matrices, table, shares, columns, tiles, d, max(d, _LEAST), BLOCK, planes, kind, PRECISION,
        **FUSED,
    )  # fmt: skip


@functools.cache
def _kernels() -> Any:
    from qtrain_cli.quantum import gpu_kernels

    return gpu_kernels


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the present device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
