"""The idea as a whole: probabilities to named weights, against NumPy; gradients reach all trained numbers."""

import itertools

import format_weights
import numpy as np
import pytest
import torch
from artifacts import CIRCUITS, LAYOUT, idle_numbers, numbers_of, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import dead_angles

from qtrain_cli.methods.generator.angles import start_angles
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.mapping import apply_mapping, start_numbers
from qtrain_cli.methods.generator.plan import MAPPING
from qtrain_cli.methods.generator.spec import MAPPINGS
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry

LAYERS = LayoutSpec(
    (
        TensorEntry("conv.weight", (8, 4, 3, 3), "F32", GENERATED, 36),
        TensorEntry("conv.bias", (64,), "F32", GENERATED, 36),
        TensorEntry("norm.weight", (128,), "F32", GENERATED, 128, 1.0),
        TensorEntry("last.weight", (10, 50), "F32", GENERATED, 50),
    )
)


def start(spec, dtype=torch.float32, seed=0):
    numbers = start_numbers(spec, torch.Generator().manual_seed(seed))
    return start_angles(spec.circuit, seed).to(dtype), numbers.to(dtype)


@pytest.mark.parametrize("circuits", [1, 2, 3])
@pytest.mark.parametrize(("ansatz", "entangler", "final_rotation"), CIRCUITS)
def test_z_is_that_of_dense_matrices(ansatz, entangler, final_rotation, circuits):
    spec = spec_of(
        ansatz=ansatz, entangler=entangler, circuits=circuits, layers=4, final_rotation=final_rotation
    )
    theta = start_angles(spec.circuit, 5)
    n = spec.circuit.qubits
    p = [
        format_weights.probabilities(ansatz, entangler, n, theta[c].numpy(), final_rotation)
        for c in range(circuits)
    ]
    found = Generator(spec, dtype=torch.float64).standardised(theta)
    np.testing.assert_allclose(found, (2**n * np.concatenate(p) - 1)[: LAYOUT.generated], atol=1e-12)


def test_weights_are_centre_plus_scale_times_mapping():
    spec = spec_of(LAYERS, layers=2)
    theta, numbers = start(spec, torch.float64)
    generator = Generator(spec, dtype=torch.float64)
    z, weights = generator.standardised(theta), generator.weights(theta, numbers)
    first = 0
    for entry in LAYERS.entries:
        part = slice(first, first + entry.count)
        expected = entry.centre + (numbers[0] * z[part] + numbers[1]) / (3 * entry.fan_in) ** 0.5
        torch.testing.assert_close(weights[part], expected)
        first += entry.count


def test_weights_are_the_mapping_itself_where_it_is_not_scaled():
    spec = spec_of(LAYERS, layers=2, mapping="quantum-train")
    theta, numbers = start(spec, torch.float64)
    generator = Generator(spec, dtype=torch.float64)
    weights = generator.weights(theta, numbers)
    mapped = apply_mapping(spec, numbers, generator.standardised(theta), generator.positions)
    assert torch.equal(weights, mapped) and weights.mean().abs() < 1e-15


def test_tensors_have_names_shapes_and_dtypes():
    spec = spec_of()
    found = Generator(spec).tensors(*start(spec))
    expected = {entry.name: entry for entry in LAYOUT.of_role(GENERATED)}
    assert list(found) == list(expected)
    assert all(found[name].shape == entry.shape for name, entry in expected.items())
    assert [tensor.dtype for tensor in found.values()] == [
        torch.float32, torch.float32, torch.float16, torch.bfloat16,
    ]  # fmt: skip


@pytest.mark.parametrize("circuits", [1, 2])
@pytest.mark.parametrize(
    ("ansatz", "entangler", "final_rotation", "mapping"),
    [(*row, mapping) for row, mapping in zip(CIRCUITS[1:], itertools.cycle(MAPPINGS), strict=False)]
    + [(*CIRCUITS[0], mapping) for mapping in MAPPINGS],
)
def test_gradients_reach_every_trained_number(ansatz, entangler, final_rotation, mapping, circuits):
    """Every circuit with a mapping in turn, and every mapping."""
    spec = spec_of(LAYERS, circuits, 3, 8, mapping, ansatz, entangler, final_rotation=final_rotation)
    theta, numbers = (tensor.requires_grad_() for tensor in start(spec, torch.float64))
    weights = Generator(spec, dtype=torch.float64).weights(theta, numbers)
    (weights * torch.linspace(1, 2, len(weights)).sin()).sum().backward()
    assert (numbers.grad == 0).nonzero().flatten().tolist() == idle_numbers(spec)
    # What rounding leaves of a dead angle is below 1e-13, and the least of the others was 4e-6.
    dead = dead_angles(ansatz, entangler, spec.circuit.layers, spec.circuit.qubits)
    found = (theta.grad.abs() < 1e-12).nonzero().tolist()
    assert sorted(map(tuple, found)) == [(c, *place) for c in range(circuits) for place in sorted(dead)]


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("circuits", [1, 3])
def test_gradients(mapping, circuits):
    spec = spec_of(circuits=circuits, layers=2, mapping=mapping, ansatz="efficient-su2")
    generator = Generator(spec, dtype=torch.float64)
    inputs = [tensor.requires_grad_() for tensor in start(spec, torch.float64)]
    assert torch.autograd.gradcheck(generator.weights, inputs)


@pytest.mark.parametrize("mapping", [kind for kind, row in MAPPINGS.items() if row.scaled])
@pytest.mark.parametrize(("ansatz", "variance"), [("efficient-su2", 1), ("real-amplitudes", 2)])
def test_the_start_has_the_size_of_an_initialiser(ansatz, variance, mapping):
    """Around the centre, sqrt(variance of z / fan-in), within what so few weights leave to chance."""
    spec = spec_of(LAYERS, layers=20, mapping=mapping, ansatz=ansatz)
    assert spec.circuit.layers >= spec.circuit.qubits
    seeds = [Generator(spec).tensors(*start(spec, seed=seed)) for seed in range(8)]
    for entry in LAYERS.entries:
        found = torch.stack([tensors[entry.name] for tensors in seeds]) - entry.centre
        assert 0.85 < found.square().mean().item() * entry.fan_in / variance < 1.3


@given(st.integers(0, 2**31), st.sampled_from([1, 2, 3]))
@settings(max_examples=20, deadline=None)
def test_z_has_mean_zero_in_each_circuit(seed, circuits):
    layout = LayoutSpec((TensorEntry("w", (circuits * 16,), "F32", GENERATED),))
    spec = spec_of(layout, circuits=circuits)
    z = Generator(spec, dtype=torch.float64).standardised(start_angles(spec.circuit, seed))
    torch.testing.assert_close(z.view(circuits, 16).mean(1), torch.zeros(circuits, dtype=torch.float64))


def test_surplus_outcomes_are_dropped():
    spec = spec_of()
    assert spec.circuit.outcomes == 32
    assert Generator(spec).standardised(start_angles(spec.circuit, 0)).shape == (LAYOUT.generated,)


def test_float32_is_near_float64():
    spec, mapping = spec_of(LAYERS, layers=10), numbers_of(spec_of()).groups[MAPPING]
    theta = start_angles(spec.circuit, 3)
    exact = Generator(spec, dtype=torch.float64).weights(theta, mapping.double())
    torch.testing.assert_close(
        Generator(spec).weights(theta.float(), mapping).double(), exact, rtol=1e-4, atol=1e-5
    )
