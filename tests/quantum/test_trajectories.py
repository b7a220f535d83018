"""Trajectories: against PennyLane's density matrices, against exact sums, and one way against the other."""

import itertools

import numpy as np
import pennylane as qml
import pytest
import torch

from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec
from qtrain_cli.quantum.operations import operations
from qtrain_cli.quantum.statevector import probabilities
from qtrain_cli.quantum.trajectories import (
    draw_errors,
    frames,
    gate_by_gate,
    misread,
    noisy_probabilities,
    places,
    trajectories,
)

ROWS = [(a, e) for a in ANSATZE for e in ANSATZE[a].entanglers]


def angles_of(circuit, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(circuit.angle_shape, dtype=torch.float64, generator=random)


def density_matrix(circuit, theta, rate, where=None):
    """The noisy circuit on PennyLane's default.mixed, errors at all places or some: (L, n, r) -> (2**n,)."""

    @qml.qnode(qml.device("default.mixed", wires=circuit.qubits))
    def run():
        place = 0
        for one in operations(circuit):
            angle = () if one.angle is None else (float(theta[one.angle]),)
            getattr(qml, one.gate.name)(*angle, wires=one.wires)
            for wire in one.wires:
                if where is None or place in where:
                    qml.DepolarizingChannel(rate, wires=wire)
                place += 1
        return qml.probs(wires=range(circuit.qubits))

    return torch.as_tensor(np.asarray(run()), dtype=torch.float64)


@pytest.mark.parametrize(("ansatz", "entangler"), ROWS)
def test_the_sum_over_all_errors_at_some_places_is_the_density_matrix(ansatz, entangler):
    """Every one of the 4**6 ways to err there, each with its probability: no statistics, to rounding."""
    circuit, rate = CircuitSpec(ansatz, entangler, qubits=3, layers=2), 0.2
    n = places(circuit)
    where = sorted({round(k * (n - 1) / 5) for k in range(6)})
    errors = np.zeros((4 ** len(where), n), np.uint8)
    errors[:, where] = list(itertools.product(range(4), repeat=len(where)))
    struck = (errors > 0).sum(1)
    weights = torch.from_numpy((rate / 3) ** struck * (1 - rate) ** (len(where) - struck))
    theta = angles_of(circuit)[0]
    found = (weights[:, None] * trajectories(circuit, theta, errors)).sum(0)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-12)
    expected = density_matrix(circuit, theta, rate, where)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert (found - probabilities(circuit, theta[None])[0]).abs().max() > 0.005


@pytest.mark.parametrize(("ansatz", "entangler"), ROWS)
def test_random_errors_average_to_the_density_matrix(ansatz, entangler):
    circuit, rate = CircuitSpec(ansatz, entangler, qubits=4, layers=2, circuits=2), 0.02
    theta = angles_of(circuit)
    found = noisy_probabilities(circuit, theta, rate, 2000, np.random.default_rng(0))
    expected = torch.stack([density_matrix(circuit, one, rate) for one in theta])
    assert found.error_free == pytest.approx((1 - rate) ** places(circuit))
    torch.testing.assert_close(found.p.sum(1), torch.ones(2, dtype=torch.float64))
    # 32 outcomes: five of their own standard deviations, which a wrong weight of P0 alone would exceed.
    assert ((found.p - expected).abs() < 5 * found.variance.sqrt() + 1e-12).all()
    assert (found.p - probabilities(circuit, theta)).abs().max() > 5 * found.variance.sqrt().max()


def test_the_variance_is_that_of_independent_repetitions():
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits=4, layers=3)
    theta, random = angles_of(circuit), np.random.default_rng(1)
    many = [noisy_probabilities(circuit, theta, 0.05, 50, random) for _ in range(300)]
    seen = torch.stack([one.p for one in many]).var(0).sum()
    told = torch.stack([one.variance for one in many]).mean(0).sum()
    assert float(told / seen) == pytest.approx(1, abs=0.15)  # 300 draws of 16 outcomes: 2 % to 3 %


