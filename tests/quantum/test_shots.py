"""Sampled frequencies: whole counts, no bias, the spread of a multinomial, and the seed's own."""

import torch

from qtrain_cli.quantum import shots
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


def test_the_seed_decides_and_the_precision_stays():
    one, same, other = (sampled(P.float(), 100, seeded(k)) for k in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert one.dtype == torch.float32


def test_many_shots_are_drawn_in_parts(monkeypatch):
    whole = sampled(P, 1000, seeded())
    monkeypatch.setattr(shots, "DRAWN_AT_ONCE", 10)
    torch.testing.assert_close(sampled(P[1:], 1000, seeded()), P[1:])
    parts = sampled(P[:1], 1000, seeded())
    assert parts.sum() == 1 and torch.equal(parts, whole[:1])
