"""Artifact -> ordinary weights, in float64 on one thread of the CPU, and the digest they must match.

The digest is exact on the machine that wrote the artifact, whatever its number of threads. Another
machine's arithmetic may round differently: there the signed sums of the float64 weights ("probes") have to
agree within a tolerance that is far below what any float32 model can feel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.artifact.description import DIGEST_DIGITS, Digest
from qtrain_cli.artifact.numbers import Artifact, Numbers
from qtrain_cli.artifact.payload import PROBES, single_precision
from qtrain_cli.errors import Refused
from qtrain_cli.methods.generator.angles import decode, start_angles
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.targets.entries import LayoutSpec
from qtrain_cli.targets.layout import complete, split

TOLERANCE = 1e-6
MAX_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Regenerated:
    """A whole state dictionary, its digest, and how it agrees with the stored one: exactly, or within
    `tolerance`, which is the artifact's, capped."""

    state: dict[str, Tensor]
    digest: Digest
    exact: bool
    tolerance: float


def regenerate(artifact: Artifact) -> Regenerated:
    """All weights of the model.

    Raises:
        Refused: they are neither those of the digest nor within its tolerance, or not all finite.
    """
    spec, stored = artifact.description.spec, artifact.description.digest
    weights = generated_weights(spec, artifact.numbers)
    _require_finite(spec.layout, weights)
    digest = digest_of(spec.layout, weights)
    exact = digest.sha256 == stored.sha256
    tolerance = min(stored.tolerance, MAX_TOLERANCE)
    if not exact and not _agree(digest, stored, tolerance * float(weights.norm())):
        raise Refused(
            f"the regenerated weights do not match the artifact's digest {stored.sha256}",
            "the file was changed, or was written by another version",
        )
    return Regenerated(state_dict(spec, weights, artifact.numbers), digest, exact, tolerance)


def generated_weights(spec: GeneratorSpec, numbers: Numbers) -> Tensor:
    """The float64 vector (m,) of generated weights, computed on one thread for the sake of its bits."""
    with _one_thread(), torch.no_grad():
        generator = Generator(spec, dtype=torch.float64)
        return generator.weights(stored_angles(spec, numbers), numbers.mapping.double())


def stored_angles(spec: GeneratorSpec, numbers: Numbers) -> Tensor:
    """The angles in radians that the stored numbers stand for, float64 (b, L, n, r)."""
    if numbers.step is None:
        return numbers.angles.double()
    return decode(numbers.angles, numbers.step, start_angles(spec.circuit, spec.angles.start_seed))


def state_dict(spec: GeneratorSpec, weights: Tensor, numbers: Numbers) -> dict[str, Tensor]:
    """The model's state dictionary: generated weights (m,) and kept tensors under their names."""
    return complete(spec.layout, split(spec.layout, weights), numbers.kept)


def digest_of(layout: LayoutSpec, weights: Tensor) -> Digest:
    """The digest of a float64 weight vector: (m,) -> `Digest`."""
    hashed = hashlib.sha256()
    for tensor in split(layout, weights).values():
        hashed.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    probes = tuple(single_precision(probe) for probe in _probe(weights))
    return Digest(hashed.hexdigest()[:DIGEST_DIGITS], probes, TOLERANCE)


def _require_finite(layout: LayoutSpec, weights: Tensor) -> None:
    for name, tensor in split(layout, weights).items():
        if not bool(tensor.isfinite().all()):
            raise Refused(f"the regenerated tensor '{name}' is not finite", "do not use this file")


def _agree(digest: Digest, stored: Digest, allowed: float) -> bool:
    pairs = zip(digest.probes, stored.probes, strict=True)
    return all(abs(one - other) <= allowed for one, other in pairs)


def _probe(weights: Tensor) -> Iterator[float]:
    """Sums of the weights under fixed random signs (the bits of Philox streams 1..4)."""
    values = weights.numpy()
    for key in range(1, PROBES + 1):
        words = np.random.Philox(key=key).random_raw(-(-values.size // 64))
        bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")[: values.size]
        yield float((values * (2.0 * bits - 1)).sum())


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
