"""Mappings against their formulas, written out; every number has an effect; the start has the right size."""

import math

import pytest
import torch
from artifacts import LAYOUT, spec_of

from qtrain_cli.mapping import START_GAIN, Positions, apply_mapping, start_numbers
from qtrain_cli.spec import GENERATED, MAPPINGS

M = LAYOUT.generated
Z = torch.linspace(-1, 3, M, dtype=torch.float64)


def positions(spec):
    return Positions.of(spec, torch.device("cpu"), torch.float64)


def mapped(spec, numbers):
    return apply_mapping(spec, numbers, Z, positions(spec))


def random_numbers(spec, seed=0):
    return torch.randn(
        spec.mapping_numbers, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def test_linear():
    assert torch.equal(mapped(spec_of(), torch.tensor([2.0, -0.5]).double()), 2 * Z - 0.5)


def test_linear_per_tensor():
    numbers = torch.tensor([1.0, 2, 3, 4, 0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    tensor = [t for t, entry in enumerate(LAYOUT.of_role(GENERATED)) for _ in range(entry.count)]
    expected = [(tensor[j] + 1) * Z[j] + (tensor[j] + 1) / 10 for j in range(M)]
    found = mapped(spec_of(mapping="linear-per-tensor"), numbers)
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("circuits", [1, 3])
def test_mlp(circuits):
    spec = spec_of(mapping="mlp", hidden=3, circuits=circuits)
    numbers, k, h = random_numbers(spec), spec.position_bits, 3
    g, c, *rest = numbers.tolist()
    V, (s, d, a) = rest[: h * k], (rest[h * k + i * h : h * k + (i + 1) * h] for i in range(3))
    found = mapped(spec, numbers)
    for j in range(M):
        x = [2 * int(bit) - 1 for bit in f"{j:0{k}b}"]
        hidden = [sum(x[i] * V[i * h + u] for i in range(k)) + s[u] * Z[j].item() + d[u] for u in range(h)]
        expected = g * Z[j].item() + c + sum(a[u] * math.tanh(hidden[u]) for u in range(h))
        assert found[j].item() == pytest.approx(expected, rel=1e-12)


def test_the_mlp_is_no_line():
    spec = spec_of(mapping="mlp")
    numbers = torch.zeros(spec.mapping_numbers, dtype=torch.float64)
    k, h = spec.position_bits, 2
    numbers[2 + h * k], numbers[-2] = 1, 1  # u = tanh(z)
    torch.testing.assert_close(mapped(spec, numbers), Z.tanh())


def test_position_bits_tell_all_weights_apart():
    bits = positions(spec_of(mapping="mlp", circuits=3)).bits
    assert bits.shape == (M, 2 + 3) and len({tuple(row.tolist()) for row in bits}) == M
    assert set(bits.flatten().tolist()) == {-1, 1}
    assert positions(spec_of()).bits.shape == (M, 0)


@pytest.mark.parametrize("kind", MAPPINGS)
def test_every_number_has_an_effect(kind):
    spec = spec_of(mapping=kind, hidden=3)
    numbers = random_numbers(spec).requires_grad_()
    z = Z.clone().requires_grad_()
    u = apply_mapping(spec, numbers, z, positions(spec))
    (u * torch.linspace(1, 2, M)).sum().backward()
    assert bool((numbers.grad != 0).all()) and bool((z.grad != 0).all())


@pytest.mark.parametrize("kind", MAPPINGS)
def test_gradients(kind):
    spec = spec_of(mapping=kind)
    places = positions(spec)
    inputs = (random_numbers(spec).requires_grad_(), Z.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda numbers, z: apply_mapping(spec, numbers, z, places), inputs)


@pytest.mark.parametrize("kind", MAPPINGS)
def test_the_start_follows_from_its_generator(kind):
    spec = spec_of(mapping=kind)
    one, two, other = (start_numbers(spec, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.dtype == torch.float32 and one.shape == (spec.mapping_numbers,) and torch.equal(one, two)
    assert torch.equal(one, other) == (kind != "mlp")


@pytest.mark.parametrize("kind", MAPPINGS)
def test_the_start_is_a_line_of_gain_root_three(kind):
    spec = spec_of(mapping=kind)
    found = mapped(spec, start_numbers(spec, torch.Generator().manual_seed(0)).double())
    torch.testing.assert_close(found, START_GAIN * Z, rtol=1e-6, atol=0.5 if kind == "mlp" else 0)
