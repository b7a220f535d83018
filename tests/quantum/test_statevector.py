"""The engine against independent answers: dense matrices, PennyLane, finite differences, and itself.

Tolerances: float64 rounds at 1e-16 and a circuit here has some hundred gates, so 1e-12 is loose and still
finds any wrong sign, wire or order. float32 rounds at 6e-8: probabilities, at most 1, agree to 1e-5.
"""

import math
from dataclasses import replace

import oracles
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum import entanglers, rotations, statevector
from qtrain_cli.quantum import layers as layer_matrices
from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec
from qtrain_cli.quantum.layers import BLOCK_LAYERS
from qtrain_cli.quantum.pennylane_bridge import qnode
from qtrain_cli.quantum.statevector import evolve, expectations, probabilities

PAIRINGS = [(a, e) for a in ANSATZE for e in ANSATZE[a].entanglers]
ROWS = pytest.mark.parametrize(("ansatz", "entangler"), PAIRINGS)
#: One entangler of each kind of table and gate, for what does not depend on the pattern of pairs.
FEW = [(a, e) for a, e in PAIRINGS if e.endswith(("-ring", "-ranges"))]
SOME_ROWS = pytest.mark.parametrize(("ansatz", "entangler"), FEW)
EXACT = {"rtol": 0, "atol": 1e-12}
SINGLE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(autouse=True)
def _plain_pytorch(monkeypatch):
    """What is tested here is the code of `statevector`; the compiled kernel has tests of its own."""
    monkeypatch.setenv("QTRAIN_NATIVE", "0")


def random_angles(circuit, dtype=torch.float64):
    """Uniform in (-pi, pi), with gradients asked for."""
    return ((torch.rand(circuit.angle_shape, dtype=dtype) * 2 - 1) * math.pi).requires_grad_()


def wide_enough(entangler, qubits):
    """Fewest qubits of a row: a controlled rotation needs two."""
    return max(qubits, 2 if ENTANGLERS[entangler].parametrised else 1)


def with_gradient(run, theta, v):
    """Probabilities and the vector-Jacobian product with v."""
    p = run(theta)
    return p.detach(), torch.autograd.grad(p, theta, v)[0]


def with_engine(circuit, theta, v):
    return with_gradient(lambda angles: probabilities(circuit, angles), theta, v)


# --- independent answers --------------------------------------------------------------------------


@ROWS
@pytest.mark.parametrize(
    ("qubits", "final_rotation"),
    [(1, False), (1, True), (2, False), (2, True), (3, True), (4, False), (5, False)],
)
def test_dense_matrices_give_the_same(ansatz, entangler, qubits, final_rotation):
    if ENTANGLERS[entangler].parametrised and (qubits == 1 or final_rotation):
        pytest.skip("refused, see test_circuit")
    circuit = CircuitSpec(ansatz, entangler, qubits, layers=3, final_rotation=final_rotation)
    theta, v = random_angles(circuit), torch.randn(1, 2**qubits, dtype=torch.float64)
    p, gradient = with_engine(circuit, theta, v)
    dense = with_gradient(
        lambda t: oracles.dense_probabilities(ansatz, entangler, t[0], final_rotation)[None], theta, v
    )
    torch.testing.assert_close(p, dense[0], **EXACT)
    torch.testing.assert_close(gradient, dense[1], **EXACT)


@ROWS
@pytest.mark.parametrize("qubits", (1, 2, 3, 4, 10))
def test_pennylane_gives_the_same(ansatz, entangler, qubits):
    qubits = wide_enough(entangler, qubits)
    circuit = CircuitSpec(ansatz, entangler, qubits, layers=3)
    theta, v = random_angles(circuit), torch.randn(1, 2**qubits, dtype=torch.float64)
    run = qnode(circuit, diff_method="backprop")
    expected, slope = with_gradient(lambda t: run(t[0])[None], theta, v)
    p, gradient = with_engine(circuit, theta, v)
    torch.testing.assert_close(p, expected, **EXACT)
    torch.testing.assert_close(gradient, slope, **EXACT)
    p, gradient = with_engine(circuit, theta.detach().float().requires_grad_(), v.float())
    assert p.dtype == gradient.dtype == torch.float32
    torch.testing.assert_close(p.double(), expected, **SINGLE)
    torch.testing.assert_close(gradient.double(), slope, **SINGLE)


