"""Circuits whose first layers are done: the same probabilities and gradients, without running them again."""

import math

import pytest
import torch

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum import native
from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec
from qtrain_cli.quantum.statevector import probabilities, run_first

PAIRS = [(row.name, entangler) for row in ANSATZE.values() for entangler in row.entanglers]


@pytest.fixture(params=["kernel", "plain", "float64"])
def dtype(request, monkeypatch):
    """Of the angles; by the compiled kernel, or without it."""
    if request.param == "kernel" and not native.available():
        pytest.skip("the kernel is not built")
    if request.param == "plain":
        monkeypatch.setenv("QTRAIN_NATIVE", "0")
    return torch.float64 if request.param == "float64" else torch.float32


def drawn(circuit, dtype):
    draw = torch.Generator().manual_seed(3)
    return (torch.rand(circuit.angle_shape, generator=draw, dtype=torch.float64) * 2 * math.pi).to(dtype)


@pytest.mark.parametrize(
    ("ansatz", "entangler", "qubits", "layers", "first"),
    [(*row, *size) for row in PAIRS for size in ((2, 2, 1), (5, 7, 3))]
    + [(row.name, row.entanglers[0], *size) for row in ANSATZE.values() for size in ((5, 20, 18), (6, 4, 2))],
)
def test_it_is_as_if_they_were_run(dtype, ansatz, entangler, qubits, layers, first):
    circuit = CircuitSpec(ansatz, entangler, qubits, layers, 3)
    theta = drawn(circuit, dtype).requires_grad_()
    v = torch.randn(3, 2**qubits, dtype=dtype, generator=torch.Generator().manual_seed(1))
    whole = probabilities(circuit, theta)
    near = 0.0 if native.supports_circuit(circuit, theta) else 64 * torch.finfo(dtype).eps
    (expected,) = torch.autograd.grad((whole * v).sum(), theta)
    begun, own = run_first(circuit, theta[:, :first]), theta.detach()[:, first:].clone().requires_grad_()
    for _ in range(2):  # what was begun serves every time
        p = probabilities(circuit, own, begun)
        (found,) = torch.autograd.grad((p * v).sum(), own)
        torch.testing.assert_close(p, whole, rtol=0, atol=near)
        torch.testing.assert_close(found, expected[:, first:], rtol=0, atol=near)


def test_a_last_layer_of_rotations_alone_stays_the_last(dtype):
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", 4, 3, final_rotation=True)
    theta = drawn(circuit, dtype)
    begun = run_first(circuit, theta[:, :2])
    found, expected = probabilities(circuit, theta[:, 2:], begun), probabilities(circuit, theta)
    torch.testing.assert_close(found, expected, rtol=0, atol=64 * torch.finfo(dtype).eps)


def test_angles_of_another_shape_are_refused():
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", 4, 3)
    theta = drawn(circuit, torch.float32)
    with pytest.raises(BadInput, match=r"needed: .* of shape \[1, 2, 4, 1\]"):
        probabilities(circuit, theta, run_first(circuit, theta[:, :1]))
    with pytest.raises(BadInput, match="of shape"):
        run_first(circuit, theta[:, :1, :3])
