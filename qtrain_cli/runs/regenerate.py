"""A file -> ordinary weights, by its method, on one thread of the CPU, and the digest they must match.

    stored groups -> numbers -> method's decoder -> tensors in float64 -> tensors in their own dtypes

The digest is exact on the machine that wrote the file, whatever its number of threads. Another machine's
arithmetic may round differently: there the signed sums of the weights before their last rounding ("probes")
have to agree within a tolerance that is far below what any float32 model can feel. Ours decodes in float64;
a rival decodes in float32, as it was trained, and is allowed ten times as much.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from qtrain_cli.artifact.description import DIGEST_DIGITS, Description, Digest
from qtrain_cli.artifact.numbers import Artifact, Coded, StoredNumbers
from qtrain_cli.artifact.payload import PROBES, single_precision
from qtrain_cli.errors import BadInput, Refused, UsageError, few_quoted
from qtrain_cli.methods.forms import Plan
from qtrain_cli.methods.generator.plan import ANGLES, plan_of
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.methods.moved import decoder
from qtrain_cli.methods.table import OURS, method_of
from qtrain_cli.runs.grounds import require_base
from qtrain_cli.targets.entries import GENERATED, LayoutSpec
from qtrain_cli.targets.ground import Ground
from qtrain_cli.targets.kept import is_given
from qtrain_cli.targets.layout import DTYPES, complete, join, split, with_rows

TOLERANCE, RIVAL_TOLERANCE = 1e-6, 1e-5
MAX_TOLERANCE = 1e-4

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Regenerated:
    """A whole state dictionary, its digest, and how it agrees with the stored one: exactly, or within
    `tolerance`, which is the file's, capped."""

    state: dict[str, Tensor]
    digest: Digest
    exact: bool
    tolerance: float


def regenerate(
    artifact: Artifact, module: nn.Module | None = None, ground: Ground | None = None
) -> Regenerated:
    """All weights of the model.

    Args:
        artifact: a whole file.
        module: of the model's architecture, whose constants some files need (`with_given`).
        ground: what a file of changes needs (`grounds.ground_of_file`).

    Raises:
        UsageError: they are needed, and not there. BadInput: they are others.
        Refused: as `checked_weights`.
    """
    layout, kept = artifact.description.layout, with_given(artifact, module).numbers.kept
    weights, digest, tolerance = checked_weights(artifact, ground)
    exact = digest.sha256 == artifact.description.digest.sha256
    return Regenerated(_state(layout, weights, kept, ground), digest, exact, tolerance)


def checked_weights(artifact: Artifact, ground: Ground | None = None) -> tuple[Tensor, Digest, float]:
    """All generated weights (m,) in float64, their digest, and within what it had to agree.

    Raises:
        UsageError: the file changes a base, and there is none.
        Refused: they are neither those of the digest nor within its tolerance, or not all finite.
    """
    description, stored = artifact.description, artifact.description.digest
    layout, method = description.layout, description.method
    require_base(description, ground is not None)
    weights = join(layout, _decoded(description, artifact.numbers))
    _require_finite(layout, weights)
    digest = _digest(layout, weights, artifact.numbers.kept, method, ground)
    tolerance = min(stored.tolerance, MAX_TOLERANCE)
    exact = digest.sha256 == stored.sha256
    if not exact and not _agree(digest, stored, tolerance * float(weights.norm())):
        raise Refused(
            f"the regenerated weights do not match the artifact's digest {stored.sha256}",
            "the file was changed, or was written by another version",
        )
    return weights, digest, tolerance


def with_given(artifact: Artifact, module: nn.Module | None) -> Artifact:
    """The same with the tensors that a module of the model's architecture gives among the kept ones.

    Raises:
        UsageError: the file needs such a module, and there is none.
        BadInput: the module has other tensors of those names.
    """
    numbers = artifact.numbers
    missing = {name: known for name, known in numbers.given.items() if name not in numbers.kept}
    if not missing:
        return artifact
    if module is None:
        named = few_quoted(missing)
        raise UsageError(
            f"the file leaves out what the model's architecture gives: {named}",
            "name it with --arch (from Python: load(path, module))",
        )
    fresh = module.state_dict()
    own = {name: fresh[name].detach().cpu() for name in missing if name in fresh}
    shapes = {entry.name: (DTYPES[entry.dtype], entry.shape) for entry in artifact.description.layout.stored}
    for name, known in missing.items():
        found = own.get(name)
        if found is None or (found.dtype, tuple(found.shape)) != shapes[name] or not is_given(known, found):
            raise BadInput(
                f"the architecture's tensor '{name}' is not the one of the compressed model",
                "give the same --arch and --arch-args as when it was compressed",
            )
    return replace(artifact, numbers=replace(numbers, kept=numbers.kept | own))