@ROWS
def test_gradients_pass_gradcheck(ansatz, entangler):
    circuit = CircuitSpec(ansatz, entangler, qubits=3, layers=2)
    assert torch.autograd.gradcheck(lambda theta: probabilities(circuit, theta), random_angles(circuit))


@pytest.mark.parametrize(("ansatz", "entangler"), [row for row in PAIRINGS if row[0] != "u3-cu3"])
def test_gradients_are_those_of_shifted_runs(ansatz, entangler):
    circuit = CircuitSpec(ansatz, entangler, qubits=9, layers=2)
    theta, v = random_angles(circuit), torch.randn(1, 2**9, dtype=torch.float64)
    expected = oracles.parameter_shift(lambda angles: probabilities(circuit, angles), theta.detach(), v)
    torch.testing.assert_close(with_engine(circuit, theta, v)[1], expected, **EXACT)


@SOME_ROWS
@pytest.mark.parametrize("layers", (BLOCK_LAYERS, BLOCK_LAYERS + 1, 2 * BLOCK_LAYERS + 3))
def test_layers_beyond_one_block_are_no_different(ansatz, entangler, layers, monkeypatch):
    circuit = CircuitSpec(ansatz, entangler, qubits=5, layers=layers)
    theta, v = random_angles(circuit), torch.randn(1, 32, dtype=torch.float64)
    p, gradient = with_engine(circuit, theta, v)
    dense = oracles.dense_probabilities(ansatz, entangler, theta.detach()[0])
    torch.testing.assert_close(p[0], dense, **EXACT)
    monkeypatch.setattr(layer_matrices, "BLOCK_LAYERS", layers)
    torch.testing.assert_close(gradient, with_engine(circuit, theta, v)[1], **EXACT)


@SOME_ROWS
@pytest.mark.parametrize("size", (1, 2, 3, 5, 7))
def test_the_size_of_groups_changes_nothing(ansatz, entangler, size, monkeypatch):
    circuit = CircuitSpec(ansatz, entangler, qubits=7, layers=3, circuits=2)
    theta, v = random_angles(circuit), torch.randn(2, 2**7, dtype=torch.float64)
    usual = with_engine(circuit, theta, v)
    monkeypatch.setattr(rotations, "GROUP_QUBITS", size)
    for found, expected in zip(with_engine(circuit, theta, v), usual, strict=True):
        torch.testing.assert_close(found, expected, **EXACT)


# --- given states, and read-outs ------------------------------------------------------------------


def random_states(circuit, count, dtype=torch.complex128):
    """Normalised, with gradients asked for: (b, count, 2**n)."""
    states = torch.randn(circuit.circuits, count, 2**circuit.qubits, dtype=dtype)
    return (states / states.norm(dim=-1, keepdim=True)).requires_grad_()


