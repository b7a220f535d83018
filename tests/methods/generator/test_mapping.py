"""Mappings against their formulas, written out; every number has an effect; the start has the right size."""

import math

import pytest
import torch
from artifacts import LAYOUT, idle_numbers, spec_of
from torch import nn

from qtrain_cli.errors import BadInput
from qtrain_cli.methods.generator import mapping
from qtrain_cli.methods.generator.mapping import START_GAIN, Positions, apply_mapping, start_numbers
from qtrain_cli.methods.generator.spec import MAPPINGS, MAX_BIT_ELEMENTS, GeneratorSpec, MappingSpec
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry

M = LAYOUT.generated
Z = torch.linspace(-0.9, 3, M, dtype=torch.float64)


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


@pytest.mark.parametrize("circuits", [1, 3])
def test_the_tensor_train_is_a_product_of_matrices(circuits):
    spec = spec_of(mapping="tensor-train", hidden=3, circuits=circuits)
    numbers, k = random_numbers(spec), spec.position_bits
    first, (gain, bias) = numbers[:6].view(2, 3), numbers[-6:].view(2, 3)
    matrices = numbers[6:-6].view(k - 1, 2, 3, 3)
    found = mapped(spec, numbers)
    for j in range(M):
        row, *bits = f"{j:0{k}b}"
        row = first[int(row)]
        for matrix, bit in zip(matrices, bits, strict=True):
            row = row @ matrix[int(bit)]
        assert found[j].item() == pytest.approx(float(row @ gain * Z[j] + row @ bias), rel=1e-12)


def paper_network(k):
    """The paper's mapping as its code writes it: linear layers of torch, one after the other."""
    sizes = ((k + 1, 4), (4, 20), (20, 4), (4, 1))
    return nn.Sequential(*(nn.Linear(before, after) for before, after in sizes)).double()


@pytest.mark.parametrize("circuits", [1, 3])
def test_quantum_train_is_the_papers_network(circuits):
    spec = spec_of(mapping="quantum-train", circuits=circuits)
    n, k = spec.circuit.qubits, spec.position_bits
    network, numbers = paper_network(k), random_numbers(spec)
    torch.nn.utils.vector_to_parameters(numbers, network.parameters())
    q = (0.8 * torch.tanh(0.1 * 2 ** (n - 1) * (Z + 1) / 2**n)) ** 0.3
    bits = torch.tensor([[2 * int(bit) - 1 for bit in f"{j:0{k}b}"] for j in range(M)]).double()
    y = network(torch.column_stack((bits, q - q.mean())))[:, 0]
    torch.testing.assert_close(mapped(spec, numbers), y - y.mean(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("qubits", range(1, 27))
def test_quantum_train_counts_what_the_papers_network_has(qubits):
    layout = LayoutSpec((TensorEntry("w", (2**qubits,), "F32", GENERATED),))
    kind = MappingSpec("quantum-train")
    circuit = CircuitSpec("efficient-su2", "cnot-ring", qubits, 1)
    if 2**qubits * qubits > MAX_BIT_ELEMENTS:
        with pytest.raises(BadInput, match="the mapping quantum-train is too large"):
            GeneratorSpec(circuit, kind, layout)
        return
    found = GeneratorSpec(circuit, kind, layout).mapping_numbers
    assert found == sum(p.numel() for p in paper_network(qubits).parameters()) == 4 * qubits + 197
    assert qubits != 13 or found == 249


def test_quantum_train_starts_as_linear_layers_of_torch_do():
    spec = spec_of(mapping="quantum-train")
    starts = torch.stack([start_numbers(spec, torch.Generator().manual_seed(seed)) for seed in range(300)])
    first = 0
    for layer in paper_network(spec.position_bits):
        size, edge = layer.weight.numel() + layer.bias.numel(), layer.in_features**-0.5
        part = starts[:, first : first + size]
        assert 0.98 * edge < part.abs().max() <= edge
        assert part.std().item() == pytest.approx(edge / 3**0.5, rel=0.05)
        first += size
    assert first == starts.shape[1]


def test_quantum_train_is_finite_where_a_probability_is_zero():
    spec = spec_of(mapping="quantum-train")
    z = torch.tensor([-1.0, -1 - 1e-7, *Z[2:].tolist()]).requires_grad_()
    numbers = random_numbers(spec).float()
    bits = Positions.of(spec, torch.device("cpu"), torch.float32)
    u = apply_mapping(spec, numbers, z, bits)
    u.square().sum().backward()
    assert bool(u.isfinite().all()) and bool(z.grad.isfinite().all()) and not z.grad[:2].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("m", "hidden"), [(5000, 3), (8193, 17), (70, 1000), (4097, 1)])
@pytest.mark.parametrize("kind", ["mlp", "tensor-train", "quantum-train"])
def test_blocks_have_the_bits_of_all_at_once(monkeypatch, kind, m, hidden, dtype):
    """A digest does not depend on how many weights are computed at a time."""
    spec = spec_of(LayoutSpec((TensorEntry("w", (m,), "F32", GENERATED, 9),)), mapping=kind, hidden=hidden)
    numbers = random_numbers(spec).to(dtype) / hidden
    z = torch.linspace(-0.9, 3, m, dtype=dtype)
    places = Positions.of(spec, torch.device("cpu"), dtype)
    whole = apply_mapping(spec, numbers.requires_grad_(), z, places).detach()
    for block in (2**10, 2**14):
        monkeypatch.setattr(mapping, "_BLOCK", block)
        with torch.no_grad():
            assert torch.equal(apply_mapping(spec, numbers, z, places), whole)


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
    (u * torch.linspace(1, 2, M).square()).sum().backward()
    idle = idle_numbers(spec)
    assert (numbers.grad == 0).nonzero().flatten().tolist() == idle and bool((z.grad != 0).all())
    assert bool(idle) == (kind == "quantum-train")


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
    assert torch.equal(one, other) == (kind in ("linear", "linear-per-tensor"))


@pytest.mark.parametrize("kind", [kind for kind, row in MAPPINGS.items() if row.scaled])
def test_the_start_is_a_line_of_gain_root_three(kind):
    spec = spec_of(mapping=kind)
    found = mapped(spec, start_numbers(spec, torch.Generator().manual_seed(0)).double())
    torch.testing.assert_close(
        found, START_GAIN * Z, rtol=1e-6, atol={"mlp": 0.5, "tensor-train": 4}.get(kind, 0)
    )
