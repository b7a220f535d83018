"""How a fit runs its circuits: the same gradient, exact resumption, counted costs, and every refusal."""

import re

import pytest
import torch
from torch import nn
from trainees import Stopped, cut_at

from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.plan import ANGLES, MAPPING
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.estimators import ESTIMATORS, Cost
from qtrain_cli.quantum.statevector import probabilities
from qtrain_cli.settings import FitSettings, GradientSettings
from qtrain_cli.training import circuits as circuits_module
from qtrain_cli.training.circuits import (
    StepCircuits,
    check_cost,
    check_gradient,
    fit_cost,
    in_words,
    measures,
)
from qtrain_cli.training.generated import SPENT

CIRCUIT = CircuitSpec("real-amplitudes", "cnot-ring", qubits=3, layers=2, circuits=2)
MEASURED = pytest.mark.parametrize("method", [name for name, row in ESTIMATORS.items() if row.measures])


def tiny(make_problem):
    """64 weights, 6 qubits, dropout and BatchNorm: 12 angles."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.AvgPool2d(4), nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 10), nn.Dropout(0.1)
    )
    return make_problem(module, layers=2)


def spent(fitted):
    """All circuits and shots of a run."""
    return Cost(*fitted.trainee.state()[SPENT].tolist())


# --- one step --------------------------------------------------------------------------------------------


def test_with_the_adjoint_the_engine_runs_and_nothing_is_counted():
    circuits = StepCircuits(GradientSettings(), seed=0)
    assert circuits.at(0) is probabilities and circuits.take() == (0, 0)
    assert not measures(GradientSettings())


@pytest.mark.parametrize("device", (None, "default.qubit"))
def test_without_shots_a_measured_step_is_the_engines(device):
    theta = torch.randn(CIRCUIT.angle_shape, dtype=torch.float64, requires_grad=True)
    v = torch.randn(2, 8, dtype=torch.float64)
    run = StepCircuits(GradientSettings("parameter-shift", None, device), seed=0).at(5)
    for found, expected in zip(
        (run(CIRCUIT, theta), torch.autograd.grad(run(CIRCUIT, theta), theta, v)[0]),
        (probabilities(CIRCUIT, theta), torch.autograd.grad(probabilities(CIRCUIT, theta), theta, v)[0]),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_a_count_is_taken_once_and_begins_anew():
    circuits, theta = StepCircuits(GradientSettings("spsa", 10), seed=0), torch.randn(CIRCUIT.angle_shape)
    circuits.at(0)(CIRCUIT, theta)
    assert circuits.take() == (2, 20) and circuits.take() == (0, 0)
    circuits.at(1)(CIRCUIT, theta)
    circuits.at(2)(CIRCUIT, theta)
    assert circuits.take() == (4, 40)


@pytest.mark.parametrize("device", (None, "default.qubit"))
def test_what_is_drawn_follows_from_seed_and_step(device):
    theta = torch.randn(CIRCUIT.angle_shape)

    def drawn(seed, step):
        return StepCircuits(GradientSettings("spsa", 10, device), seed).at(step)(CIRCUIT, theta)

    assert torch.equal(drawn(0, 3), drawn(0, 3))
    assert not torch.equal(drawn(0, 3), drawn(0, 4)) and not torch.equal(drawn(0, 3), drawn(1, 3))


def test_the_weights_of_a_linear_mapping_are_unbiased(make_problem):
    spec = tiny(make_problem).spec
    generator, theta = Generator(spec), torch.randn(spec.circuit.angle_shape)
    numbers = torch.tensor([1.5, 0.2])  # gain and bias
    circuits = StepCircuits(GradientSettings("spsa", 100), seed=0)
    many = torch.stack([generator.weights(theta, numbers, circuits.at(k)) for k in range(400)])
    p = probabilities(spec.circuit, theta)[0, : spec.layout.generated]
    spread = generator.scale * numbers[0] * 64 * (p * (1 - p) / 100).sqrt()
    error = 5 * spread / 400**0.5
    assert bool(((many.mean(0) - generator.weights(theta, numbers)).abs() <= error + 1e-6).all())


# --- whole fits ------------------------------------------------------------------------------------------


def test_parameter_shift_without_shots_fits_what_the_adjoint_fits(make_problem, run_fit):
    expected, _ = run_fit(tiny(make_problem), name="adjoint")
    found, _ = run_fit(tiny(make_problem), gradient=GradientSettings("parameter-shift"))
    for group in (ANGLES, MAPPING):
        one, other = found.trained.parameters[group], expected.trained.parameters[group]
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@MEASURED
@pytest.mark.parametrize("shots", (None, 7))
def test_a_fit_counts_what_was_foretold_and_validation_measures_nothing(make_problem, run_fit, method, shots):
    problem, samples = tiny(make_problem), 3 if method == "spsa" else 1
    settings = GradientSettings(method, shots, spsa_samples=samples)
    fitted, seen = run_fit(problem, gradient=settings)
    circuit = problem.spec.circuit
    expected = len(seen) * (1 + ESTIMATORS[method].evaluations(circuit, samples))
    assert spent(fitted) == Cost(expected, expected * (shots or 0)) == fit_cost(settings, circuit, len(seen))
    assert spent(run_fit(problem)[0]) == Cost()


def test_each_step_draws_anew(make_problem, run_fit, monkeypatch):
    steps, real = [], StepCircuits.at

    def watched(self, step):
        steps.append(step)
        return real(self, step)

    monkeypatch.setattr(StepCircuits, "at", watched)
    _, seen = run_fit(tiny(make_problem), gradient=GradientSettings("spsa", 5))
    assert steps == list(range(len(seen)))


@pytest.mark.parametrize(("device", "step"), [(None, 1), (None, 4), ("default.qubit", 6)])
def test_a_run_cut_off_goes_on_to_the_same_bits_and_the_same_count(
    make_problem, run_fit, every_step, step, device
):
    given = {"epochs": 2, "gradient": GradientSettings("spsa", 50, device)}
    whole, _ = run_fit(tiny(make_problem), name="whole", **given)
    with pytest.raises(Stopped):
        run_fit(tiny(make_problem), show=cut_at(step), **given)
    torch.manual_seed(99)
    again, seen = run_fit(tiny(make_problem), resume=True, **given)
    assert seen[0].step == step and again.bits == whole.bits
    assert spent(again) == spent(whole)


# --- cost and refusals -----------------------------------------------------------------------------------


def test_cost_in_words():
    assert in_words(Cost(12_000, 1_200_000)) == "12,000 circuits, 1,200,000 shots"
    assert in_words(Cost(12_000)) == "12,000 circuits, exact probabilities"


@pytest.mark.parametrize(
    ("settings", "message", "advice"),
    [
        (GradientSettings("spas"), "--gradient 'spas' does not exist", "did you mean 'spsa'?"),
        (
            GradientSettings(shots=10),
            "--gradient adjoint needs amplitudes and cannot go with --shots",
            "add --gradient parameter-shift or --gradient spsa",
        ),
        (
            GradientSettings(shots=10, pennylane_device="default.qubit"),
            "--gradient adjoint needs amplitudes and cannot go with --shots and --pennylane-device",
            "add --gradient parameter-shift or --gradient spsa",
        ),
        (
            GradientSettings("parameter-shift", spsa_samples=2),
            "--spsa-samples does not go with --gradient parameter-shift",
            "leave it out, or add --gradient spsa",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(settings, message, advice):
    with pytest.raises(UsageError) as caught:
        check_gradient(settings, CIRCUIT)
    assert (caught.value.message, caught.value.advice) == (message, advice)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(BadInput) as caught:
        check_gradient(GradientSettings("spsa", pennylane_device="default.qubits"), CIRCUIT)
    assert caught.value.advice == "did you mean 'default.qubit'?"


@pytest.mark.parametrize("device", (None, "default.qubit"))
def test_a_fit_that_nobody_would_wait_for_is_refused(device):
    """25 circuits for a gradient and the weights of one circuit of 12 angles, 20 steps of 10 rows."""
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits=4, layers=3)
    gradient = GradientSettings("parameter-shift", 5, device)
    most = {None: "MAX_EVALUATIONS", "default.qubit": "MAX_DEVICE_EVALUATIONS"}[device]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(circuits_module, most, 500)
        settings = FitSettings(epochs=2, batch_size=10, gradient=gradient)
        assert check_cost(settings, circuit, rows=109) == Cost(500, 2500)
        patch.setattr(circuits_module, most, 499)
        with pytest.raises(UsageError) as caught:
            check_cost(settings, circuit, rows=109)
    assert caught.value.message == (
        "--gradient parameter-shift would run 500 circuits (25 in each of 20 steps); allowed: 499"
    )
    assert re.match(r"use --gradient spsa, fewer --layers", caught.value.advice)


def test_the_adjoint_is_free_however_long_it_takes():
    assert check_cost(FitSettings(epochs=10**9 - 1), CIRCUIT, 1000) == Cost()
