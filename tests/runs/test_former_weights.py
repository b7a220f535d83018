"""Files of former formats: exact on a machine like the writer's, and within their tolerance on another."""

from dataclasses import replace
from pathlib import Path

import format_weights
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.artifact.numbers import Artifact, read_artifact
from qtrain_cli.errors import Refused
from qtrain_cli.runs.former_weights import MAX_TOLERANCE, probes_of_weights
from qtrain_cli.runs.regenerate import checked_weights, regenerate

GOLDEN = Path(__file__).resolve().parents[1] / "artifact" / "golden" / "qtrain-4.bin"


def former():
    return read_artifact(GOLDEN)


def other_sha(artifact, **changes):
    """As if another machine had written it: the weights' bits differ."""
    digest = replace(artifact.description.digest, sha256="0" * 16, **changes)
    return Artifact(replace(artifact.description, digest=digest), artifact.numbers)


def shifted(artifact, share):
    """The probes moved by a share of the weights' norm."""
    by = share * float(checked_weights(artifact)[0].norm())
    return tuple(probe + by for probe in artifact.description.digest.probes)


def test_the_same_bits_are_exact():
    found = regenerate(former())
    assert found.exact and found.tolerance == 1e-6


def test_other_bits_within_the_tolerance_are_accepted():
    artifact = former()
    found = regenerate(other_sha(artifact, probes=shifted(artifact, 0.9e-6)))
    assert not found.exact and found.tolerance == 1e-6
    assert found.digest.sha256 == artifact.description.digest.sha256


@pytest.mark.parametrize("share", [1.1e-6, -1.1e-6, 1e-3, 1e300])
def test_other_bits_beyond_the_tolerance_are_refused(share):
    artifact = former()
    with pytest.raises(Refused, match="do not match the artifact's digest"):
        regenerate(other_sha(artifact, probes=shifted(artifact, share)))


@pytest.mark.parametrize("place", range(4))
def test_every_probe_counts(place):
    artifact = former()
    probes = list(artifact.description.digest.probes)
    probes[place] += 1e-3
    with pytest.raises(Refused):
        regenerate(other_sha(artifact, probes=tuple(probes)))


def test_the_stored_tolerance_is_capped():
    artifact = former()
    found = regenerate(other_sha(artifact, probes=shifted(artifact, 0.9e-4), tolerance=1e6))
    assert not found.exact and found.tolerance == MAX_TOLERANCE == 1e-4
    with pytest.raises(Refused):
        regenerate(other_sha(artifact, probes=shifted(artifact, 1.1e-4), tolerance=1e6))


def test_a_smaller_stored_tolerance_holds():
    artifact = former()
    with pytest.raises(Refused):
        regenerate(other_sha(artifact, probes=shifted(artifact, 1e-7), tolerance=1e-8))


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=150))
@settings(max_examples=40, deadline=None)
def test_probes_are_signed_sums(values):
    found = probes_of_weights(torch.tensor(values, dtype=torch.float64))
    np.testing.assert_allclose(found, format_weights.probes(np.array(values)), rtol=6e-8, atol=1e-12)
    assert all(probe == np.float32(probe) for probe in found)


def test_probes_see_a_weight_that_moved():
    """A change of 1e-5 of the norm, in any direction, moves one of the probes by more than the tolerance."""
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(5000, dtype=torch.float64, generator=random)
    before = probes_of_weights(weights)
    for _ in range(20):
        change = torch.randn(5000, dtype=torch.float64, generator=random)
        moved = weights + 1e-5 * weights.norm() * change / change.norm()
        after = probes_of_weights(moved)
        assert max(abs(a - b) for a, b in zip(before, after, strict=True)) > 1e-6 * float(weights.norm())
