"""Peak memory against depth: the engine's must not grow, PennyLane's backpropagation keeps every gate."""

import pytest
from benchmarks import peak
from benchmarks.report import Memory

CASES = [
    *(
        ("engine", ansatz, 20, depth)
        for ansatz in ("real-amplitudes", "efficient-su2")
        for depth in (16, 48, 128)
    ),
    *((engine, "efficient-su2", 16, depth) for engine in peak.ENGINES for depth in (8, 16, 32)),
]


@pytest.mark.parametrize(("engine", "ansatz", "qubits", "layers"), CASES)
def test_peak_against_depth(report, engine, ansatz, qubits, layers):
    held = peak.measured(engine, ansatz, qubits, layers, processes=3 if qubits == 20 else 1)
    report.memory.append(Memory(engine, ansatz, qubits, layers, held))
    assert held > 0
