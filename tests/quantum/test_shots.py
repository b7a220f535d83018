"""Sampled frequencies: whole counts, no bias, the spread of a multinomial, and the seed's own."""

import torch

from qtrain_cli.quantum.shots import sampled

P = torch.tensor([[0.5, 0.25, 0.0, 0.25], [0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_frequencies_are_whole_counts_that_sum_to_the_shots():
    counts = sampled(P, 37, seeded()) * 37
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-12)
    assert counts.sum(-1).round().tolist() == [37, 37]


def test_what_has_no_probability_is_never_drawn():
    found = sampled(P, 5000, seeded())
    assert found[0, 2] == 0 and found[1].tolist() == [0, 0, 1, 0]


def test_mean_and_spread_are_those_of_a_multinomial():
    draws = torch.stack([sampled(P[:1], 50, seeded(k))[0] for k in range(2000)])  # (2000, 4)
    p = P[0]
    covariance = (torch.diag(p) - torch.outer(p, p)) / 50
    # Five standard errors of 2,000 draws; those of a variance are sqrt(2 / 2000) of it.
    error = (covariance.diagonal() / 2000).sqrt()
    assert bool(((draws.mean(0) - p).abs() <= 5 * error).all())
    torch.testing.assert_close(draws.T.cov(), covariance, rtol=0, atol=5 * (2 / 2000) ** 0.5 * 0.005)


def test_outcomes_of_many_qubits_have_the_spread_of_chi_squared():
    p = torch.rand(3, 64, dtype=torch.float64, generator=seeded(1))
    p /= p.sum(-1, keepdim=True)
    for number in (3, 100, 10_000):
        draws = torch.stack([sampled(p, number, seeded(k)) for k in range(200)])  # (200, 3, 64)
        chi = (number * (draws - p).square() / p).sum(-1)  # mean 63 in each of 600, whatever the shots
        assert abs(float(chi.mean()) - 63) < 5 * float(chi.std()) / 600**0.5


def test_the_seed_decides_and_the_precision_stays():
    one, same, other = (sampled(P.float(), 100, seeded(k)) for k in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert one.dtype == torch.float32


def test_a_thousand_million_shots_take_no_longer_and_are_near():
    found = sampled(P, 10**9, seeded())
    torch.testing.assert_close(found, P, rtol=0, atol=5 * (0.25 / 1e9) ** 0.5)
    assert (found[0] * 10**9).sum() == 10**9
