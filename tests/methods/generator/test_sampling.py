"""Counts to z: without bias, with the variance that the docstring states, in the order of the outcomes."""

import numpy as np
import pytest
import torch

from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.plan import MAPPING
from qtrain_cli.methods.generator.sampling import frequencies, shot_variance, standardised

from artifacts import numbers_of, spec_of  # isort: skip

P = torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.0, 0.1, 0.2, 0.7]], dtype=torch.float64)


def draws(shots, count, seed=0):
    """(count, *P.shape)"""
    return standardised(frequencies(P.repeat(count, 1), shots, np.random.default_rng(seed))).view(
        count, *P.shape
    )


def test_z_of_exact_probabilities():
    assert standardised(P)[0].tolist() == [1.0, 0.0, -0.5, -0.5]
    assert standardised(P.float()).dtype == torch.float64


def test_frequencies_are_shares_of_whole_counts_of_each_circuit():
    f = frequencies(P, 10, np.random.default_rng(0))
    assert torch.equal((10 * f).round(), 10 * f) or (10 * f - (10 * f).round()).abs().max() < 1e-12
    assert f.sum(1).tolist() == pytest.approx([1, 1])
    assert f[1, 0] == 0, "an outcome of probability 0 is never seen"
    assert not torch.equal(f[0], f[1])


def test_one_shot_is_one_outcome_and_very_many_are_the_probabilities():
    one = frequencies(P, 1, np.random.default_rng(0))
    assert sorted(one[0].tolist()) == [0, 0, 0, 1]
    many = frequencies(P, 10**15, np.random.default_rng(0))
    torch.testing.assert_close(many, P, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shots", [1, 7, 100])
def test_z_has_no_bias_and_the_stated_variance(shots):
    z = draws(shots, 20_000)
    expected = shot_variance(P, shots)
    error = (expected / 20_000).sqrt()
    assert ((z.mean(0) - standardised(P)).abs() <= 5 * error + 1e-12).all()
    torch.testing.assert_close(z.var(0), expected, rtol=0.06, atol=1e-9)
    # What shots add to the spread of z, which is why its square is no estimate of the exact one's.
    torch.testing.assert_close(z.square().mean(0), standardised(P).square() + expected, rtol=0.06, atol=1e-9)


def test_exact_probabilities_have_no_variance():
    assert not shot_variance(P, None).any()


def test_probabilities_that_rounding_left_a_little_off_are_taken():
    p = torch.tensor([[0.6000001, 0.4000001, -1e-9, 0.0]])
    assert frequencies(p, 100, np.random.default_rng(0)).sum() == pytest.approx(1)


@pytest.mark.parametrize("mapping", ["linear", "linear-per-tensor", "mlp"])
def test_the_bias_of_weights_is_that_of_the_mappings_curvature(mapping):
    """None of a linear mapping; of the mlp, u''(z) var(z) / 2 to the first order in 1 / shots."""
    spec = spec_of(mapping=mapping)
    mapping_numbers, shots = numbers_of(spec, seed=1).groups[MAPPING].double(), 400
    generator = Generator(spec, dtype=torch.float64)
    p = torch.rand(1, 2**spec.circuit.qubits, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    p, used = p / p.sum(), spec.layout.generated

    def weights(z):
        return generator.weights_of(z.flatten()[:used], mapping_numbers)

    many = frequencies(p.repeat(20_000, 1), shots, np.random.default_rng(2))
    drawn = torch.vmap(weights)(standardised(many))
    z, h = standardised(p), 1e-3
    curvature = (weights(z + h) - 2 * weights(z) + weights(z - h)) / h**2
    expected = curvature * shot_variance(p, shots).flatten()[:used] / 2
    bias, error = drawn.mean(0) - weights(z), drawn.std(0) / 20_000**0.5
    if mapping == "mlp":
        assert (bias.abs() > 5 * error).any(), "there is a bias to explain"
        assert ((bias - expected).abs() < 5 * error + 0.2 * expected.abs()).all()
    else:
        assert expected.abs().max() < 1e-8 and (bias.abs() < 5 * error).all()