def generated(
    method: str, plan: Plan, layout: LayoutSpec, numbers: StoredNumbers, moves: bool = False
) -> dict[str, Tensor]:
    """The generated tensors by name in float64, before they are rounded to their own dtypes; their movement
    from where training began, in a file of changes (`moves`).

    Computed on one thread for the sake of its bits.
    """
    found = method_of(method)
    entries = layout.of_role(GENERATED)
    wide = LayoutSpec(tuple(replace(entry, dtype="F64", stored="", row=-1) for entry in entries))
    with _one_thread(), torch.no_grad():
        make = found.exact or found.decode
        decode = decoder(found, make, wide, plan, torch.device("cpu"), moves)
        return decode(stored_numbers(method, plan, numbers))


def stored_numbers(method: str, plan: Plan, numbers: StoredNumbers) -> dict[str, Tensor]:
    """What the stored groups stand for, by name: ours in float64, a rival's in float32."""
    found, values = method_of(method), dict[str, Tensor]()
    for name, group in numbers.groups.items():
        if isinstance(group, Coded):
            values[name] = found.grid.decoded(plan, name, group.codes, group.step)
        else:
            values[name] = group.double() if found.exact else group
    return values


def stored_angles(spec: GeneratorSpec, numbers: StoredNumbers) -> Tensor:
    """The angles in radians that the stored numbers stand for, float64 (b, L, n, r)."""
    return stored_numbers(OURS, plan_of(spec), numbers)[ANGLES]


def state_dict(
    layout: LayoutSpec, tensors: Tensors, kept: Tensors, ground: Ground | None = None
) -> dict[str, Tensor]:
    """The model's state dictionary: generated tensors, rounded to their own dtypes, and kept ones."""
    return _state(layout, join(layout, tensors), kept, ground)


def _state(layout: LayoutSpec, weights: Tensor, kept: Tensors, ground: Ground | None) -> dict[str, Tensor]:
    if ground is None:
        return complete(layout, split(layout, weights), kept)
    return ground.state(layout, kept, wide_tensors(layout, weights))


def wide_tensors(layout: LayoutSpec, weights: Tensor) -> dict[str, Tensor]:
    """The generated tensors in float64: what is added to a base is rounded once, with it."""
    entries = tuple(replace(entry, dtype="F64") for entry in layout.of_role(GENERATED))
    return split(LayoutSpec(entries), weights)


def digest_of(
    layout: LayoutSpec, tensors: Tensors, kept: Tensors, method: str = OURS, ground: Ground | None = None
) -> Digest:
    """The digest of generated tensors by name, as `generated` gives them, with their kept rows."""
    return _digest(layout, join(layout, tensors), kept, method, ground)


def _digest(layout: LayoutSpec, weights: Tensor, kept: Tensors, method: str, ground: Ground | None) -> Digest:
    """Of a float64 weight vector (m,): over the tensors that the file gives, changed ones with their base."""
    hashed = hashlib.sha256()
    if ground is None:
        given = with_rows(layout, split(layout, weights), kept)
    else:
        given = ground.changed(layout, wide_tensors(layout, weights))
    for tensor in given.values():
        hashed.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    probes = tuple(single_precision(probe) for probe in _probe(weights))
    return Digest(hashed.hexdigest()[:DIGEST_DIGITS], probes, tolerance_of(method))


def tolerance_of(method: str) -> float:
    """What another machine's arithmetic is allowed, relative to the norm of all weights."""
    return TOLERANCE if method == OURS else RIVAL_TOLERANCE


def _decoded(description: Description, numbers: StoredNumbers) -> dict[str, Tensor]:
    """`generated` for a file of any origin. Raises `Refused` where its plan does not fit its layout."""
    method, moves = description.method, description.change is not None
    try:
        return generated(method, description.plan, description.layout, numbers, moves)
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        shown = str(error).partition("\n")[0]
        raise Refused(
            f"the numbers of the method '{method}' cannot be decoded ({type(error).__name__}: {shown})",
            "do not use this file",
        ) from None


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
