"""A file -> ordinary weights, by its method, and the digest that they must have.

    stored groups -> numbers -> method's portable decoder -> float64 -> tensors in their own dtypes

Each step is an IEEE operation in a fixed order (`portable`), so that the digest is exact on every machine,
with every version of what is below, and there is no tolerance. Files of former formats were hashed otherwise,
and are regenerated as they were (`former_weights`). Weights that no base is under stream (`streaming`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from qtrain_cli.artifact.description import DIGEST_DIGITS, Digest
from qtrain_cli.artifact.numbers import Artifact, StoredNumbers
from qtrain_cli.errors import BadInput, Refused, UsageError, few_quoted, is_out_of_memory
from qtrain_cli.methods.forms import Plan
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.plan import ANGLES, plan_of
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.methods.regenerated import weight_parts
from qtrain_cli.methods.table import OURS, method_of
from qtrain_cli.runs.former_weights import allowed_tolerance, former_generated, near
from qtrain_cli.runs.grounds import require_base
from qtrain_cli.runs.streaming import (
    Share,
    arrays,
    checked_tensors,
    not_matching,
    require_digest,
    stored_numbers,
    streams,
    undecodable,
    unseen,
)
from qtrain_cli.targets.entries import GENERATED, LayoutSpec
from qtrain_cli.targets.ground import Ground, whole_state
from qtrain_cli.targets.kept import is_given
from qtrain_cli.targets.layout import DTYPES, join, split, with_rows

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Regenerated:
    """A whole state dictionary, its digest, and how it agrees with the stored one: exactly, or of a former
    format within `tolerance`, which is the file's, capped."""

    state: dict[str, Tensor]
    digest: Digest
    exact: bool
    tolerance: float


def regenerate(
    artifact: Artifact,
    module: nn.Module | None = None,
    ground: Ground | None = None,
    share: Share = unseen,
) -> Regenerated:
    """All weights of the model.

    Args:
        artifact: a whole file.
        module: of the model's architecture, whose constants some files need (`with_given`).
        ground: what a file of changes needs (`grounds.ground_of_file`).
        share: called with the weights that are made so far, where they stream.

    Raises:
        UsageError: they are needed, and not there. BadInput: they are others.
        Refused: as `checked_weights`.
    """
    kept, stored = with_given(artifact, module).numbers.kept, artifact.description.digest
    made, digest = generated_checked(artifact, ground, share)
    state = whole_state(artifact.description.layout, kept, made, ground)
    return Regenerated(state, digest, digest.sha256 == stored.sha256, allowed_tolerance(stored))


def generated_checked(
    artifact: Artifact, ground: Ground | None = None, share: Share = unseen
) -> tuple[dict[str, Tensor], Digest]:
    """The generated tensors by name, as `whole_state` takes them, and their digest: what needs no module.

    Raises:
        UsageError, Refused: as `checked_weights`.
    """
    layout = artifact.description.layout
    if streams(artifact.description):
        made = {entry.name: tensor for entry, tensor in checked_tensors(artifact, share)}
        return made, artifact.description.digest
    weights, digest = checked_weights(artifact, ground)
    return _made(layout, weights, ground), digest


def checked_weights(artifact: Artifact, ground: Ground | None = None) -> tuple[Tensor, Digest]:
    """All generated weights (m,) in float64, and their digest.

    Raises:
        UsageError: the file changes a base, and there is none.
        Refused: they are not those of the file's digest, or not all finite.
    """
    layout, stored = artifact.description.layout, artifact.description.digest
    require_base(artifact.description, ground is not None)
    weights = join(layout, _decoded(artifact))
    _require_finite(layout, weights)
    digest = _digest(layout, weights, artifact.numbers.kept, ground)
    if digest.sha256 != stored.sha256 and not (stored.former and near(weights, stored)):
        raise not_matching(stored)
    return weights, digest


def check_weights(artifact: Artifact, ground: Ground | None = None) -> None:
    """Raises as `checked_weights`, and keeps nothing of them."""
    if streams(artifact.description):
        require_digest(artifact)
    else:
        checked_weights(artifact, ground)


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
    from where training began, in a file of changes (`moves`)."""
    row, stored = method_of(method), stored_numbers(method, plan, numbers)
    with np.errstate(all="ignore"):  # a stranger's numbers may overflow, which is found later
        weights = row.portable(layout, plan, arrays(stored))
        if moves:
            weights = weights - row.portable(layout, plan, arrays(row.origin(plan, stored)))
    return {
        entry.name: torch.from_numpy(part).view(entry.shape) for entry, part in weight_parts(layout, weights)
    }


def stored_angles(spec: GeneratorSpec, numbers: StoredNumbers) -> Tensor:
    """The angles in radians that the stored numbers stand for, float64 (b, L, n, r)."""
    return Generator(spec, dtype=torch.float64).whole(stored_numbers(OURS, plan_of(spec), numbers)[ANGLES])


def state_dict(
    layout: LayoutSpec, tensors: Tensors, kept: Tensors, ground: Ground | None = None
) -> dict[str, Tensor]:
    """The model's state dictionary: generated tensors, rounded to their own dtypes, and kept ones."""
    return _state(layout, join(layout, tensors), kept, ground)


def _state(layout: LayoutSpec, weights: Tensor, kept: Tensors, ground: Ground | None) -> dict[str, Tensor]:
    return whole_state(layout, kept, _made(layout, weights, ground), ground)


def _made(layout: LayoutSpec, weights: Tensor, ground: Ground | None) -> dict[str, Tensor]:
    return split(layout, weights) if ground is None else wide_tensors(layout, weights)


def wide_tensors(layout: LayoutSpec, weights: Tensor) -> dict[str, Tensor]:
    """The generated tensors in float64: what is added to a base is rounded once, with it."""
    entries = tuple(replace(entry, dtype="F64") for entry in layout.of_role(GENERATED))
    return split(LayoutSpec(entries), weights)


def digest_of(layout: LayoutSpec, tensors: Tensors, kept: Tensors, ground: Ground | None = None) -> Digest:
    """The digest of generated tensors by name, as `generated` gives them, with their kept rows."""
    return _digest(layout, join(layout, tensors), kept, ground)


def _digest(layout: LayoutSpec, weights: Tensor, kept: Tensors, ground: Ground | None) -> Digest:
    """Of a float64 weight vector (m,): over the tensors that the file gives, changed ones with their base."""
    hashed = hashlib.sha256()
    if ground is None:
        given = with_rows(layout, split(layout, weights), kept)
    else:
        given = ground.changed(layout, wide_tensors(layout, weights))
    for tensor in given.values():
        hashed.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return Digest(hashed.hexdigest()[:DIGEST_DIGITS])


def _decoded(artifact: Artifact) -> dict[str, Tensor]:
    """`generated` for a file of any origin. Raises `Refused` where its plan does not fit its layout."""
    description, numbers = artifact.description, artifact.numbers
    method, plan, layout = description.method, description.plan, description.layout
    try:
        if description.digest.former:
            return former_generated(method, plan, layout, stored_numbers(method, plan, numbers))
        return generated(method, plan, layout, numbers, description.change is not None)
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise undecodable(method, error) from None


def _require_finite(layout: LayoutSpec, weights: Tensor) -> None:
    for name, tensor in split(layout, weights).items():
        if not bool(tensor.isfinite().all()):
            raise Refused(f"the regenerated tensor '{name}' is not finite", "do not use this file")