@ROWS
@pytest.mark.parametrize("qubits", (2, 3, 5))
def test_given_states_are_turned_by_the_dense_matrix(ansatz, entangler, qubits):
    circuit = CircuitSpec(ansatz, entangler, qubits, layers=3, circuits=2)
    theta, states = random_angles(circuit), random_states(circuit, 3)
    weights = torch.randn(2, 3, 2**qubits, dtype=torch.complex128)
    found = evolve(circuit, theta, states)
    dense = torch.stack([oracles.unitary(ansatz, entangler, t) for t in theta])
    expected = states @ dense.mT
    torch.testing.assert_close(found, expected, **EXACT)
    slopes = [torch.autograd.grad((weights * psi).sum().abs(), (theta, states)) for psi in (found, expected)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


@SOME_ROWS
def test_evolution_passes_gradcheck(ansatz, entangler):
    circuit = CircuitSpec(ansatz, entangler, qubits=3, layers=2)
    inputs = (random_angles(circuit), random_states(circuit, 2))
    assert torch.autograd.gradcheck(lambda theta, states: evolve(circuit, theta, states), inputs)


def test_real_states_of_a_real_circuit_stay_real_and_the_given_ones_whole():
    circuit = CircuitSpec("real-amplitudes", "cz-ring", qubits=4, layers=2)
    states = random_states(circuit, 3, torch.float64).detach()
    before = states.clone()
    found = evolve(circuit, random_angles(circuit), states)
    assert found.dtype == torch.float64 and torch.equal(states, before)


def test_the_first_basis_state_gives_the_probabilities():
    circuit = CircuitSpec("efficient-su2", "cnot-ring", qubits=5, layers=3, circuits=2)
    theta, start = random_angles(circuit), torch.zeros(2, 1, 32, dtype=torch.complex128)
    start[..., 0] = 1
    torch.testing.assert_close(
        evolve(circuit, theta, start).abs().square()[:, 0], probabilities(circuit, theta), **EXACT
    )


@pytest.mark.parametrize("qubits", range(1, 6))
def test_expectations_are_those_of_pauli_z(qubits):
    p = torch.rand(2, 3, 2**qubits, dtype=torch.float64, requires_grad=True)
    observables = [oracles.on_wires({q: oracles.PAULI["Z"]}, qubits).diagonal().real for q in range(qubits)]
    torch.testing.assert_close(expectations(p), p @ torch.stack(observables).T, **EXACT)
    assert torch.autograd.gradcheck(expectations, (p,))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 8), torch.complex128), ((1, 2, 4), torch.complex128), ((2, 2, 8), torch.complex128),
     ((1, 2, 8), torch.complex64), ((1, 2, 8), torch.float64)],
)  # fmt: skip
def test_states_that_do_not_fit_are_refused(shape, dtype):
    circuit = CircuitSpec("efficient-su2", "cnot-ring", qubits=3, layers=1)
    with pytest.raises(BadInput) as caught:
        evolve(circuit, random_angles(circuit), torch.zeros(shape, dtype=dtype))
    assert caught.value.message == (
        f"the states are {dtype} of shape {list(shape)}; needed: torch.complex128 of shape [1, any, 8]"
    )


# --- what must hold for any circuit ---------------------------------------------------------------


@SOME_ROWS
@pytest.mark.parametrize("qubits", (1, 2, 6, 11))
def test_circuits_of_one_batch_do_not_mix(ansatz, entangler, qubits):
    qubits = wide_enough(entangler, qubits)
    batch = CircuitSpec(ansatz, entangler, qubits, layers=3, circuits=3)
    alone = CircuitSpec(ansatz, entangler, qubits, layers=3)
    theta, v = random_angles(batch), torch.randn(3, 2**qubits, dtype=torch.float64)
    p, gradient = with_engine(batch, theta, v)
    for k in range(3):
        one = with_engine(alone, theta.detach()[k : k + 1].requires_grad_(), v[k : k + 1])
        torch.testing.assert_close(p[k : k + 1], one[0], **EXACT)
        torch.testing.assert_close(gradient[k : k + 1], one[1], **EXACT)


@ROWS
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_probabilities_are_not_negative_and_sum_to_one(ansatz, entangler, dtype, error):
    circuit = CircuitSpec(ansatz, entangler, qubits=10, layers=40, circuits=2)
    p = probabilities(circuit, random_angles(circuit, dtype))
    assert p.shape == (2, 1024) and p.dtype == dtype and p.min() >= 0
    torch.testing.assert_close(p.sum(1), torch.ones(2, dtype=dtype), rtol=0, atol=error)


@ROWS
def test_angles_that_are_zero_leave_the_first_outcome(ansatz, entangler):
    circuit = CircuitSpec(ansatz, entangler, qubits=6, layers=3)
    p = probabilities(circuit, torch.zeros(circuit.angle_shape))
    assert p[0, 0] == 1 and p[0, 1:].abs().max() == 0


def test_wire_0_is_the_most_significant_bit():
    circuit = CircuitSpec("real-amplitudes", "cz-ring", qubits=5, layers=1)
    theta = torch.zeros(circuit.angle_shape, dtype=torch.float64)
    theta[0, 0, 0] = math.pi
    assert probabilities(circuit, theta).argmax() == 0b10000


def test_the_cnot_ring_hands_a_one_on_to_all_qubits_and_clears_the_first():
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits=5, layers=1)
    theta = torch.zeros(circuit.angle_shape, dtype=torch.float64)
    theta[0, 0, 0] = math.pi
    assert probabilities(circuit, theta).argmax() == 0b01111


