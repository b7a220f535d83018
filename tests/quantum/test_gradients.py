"""Every estimator against the others, for every ansatz and entangler, and what each says that it has spent.

Tolerances: a shift rule is exact, so it has rounding only (1e-16 times some hundred terms). A central
difference of step h = 9e-6 has h**2 / 6 and rounding / h, both near 2e-11; 1e-9 is loose and finds any wrong
factor. Means of random estimates are held to five of their own standard errors, with fixed seeds.
"""

import math
from dataclasses import replace

import pytest
import torch

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum import gradients
from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec
from qtrain_cli.quantum.estimators import ESTIMATORS, Cost
from qtrain_cli.quantum.gradients import (
    GradientMethod,
    Instrument,
    difference_step,
    gradient,
    measured_probabilities,
    run_exactly,
    with_shots,
)
from qtrain_cli.quantum.pennylane_bridge import on_device
from qtrain_cli.quantum.statevector import expectations, probabilities

ROWS = pytest.mark.parametrize(
    ("ansatz", "entangler"), [(a, e) for a in ANSATZE for e in ANSATZE[a].entanglers]
)
FIRST = pytest.mark.parametrize(("ansatz", "entangler"), [(a, ANSATZE[a].entanglers[0]) for a in ANSATZE])
STANDARD_ERRORS = 5


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def problem(ansatz, entangler, qubits=3, layers=2, circuits=2):
    """Circuits, angles and a cotangent, float64."""
    circuit = CircuitSpec(ansatz, entangler, qubits, layers, circuits)
    theta = (torch.rand(circuit.angle_shape, dtype=torch.float64) * 2 - 1) * math.pi
    return circuit, theta, torch.randn(circuits, 2**qubits, dtype=torch.float64)


def method(estimator, instrument=None, seed=0, **more):
    return GradientMethod(estimator, instrument or Instrument(), seeded(seed), **more)


def shooting(shots):
    return Instrument(with_shots(shots), shots)


def engine_gradient(circuit, theta, v):
    theta = theta.clone().requires_grad_()
    return torch.autograd.grad(probabilities(circuit, theta), theta, v)[0]


def draws(count, circuit, theta, v, how):
    """So many estimates of one circuit's gradient, of copies of it in one batch: (count, L, n, r)."""
    copies = replace(circuit, circuits=count)
    return gradient(copies, theta.repeat(count, 1, 1, 1), v.repeat(count, 1), how)


def agrees_in_the_mean(many, expected, bias=0.0):
    """Draws (k, ...) have this mean, but for chance and a known bias."""
    error = many.std(0) / len(many) ** 0.5
    assert bool(((many.mean(0) - expected).abs() <= STANDARD_ERRORS * error + bias).all())


# --- against each other ----------------------------------------------------------------------------------


@ROWS
@pytest.mark.parametrize(
    ("estimator", "tolerance"), [("adjoint", 1e-13), ("parameter-shift", 1e-12), ("finite-difference", 1e-9)]
)
def test_it_is_the_gradient_of_the_engine(ansatz, entangler, estimator, tolerance):
    circuit, theta, v = problem(ansatz, entangler)
    found = gradient(circuit, theta, v, method(estimator))
    torch.testing.assert_close(found, engine_gradient(circuit, theta, v), rtol=0, atol=tolerance)


@ROWS
def test_the_mean_of_spsa_is_the_gradient(ansatz, entangler):
    circuit, theta, v = problem(ansatz, entangler, layers=1, circuits=1)
    many = draws(400, circuit, theta, v, method("spsa", samples=4, step=1e-3))
    agrees_in_the_mean(many, engine_gradient(circuit, theta, v), bias=1e-4)


def test_spsa_is_off_by_the_square_of_its_step():
    circuit, theta, v = problem("efficient-su2", "cnot-ring", layers=1, circuits=1)
    expected = engine_gradient(circuit, theta, v)
    off = []
    for step in (0.4, 0.2):
        # All 64 patterns of signs: the mean itself, without chance.
        patterns = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 6)
        up, down = (
            probabilities(CircuitSpec("efficient-su2", "cnot-ring", 3, 1, 64), theta + sign * step * moves)
            @ v[0]
            for moves in [patterns.view(64, 1, 3, 2)]
            for sign in (1, -1)
        )
        mean = ((up - down)[:, None] * patterns).mean(0) / (2 * step)
        off.append((mean.view_as(expected) - expected).norm())
    assert 3 < off[0] / off[1] < 5


@FIRST
@pytest.mark.parametrize("estimator", ["parameter-shift", "spsa", "finite-difference"])
def test_with_shots_the_mean_stays(ansatz, entangler, estimator):
    """A central difference and spsa keep the error of their step; the sampling adds none of its own."""
    circuit, theta, v = problem(ansatz, entangler, layers=1, circuits=1)
    more = {"samples": 4, "step": 0.05} if estimator == "spsa" else {}
    many = draws(300, circuit, theta, v, method(estimator, shooting(200), **more))
    h = difference_step(200)
    bias = {"parameter-shift": 0.0, "spsa": 0.05**2, "finite-difference": h**2 / 6}[estimator] * float(
        v.norm()
    )
    agrees_in_the_mean(many, engine_gradient(circuit, theta, v), bias)
    assert many.std(0).max() > 0.01


