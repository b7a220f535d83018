"""Circuits gate by gate in plain Python: the same bits in float64, and near enough to many digits."""

import functools

import mpmath
import numpy as np
import pytest
import torch

from qtrain_cli.errors import BadInput
from qtrain_cli.portable import kernel
from qtrain_cli.portable.functions import sine_cosine
from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec
from qtrain_cli.quantum.operations import operations
from qtrain_cli.quantum.portable_circuit import portable_probabilities
from qtrain_cli.quantum.statevector import probabilities

mpmath.mp.prec = 200
EVERY = [(name, entangler) for name, row in ANSATZE.items() for entangler in row.entanglers]
LEVELS = ["0", "base", "best"]


@pytest.fixture
def level(request, monkeypatch):
    """NumPy's steps, or compiled ones."""
    monkeypatch.setenv("QTRAIN_NATIVE", str(int(request.param != "0")))
    if request.param != "0":
        if not kernel.is_built():
            pytest.skip("the extension was not built")
        kernel._steps.use(request.param)
    yield request.param
    if kernel.is_built():
        kernel._steps.use("best")


def angles_of(circuit, seed=0):
    return np.random.default_rng(seed).uniform(-4, 4, circuit.angle_shape)


def walked(circuit, theta, turn_of):
    """The circuit's gates one after the other on a list of (x, y): theta (L, n, r)."""
    n = circuit.qubits
    state = [(turn_of(0.0)[0], turn_of(0.0)[0])] * 2**n
    state[0] = (turn_of(0.0)[1], turn_of(0.0)[0])
    for operation in operations(circuit):
        name, wires = operation.gate.name, operation.wires
        whole = name == "ControlledPhaseShift"
        angle = 0.0 if operation.angle is None else float(theta[operation.angle])
        s, c = turn_of(angle if whole else angle / 2)
        bit, on = 1 << (n - 1 - wires[-1]), (1 << (n - 1 - wires[0]) if len(wires) == 2 else 0)
        for i in range(2**n):
            if i & bit or i & on != on:
                continue
            (a, x), (b, y) = state[i], state[i | bit]
            if name in ("RY", "CRY"):
                state[i], state[i | bit] = (c * a - s * b, c * x - s * y), (s * a + c * b, s * x + c * y)
            elif name == "RZ":
                state[i], state[i | bit] = (c * a + s * x, -s * a + c * x), (c * b - s * y, s * b + c * y)
            elif whole:
                state[i | bit] = (c * b - s * y, s * b + c * y)
            elif name == "CNOT":
                state[i], state[i | bit] = (b, y), (a, x)
            else:
                state[i | bit] = (-b, -y)
    return [x * x + y * y for x, y in state]


def float_turn(angle):
    sine, cosine = sine_cosine(np.array([angle]))
    return float(sine[0]), float(cosine[0])


@functools.lru_cache(maxsize=8)  # the same for every level
def walked_in_floats(circuit):
    return [walked(circuit, theta, float_turn) for theta in angles_of(circuit)]


@pytest.mark.parametrize("level", LEVELS, indirect=True)
@pytest.mark.parametrize("final_rotation", [False, True])
@pytest.mark.parametrize(("ansatz", "entangler"), EVERY)
def test_it_is_the_gates_one_after_the_other(ansatz, entangler, final_rotation, level):
    if final_rotation and entangler == "cu3-ring":
        return
    for qubits in (2, 3, 5) if entangler == "cu3-ring" else (1, 2, 3, 5):
        circuit = CircuitSpec(ansatz, entangler, qubits, 3, 2, final_rotation)
        assert portable_probabilities(circuit, angles_of(circuit)).tolist() == walked_in_floats(circuit)


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_it_is_right_to_the_last_places(ansatz):
    """Each gate adds an error of about one unit of the last place of the state's length, which is 1."""
    circuit = CircuitSpec(ansatz, ANSATZE[ansatz].entanglers[0], 4, 6)
    theta = angles_of(circuit)
    exact = walked(circuit, theta[0], lambda angle: (mpmath.sin(angle), mpmath.cos(angle)))
    gates = sum(1 for _ in operations(circuit))
    found = portable_probabilities(circuit, theta)[0].tolist()
    errors = [abs(mpmath.mpf(p) - q) for p, q in zip(found, exact, strict=True)]
    assert max(errors) < gates * 2.0**-53


@pytest.mark.parametrize("qubits", [6, 11, 12, 13, 17, 18])
@pytest.mark.parametrize("ansatz", ["real-amplitudes", "su2-rz-ry", "strongly-entangling", "u3-cu3"])
def test_blocks_of_the_compiled_steps_change_no_bit(ansatz, qubits, monkeypatch):
    """From 12 qubits on there are rows of tiles, from 17 on two kinds of them."""
    if not kernel.is_built():
        pytest.skip("the extension was not built")
    entanglers = ANSATZE[ansatz].entanglers if qubits < 13 else ANSATZE[ansatz].entanglers[:2]
    for entangler in entanglers:
        circuit = CircuitSpec(ansatz, entangler, qubits, 2)
        theta = angles_of(circuit, qubits)
        found = {}
        for native in ("0", "1"):
            monkeypatch.setenv("QTRAIN_NATIVE", native)
            found[native] = portable_probabilities(circuit, theta).view(np.int64)
        assert (found["0"] == found["1"]).all(), entangler


def test_the_engine_says_the_same():
    circuit = CircuitSpec("strongly-entangling", "cnot-ranges", 9, 9, 3)
    theta = angles_of(circuit)
    expected = probabilities(circuit, torch.from_numpy(theta)).numpy()
    np.testing.assert_allclose(portable_probabilities(circuit, theta), expected, atol=1e-14)


@pytest.mark.parametrize("theta", [np.zeros((1, 2, 3, 2)), np.zeros((1, 2, 3, 1), np.float32)])
def test_other_angles_are_refused(theta):
    with pytest.raises(BadInput, match=r"needed: float64 of shape \[1, 2, 3, 1\]"):
        portable_probabilities(CircuitSpec("real-amplitudes", "cz-ring", 3, 2), theta)