@ROWS
def test_a_full_turn_of_an_angle_changes_nothing(ansatz, entangler):
    circuit = CircuitSpec(ansatz, entangler, qubits=6, layers=3)
    theta = random_angles(circuit)
    # A controlled rotation comes back after two full turns only.
    turns = 4 * math.pi * torch.randint(-2, 3, theta.shape).double()
    turned = probabilities(circuit, theta + turns)
    torch.testing.assert_close(turned, probabilities(circuit, theta), **EXACT)


@pytest.mark.parametrize("entangler", ANSATZE["real-amplitudes"].entanglers)
def test_without_its_rz_efficient_su2_is_real_amplitudes(entangler):
    complex_row = CircuitSpec("efficient-su2", entangler, qubits=8, layers=5)
    real_row = CircuitSpec("real-amplitudes", entangler, qubits=8, layers=5)
    theta = random_angles(complex_row).detach()
    theta[..., 1] = 0
    expected = probabilities(real_row, theta[..., :1])
    torch.testing.assert_close(probabilities(complex_row, theta), expected, **EXACT)


@pytest.mark.parametrize("entangler", ANSATZE["efficient-su2"].entanglers)
def test_the_last_rz_is_a_dead_angle(entangler):
    circuit = CircuitSpec("efficient-su2", entangler, qubits=6, layers=3)
    gradient = with_engine(circuit, random_angles(circuit), torch.randn(1, 64, dtype=torch.float64))[1]
    assert gradient[:, -1, :, 1].abs().max() < 1e-14
    assert gradient[:, 1:-1].abs().min() > 1e-7


@SOME_ROWS
def test_two_runs_give_the_same_bits(ansatz, entangler):
    circuit = CircuitSpec(ansatz, entangler, qubits=12, layers=4, circuits=2)
    theta, v = random_angles(circuit, torch.float32), torch.randn(2, 2**12)
    first, second = with_engine(circuit, theta, v), with_engine(circuit, theta, v)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_the_gradient_of_a_constant_is_zero():
    circuit = CircuitSpec("efficient-su2", "cnot-ring", qubits=6, layers=3)
    theta = random_angles(circuit)
    probabilities(circuit, theta).sum().backward()
    assert theta.grad.abs().max() < 1e-14


