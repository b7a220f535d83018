"""The PennyLane twin: against dense matrices, and its refusals. test_statevector holds the engine to it."""

import importlib.util
import sys
from dataclasses import replace

import oracles
import pytest
import torch

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec
from qtrain_cli.quantum.pennylane_bridge import device_probabilities, open_device, qnode
from qtrain_cli.quantum.statevector import probabilities


@pytest.mark.parametrize(("ansatz", "entangler"), [(a, e) for a in ANSATZE for e in ANSATZE[a].entanglers])
@pytest.mark.parametrize("qubits", (2, 4))
def test_it_runs_the_circuit_of_the_dense_matrices(ansatz, entangler, qubits):
    circuit = CircuitSpec(ansatz, entangler, qubits, layers=3)
    theta = torch.randn(circuit.angle_shape[1:], dtype=torch.float64)
    expected = oracles.dense_probabilities(ansatz, entangler, theta)
    torch.testing.assert_close(qnode(circuit)(theta), expected, rtol=0, atol=1e-12)


def test_gradients_pass_through_pytorch():
    circuit = CircuitSpec("efficient-su2", "cnot-ring", qubits=2, layers=2)
    theta = torch.randn(circuit.angle_shape[1:], dtype=torch.float64, requires_grad=True)
    qnode(circuit, diff_method="parameter-shift")(theta)[0].backward()
    assert theta.grad.abs().max() > 1e-3


def test_an_unknown_device_is_refused_with_the_nearest_name():
    circuit = CircuitSpec("real-amplitudes", "cz-ring", qubits=2, layers=1)
    with pytest.raises(BadInput) as caught:
        qnode(circuit, device="default.qubits")
    assert caught.value.message == "PennyLane has no device 'default.qubits'"
    assert caught.value.advice == "did you mean 'default.qubit'?"


def test_without_pennylane_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pennylane", None)
    with pytest.raises(BadInput) as caught:
        qnode(CircuitSpec("real-amplitudes", "cz-ring", qubits=2, layers=1))
    assert "needs the package pennylane, which is not installed" in caught.value.message
    assert caught.value.advice == "pip install 'qtrain[quantum]'"


# --- batches on a device -----------------------------------------------------------------------------

DEVICES = pytest.mark.parametrize("device", ("default.qubit", "lightning.qubit", "default.mixed"))


def batch(ansatz="real-amplitudes", entangler="cnot-ring", circuits=3, dtype=torch.float64):
    circuit = CircuitSpec(ansatz, entangler, qubits=3, layers=2, circuits=circuits)
    return circuit, torch.randn(circuit.angle_shape, dtype=dtype)


@DEVICES
@pytest.mark.parametrize(("ansatz", "entangler"), [(a, ANSATZE[a].entanglers[0]) for a in ANSATZE])
def test_a_device_gives_the_probabilities_of_the_engine(device, ansatz, entangler):
    circuit, theta = batch(ansatz, entangler)
    found = device_probabilities(circuit, theta, device)
    torch.testing.assert_close(found, probabilities(circuit, theta), rtol=0, atol=1e-12)


def test_a_devices_answer_has_the_angles_precision_and_no_gradient():
    circuit, theta = batch(dtype=torch.float32)
    found = device_probabilities(circuit, theta.requires_grad_(), "default.qubit")
    assert found.dtype == torch.float32 and not found.requires_grad


@DEVICES
def test_shots_are_frequencies_that_follow_from_the_seed(device):
    circuit, theta = batch()
    found = device_probabilities(circuit, theta, device, 400, 1)
    counts = found * 400
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-9)
    torch.testing.assert_close(found.sum(-1), torch.ones(3, dtype=torch.float64))
    # Five standard deviations of a frequency near 1/2.
    torch.testing.assert_close(found, probabilities(circuit, theta), rtol=0, atol=5 * (0.25 / 400) ** 0.5)
    assert torch.equal(found, device_probabilities(circuit, theta, device, 400, 1))
    assert not torch.equal(found, device_probabilities(circuit, theta, device, 400, 2))


def test_equal_circuits_of_a_batch_are_measured_anew():
    circuit, theta = batch(circuits=1)
    both = device_probabilities(
        replace(circuit, circuits=2), theta.repeat(2, 1, 1, 1), "default.qubit", 99, 1
    )
    assert not torch.equal(both[0], both[1])


def test_a_device_that_takes_no_seed_runs_without():
    circuit, theta = batch()
    found = device_probabilities(circuit, theta, "null.qubit", 10, 1)
    assert torch.equal(found, torch.eye(8, dtype=torch.float64)[[0, 0, 0]])


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("default.gaussian", "cannot run this circuit: DeviceError: Gate RY not supported"),
        ("default.clifford", "does not start: ImportError: This feature requires stim"),
    ],
)
@pytest.mark.filterwarnings("ignore:Operator")
def test_a_device_that_cannot_is_refused_in_one_line(device, message):
    if device == "default.clifford" and importlib.util.find_spec("stim"):
        pytest.skip("stim is installed")
    circuit, theta = batch()
    with pytest.raises(BadInput) as caught:
        device_probabilities(circuit, theta, device)
    assert caught.value.message.startswith(f"the device '{device}' {message}")
    assert caught.value.advice.startswith("choose another device, or give it what it needs")


def test_too_many_wires_are_refused():
    with pytest.raises(BadInput, match=r"'default\.mixed' does not start: .* more than 23 wires"):
        open_device("default.mixed", 24)


def test_an_unknown_device_of_a_batch_is_refused():
    with pytest.raises(BadInput, match="PennyLane has no device 'lightning'"):
        device_probabilities(*batch(), "lightning")


@pytest.mark.parametrize(
    "answer", ([torch.ones(8)] * 3, [torch.ones(1)] * 3, [torch.full((8,), torch.nan)] * 3)
)
def test_what_is_no_probabilities_is_refused(monkeypatch, answer):
    monkeypatch.setattr("pennylane.execute", lambda *given, **more: answer)
    with pytest.raises(BadInput, match=r"'default\.qubit' returned no probabilities of 3 qubits"):
        device_probabilities(*batch(), "default.qubit")


def test_memory_that_runs_out_stays_what_it_is(monkeypatch):
    def execute(*given, **more):
        raise MemoryError

    monkeypatch.setattr("pennylane.execute", execute)
    with pytest.raises(MemoryError):
        device_probabilities(*batch(), "default.qubit")
