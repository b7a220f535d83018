"""Prints what the benchmarks found as one table at the end."""

import os

import pytest
import torch

ROWS = pytest.StashKey[list]()


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """In place of the tests' single thread: all cores, for the engine and for PennyLane."""
    torch.set_num_threads(os.cpu_count() or 1)


@pytest.fixture
def summary(pytestconfig):
    """Rows for the table: (circuit, the engine's seconds, PennyLane's seconds or None)."""
    return pytestconfig.stash.setdefault(ROWS, [])


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("forward and backward, best round: engine and PennyLane default.qubit")
        terminalreporter.line(f"{'circuit':36}{'engine':>12}{'PennyLane':>14}{'ratio':>8}")
    for circuit, took, other in rows:
        name = f"{circuit.ansatz} n={circuit.qubits} L={circuit.layers} b={circuit.circuits}"
        rival = f"{other * 1e3:11.0f} ms{other / took:7.0f}x" if other else ""
        terminalreporter.line(f"{name:36}{took * 1e3:9.2f} ms{rival}")