@pytest.mark.parametrize(("ansatz", "entangler"), [(a, e) for a, e in ROWS if not ENTANGLERS[e].parametrised])
@pytest.mark.parametrize("final_rotation", [False, True])
def test_frames_and_gate_by_gate_agree(ansatz, entangler, final_rotation):
    circuit = CircuitSpec(ansatz, entangler, qubits=4, layers=3, final_rotation=final_rotation)
    theta = angles_of(circuit)[0]
    errors = draw_errors(circuit, 0.3, 20, np.random.default_rng(2))
    one, other = trajectories(circuit, theta, errors), gate_by_gate(circuit, theta, errors)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_a_single_error_by_hand():
    """One qubit, RY(a): an X after it swaps the outcomes, a Z does not; before a second RY(b) Z turns b."""
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits=1, layers=2)
    signs, flips = frames(circuit, np.array([[0, 1], [0, 3], [3, 0], [2, 0], [1, 0]], np.uint8))
    assert signs[:, :, 0, 0].tolist() == [[1, 1], [1, 1], [1, -1], [1, 1], [1, -1]]
    assert flips.tolist() == [1, 0, 0, 1, 1]


def test_every_trajectory_has_an_error_and_their_number_is_the_binomials():
    circuit = CircuitSpec("real-amplitudes", "cz-ring", qubits=3, layers=4)
    n, rate = places(circuit), 0.01
    errors = draw_errors(circuit, rate, 20_000, np.random.default_rng(3))
    struck = (errors > 0).sum(1)
    assert errors.shape == (20_000, n) and struck.min() == 1
    assert struck.mean() == pytest.approx(n * rate / (1 - (1 - rate) ** n), rel=0.01)
    assert np.bincount(errors[errors > 0])[1:] / struck.sum() == pytest.approx([1 / 3] * 3, abs=0.01)
    # Every place is struck as often: (rate / (1 - P0)) of the trajectories, 1.8 % +- 0.1 %.
    assert (errors > 0).mean(0) == pytest.approx([rate / (1 - (1 - rate) ** n)] * n, abs=0.005)


@pytest.mark.parametrize("rate", [0.0, 1e-18])
def test_without_noise_it_is_exact(rate):
    circuit = CircuitSpec("efficient-su2", "cnot-linear", qubits=3, layers=2)
    theta = angles_of(circuit)
    found = noisy_probabilities(circuit, theta, rate, 4, np.random.default_rng(0))
    assert torch.equal(found.p, probabilities(circuit, theta)) and not found.variance.any()


def test_at_the_fully_mixing_rate_every_outcome_is_as_likely():
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits=2, layers=2)
    found = noisy_probabilities(circuit, angles_of(circuit), 0.75, 20_000, np.random.default_rng(4))
    assert (found.p - 0.25).abs().max() < 5 * found.variance.sqrt().max()
    always = draw_errors(circuit, 1.0, 5, np.random.default_rng(4))
    assert (always > 0).all()


def test_misread_bits_are_a_product_of_flips():
    p = torch.rand(2, 8, dtype=torch.float64)
    flip = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64)
    expected = p @ torch.kron(torch.kron(flip, flip), flip)
    torch.testing.assert_close(misread(p, 0.1), expected, rtol=0, atol=1e-12)
    assert torch.equal(misread(p, 0.0), p)
    torch.testing.assert_close(misread(p, 1.0), p.flip(1))


def test_many_trajectories_go_in_batches(monkeypatch):
    from qtrain_cli.quantum import trajectories as module

    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits=3, layers=1)
    monkeypatch.setattr(module, "BATCH_AMPLITUDES", 8 * 7)
    assert list(module._batches(circuit, 20)) == [7, 7, 6]
    monkeypatch.setattr(module, "BATCH_AMPLITUDES", 1)
    assert list(module._batches(circuit, 2)) == [1, 1]
