"""How long a forward pass and a vector-Jacobian product of all probabilities take, beside every rival.

    python -m pytest tests/benchmarks                             # the tables, some minutes
    QTRAIN_BENCHMARK_LARGE=1 python -m pytest tests/benchmarks    # all sizes, rivals at any length: hours

Not part of the plain test run, and nothing here asserts a time: machines are shared and noisy. What can be
compared is the ratio within one run: before each round of the engine every rival runs the same circuit with
the same float32 angles in a process of its own. The best round of each counts, since whatever else a
machine does only adds time. Compiling is over by then.
"""

import os

import pytest
from benchmarks.suite import Match, cases

from qtrain_cli.quantum.circuit import CircuitSpec

ANSATZE = ("real-amplitudes", "efficient-su2")
#: The most rounds of one case, by qubits; rivals stop earlier when their time is spent.
ROUNDS = {10: 15, 13: 10, 16: 5, 19: 3, 20: 3, 22: 1}
BATCH = [CircuitSpec(ansatz, "cnot-ring", 13, 16, 32) for ansatz in ANSATZE]
ALWAYS = [*cases((10, 13, 16), (16, 48), ANSATZE), *BATCH, *cases((19, 20), (16,), ANSATZE)]
ONLY_LARGE = [*cases((19, 20), (48,), ANSATZE), *cases((22,), (16, 48), ANSATZE)]
LARGE = pytest.mark.skipif(
    "QTRAIN_BENCHMARK_LARGE" not in os.environ, reason="QTRAIN_BENCHMARK_LARGE=1 runs it"
)


def named(circuit, *marks):
    """A case whose name says what it is."""
    name = f"{circuit.ansatz}-n{circuit.qubits}-L{circuit.layers}-b{circuit.circuits}"
    return pytest.param(circuit, id=name, marks=marks)


@pytest.mark.parametrize("circuit", [*map(named, ALWAYS), *(named(one, LARGE) for one in ONLY_LARGE)])
def test_forward_and_backward(benchmark, report, contenders, budget, tmp_path, circuit):
    match = Match(circuit, contenders, tmp_path, budget)
    benchmark.pedantic(match.round, setup=match.before_round, rounds=ROUNDS[circuit.qubits], warmup_rounds=1)
    row = match.finish()
    report.speed.append(row)
    benchmark.extra_info["rivals"] = {name: one.seconds or one.reason for name, one in row.rivals.items()}
    compared = [one.reason for one in row.rivals.values() if one.modes]
    assert not compared or None in compared, f"no rival agrees with the engine: {compared}"