def test_a_second_backward_pass_over_a_kept_graph_gives_the_same():
    circuit = CircuitSpec("efficient-su2", "cz-ring", qubits=6, layers=3)
    theta = random_angles(circuit)
    loss = probabilities(circuit, theta).square().sum()
    first, second = (torch.autograd.grad(loss, theta, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_tables_made_in_inference_mode_serve_training():
    circuit = CircuitSpec("efficient-su2", "cnot-ring", qubits=7, layers=2)
    entanglers._tables.cache_clear()
    with torch.inference_mode():
        expected = probabilities(circuit, torch.ones(circuit.angle_shape))
    theta = torch.ones(circuit.angle_shape, requires_grad=True)
    p = probabilities(circuit, theta)
    p[0, 0].backward()
    assert torch.equal(p, expected) and theta.grad.abs().max() > 0


# --- cost and device ------------------------------------------------------------------------------


class _Watch(TorchDispatchMode):
    """Sees every tensor that an operation returns: the dtypes, and the most bytes alive at one time."""

    def __init__(self):
        super().__init__()
        self.dtypes, self.most, self._alive, self._seen = set(), 0, {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for tensor in [found] if isinstance(found, torch.Tensor) else tree_leaves(found):
            if isinstance(tensor, torch.Tensor):
                self.dtypes.add(tensor.dtype)
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                if reference.cdata not in self._alive:
                    self._alive[reference.cdata] = (reference, storage.nbytes())
                    self._seen += storage.nbytes()
        if self._seen > self.most:  # with those that have gone since; else it is no new height
            self._alive = {key: entry for key, entry in self._alive.items() if not entry[0].expired()}
            self._seen = sum(size for _, size in self._alive.values())
            self.most = max(self.most, self._seen)
        return found


def watched(circuit, dtype=torch.float32, first=True):
    """What a forward and backward pass makes, but for what the first one alone does."""
    theta, v = random_angles(circuit, dtype), torch.randn(circuit.circuits, 2**circuit.qubits, dtype=dtype)
    if first:  # tables of the entangler are made once and stay
        layers = min(circuit.layers, ENTANGLERS[circuit.entangler].period(circuit.qubits))
        with_engine(replace(circuit, layers=layers), theta[:, :layers], v)
    with _Watch() as watch:
        with_engine(circuit, theta, v)
    return watch


@pytest.mark.parametrize("entangler", ANSATZE["real-amplitudes"].entanglers)
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_real_circuits_make_no_complex_tensor(entangler, dtype):
    made = watched(CircuitSpec("real-amplitudes", entangler, qubits=6, layers=3), dtype).dtypes
    assert dtype in made
    assert not any(found.is_complex for found in made)


@SOME_ROWS
def test_memory_does_not_grow_with_depth(ansatz, entangler):
    depths = (2 * BLOCK_LAYERS, 4 * BLOCK_LAYERS)  # from the second block on, two are alive at a time
    shallow, deep = (
        watched(CircuitSpec(ansatz, entangler, qubits=14, layers=k), first=k == depths[0]).most
        for k in depths  # the tables of the first serve the other
    )
    state = 2**14 * (4 if ANSATZE[ansatz].real else 8)
    tables = 2 * 8 * 2**14 * (ENTANGLERS[entangler].period(14) - 1)  # where layers differ
    assert 5 * state < shallow < 15 * state + tables
    assert deep < 1.05 * shallow, "more than the angles and their gradient grew"


@SOME_ROWS
def test_the_number_of_threads_does_not_change_a_bit(ansatz, entangler):
    circuit = CircuitSpec(ansatz, entangler, qubits=18, layers=2)
    assert circuit.outcomes >= statevector.THREADED_OUTCOMES
    theta = random_angles(circuit).detach()
    usual = torch.get_num_threads()
    try:
        found = [(torch.set_num_threads(k), probabilities(circuit, theta))[1] for k in (1, 2)]
    finally:
        torch.set_num_threads(usual)
    assert torch.equal(*found)


@pytest.mark.parametrize(("qubits", "threads"), [(4, 1), (18, 3)])
def test_small_circuits_run_on_one_thread_and_give_the_others_back(qubits, threads, monkeypatch):
    seen = []
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits, layers=1)
    for name in ("_final_states", "_adjoint_sweep"):
        step = getattr(statevector, name)
        monkeypatch.setattr(
            statevector, name, lambda *a, step=step: (seen.append(torch.get_num_threads()), step(*a))[1]
        )
    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with_engine(circuit, random_angles(circuit), torch.ones(1, 2**qubits, dtype=torch.float64))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(usual)
    assert seen == [threads, threads]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@ROWS
def test_a_cuda_device_gives_the_same(ansatz, entangler):
    circuit = CircuitSpec(ansatz, entangler, qubits=9, layers=3, circuits=2)
    theta, v = random_angles(circuit), torch.randn(2, 512, dtype=torch.float64)
    on_device = with_engine(circuit, theta.detach().cuda().requires_grad_(), v.cuda())
    for found, expected in zip(on_device, with_engine(circuit, theta, v), strict=True):
        assert found.is_cuda
        torch.testing.assert_close(found.cpu(), expected, **EXACT)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((2, 3, 1), torch.float32),
        ((1, 3, 2, 1), torch.float32),
        ((1, 2, 3, 2), torch.float64),
        ((1, 2, 3, 1), torch.float16),
        ((1, 2, 3, 1), torch.int64),
        ((1, 2, 3, 1), torch.complex64),
    ],
)
def test_angles_of_another_shape_or_dtype_are_refused(shape, dtype):
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits=3, layers=2)
    with pytest.raises(BadInput) as caught:
        probabilities(circuit, torch.zeros(shape, dtype=dtype))
    assert caught.value.message == (
        f"the angles are {dtype} of shape {list(shape)}; needed: float32 or float64 of shape [1, 2, 3, 1]"
    )


def test_gradients_of_gradients_are_refused():
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits=3, layers=2)
    theta = random_angles(circuit)
    (slope,) = torch.autograd.grad(probabilities(circuit, theta)[0, 0], theta, create_graph=True)
    with pytest.raises(RuntimeError, match="gradient of the probabilities cannot be differentiated again"):
        slope.sum().backward()