def test_the_step_of_a_difference_balances_its_two_errors():
    assert difference_step(None) == pytest.approx((3 * 2**-52) ** (1 / 3))
    for shots in (10, 1000):
        h = difference_step(shots)
        assert h**2 / 3 == pytest.approx(shots**-0.5 / h)


@FIRST
@pytest.mark.parametrize("estimator", ["adjoint", "parameter-shift", "finite-difference"])
def test_pauli_z_expectations_are_differentiated_through_it(ansatz, entangler, estimator):
    circuit, theta, _ = problem(ansatz, entangler)
    weights = torch.randn(2, 3, dtype=torch.float64)
    slopes = []
    for run in (
        lambda t: measured_probabilities(circuit, t, method(estimator)),
        lambda t: probabilities(circuit, t),
    ):
        angles = theta.clone().requires_grad_()
        (expectations(run(angles)) * weights).sum().square().backward()
        slopes.append(angles.grad)
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-8)


# --- the differentiable op -------------------------------------------------------------------------------


def test_forwards_it_gives_what_the_instrument_measures():
    circuit, theta, _ = problem("real-amplitudes", "cnot-ring")
    found = measured_probabilities(circuit, theta, method("spsa", shooting(50)))
    assert torch.equal(found, with_shots(50)(circuit, theta, seeded()))
    torch.testing.assert_close(
        measured_probabilities(circuit, theta, method("spsa")), probabilities(circuit, theta)
    )


def test_single_precision_stays_and_small_steps_do_not_vanish_in_it():
    circuit, theta, v = problem("efficient-su2", "cnot-ring")
    single = theta.float().requires_grad_()
    p = measured_probabilities(circuit, single, method("finite-difference"))
    (p * v.float()).sum().backward()
    assert p.dtype == single.grad.dtype == torch.float32
    expected = engine_gradient(circuit, single.detach().double(), v)
    torch.testing.assert_close(single.grad.double(), expected, rtol=0, atol=1e-5)


def test_a_second_derivative_is_refused():
    circuit, theta, v = problem("real-amplitudes", "cnot-ring")
    theta.requires_grad_()
    p = measured_probabilities(circuit, theta, method("parameter-shift"))
    (slope,) = torch.autograd.grad((p * v).sum() ** 2, theta, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("shots", (None, 20))
def test_a_pennylane_device_is_an_instrument_like_any(shots):
    circuit, theta, v = problem("u3-cu3", "cu3-ring", qubits=2, layers=1, circuits=2)
    instrument = Instrument(on_device("lightning.qubit", shots), shots)
    found = gradient(circuit, theta, v, method("parameter-shift", instrument))
    if shots is None:
        torch.testing.assert_close(found, engine_gradient(circuit, theta, v), rtol=0, atol=1e-10)
    again = gradient(circuit, theta, v, method("parameter-shift", instrument))
    other = gradient(circuit, theta, v, method("parameter-shift", instrument, seed=1))
    assert torch.equal(found, again) and (shots is None or not torch.equal(found, other))
    assert instrument.cost.evaluations == 3 * 2 * 2 * (3 * 2 + 2 + 4 + 2)


# --- cost, memory, refusals ------------------------------------------------------------------------------


@FIRST
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shots", (None, 3))
def test_what_is_spent_is_what_the_table_says(ansatz, entangler, estimator, shots):
    if shots and not ESTIMATORS[estimator].measures:
        pytest.skip("refused, see below")
    circuit, theta, v = problem(ansatz, entangler, qubits=2)
    instrument = shooting(shots) if shots else Instrument()
    p = measured_probabilities(circuit, theta.requires_grad_(), method(estimator, instrument, samples=3))
    assert instrument.cost == Cost(2, 2 * (shots or 0))
    (p * v).sum().backward()
    expected = 2 + ESTIMATORS[estimator].evaluations(circuit, 3)
    assert instrument.cost == Cost(expected, expected * (shots or 0))


@pytest.mark.parametrize("estimator", [name for name, row in ESTIMATORS.items() if row.measures])
def test_parts_change_nothing_but_memory(estimator, monkeypatch):
    circuit, theta, v = problem("u3-cu3", "cu3-ring")
    sizes = []

    def watched(circuit, theta, generator):
        sizes.append(len(theta))
        return run_exactly(circuit, theta, generator)

    def run():
        sizes.clear()
        return gradient(circuit, theta, v, method(estimator, Instrument(watched), samples=50))

    whole = run()
    assert len(sizes) == 1
    monkeypatch.setattr(gradients, "NUMBERS_AT_ONCE", 10_000)
    torch.testing.assert_close(run(), whole, rtol=0, atol=1e-12)
    assert len(sizes) > 3 and max(sizes) <= 18


@pytest.mark.parametrize(
    ("estimator", "instrument", "message", "advice"),
    [
        ("adjoints", Instrument(), "unknown gradient 'adjoints'", "did you mean 'adjoint'?"),
        (
            "adjoint",
            shooting(5),
            "the gradient adjoint needs amplitudes, which no device gives",
            "choose --gradient parameter-shift or --gradient spsa",
        ),
    ],
)
def test_what_cannot_be_is_refused(estimator, instrument, message, advice):
    with pytest.raises(BadInput) as caught:
        method(estimator, instrument)
    assert (caught.value.message, caught.value.advice) == (message, advice)
