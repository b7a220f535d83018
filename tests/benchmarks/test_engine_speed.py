"""How long a forward and backward pass of all probabilities takes, and how long PennyLane's takes beside it.

    python -m pytest tests/benchmarks -q                          # the table, a minute or two
    QTRAIN_BENCHMARK_LARGE=1 python -m pytest tests/benchmarks    # 20 qubits too, several minutes

Not part of the plain test run, and nothing here asserts a time: machines are shared and noisy. What can be
compared is the ratio within one run: before each round of the engine PennyLane's `default.qubit` (backprop,
PyTorch) runs the same circuit with the same float32 angles in the same process. The best round of each
counts, since whatever else a machine does only adds time.
"""

import os
import time

import pytest
import torch

from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec
from qtrain_cli.quantum.pennylane_bridge import qnode
from qtrain_cli.quantum.statevector import probabilities

LARGE = pytest.mark.skipif(
    "QTRAIN_BENCHMARK_LARGE" not in os.environ, reason="PennyLane takes minutes: QTRAIN_BENCHMARK_LARGE=1"
)
#: (qubits, layers, circuits, rounds, whether PennyLane runs too)
CASES = [
    (13, 16, 1, 15, True),
    (13, 48, 1, 15, False),
    (16, 16, 1, 5, True),
    (13, 12, 32, 7, False),
    (19, 16, 1, 3, False),
    pytest.param(20, 16, 1, 1, True, marks=LARGE),
]


def step_of(run, theta, v):
    """One forward and backward pass."""

    def step():
        theta.grad = None
        run(theta).backward(v)

    return step


def seconds(step):
    """What one call takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


@pytest.mark.parametrize("ansatz", ANSATZE)
@pytest.mark.parametrize(("qubits", "layers", "circuits", "rounds", "beside_pennylane"), CASES)
def test_forward_and_backward(benchmark, summary, ansatz, qubits, layers, circuits, rounds, beside_pennylane):
    circuit = CircuitSpec(ansatz, ANSATZE[ansatz].entanglers[0], qubits, layers, circuits)
    theta = torch.rand(circuit.angle_shape).mul(6).sub(3).requires_grad_()
    v = torch.randn(circuits, 2**qubits)
    engine = step_of(lambda angles: probabilities(circuit, angles), theta, v)
    twin = qnode(circuit, diff_method="backprop")
    pennylane = step_of(lambda angles: twin(angles[0])[None], theta, v)
    rival: list[float] = []

    def before_each_round():
        if beside_pennylane:
            rival.append(seconds(pennylane))
        engine()  # the rival has emptied the caches

    benchmark.pedantic(engine, setup=before_each_round, rounds=rounds, warmup_rounds=1)
    took, other = benchmark.stats.stats.min, min(rival, default=None)
    benchmark.extra_info["ratio to PennyLane"] = other and other / took
    summary.append((circuit, took, other))
