"""Weights that a file holds in parts, as training left them, for an architecture that has them whole.

    pruning                 w_orig, w_mask                            w = orig * mask
    weight norm             w_g, w_v                                  w = g v / |v|
                            parametrizations.w.original0, original1   the same
    spectral norm           w_orig, w_u, w_v                          w = orig / (u . orig v)
                            parametrizations.w.original, 0._u, 0._v   the same

An architecture that has a form's parts itself gets them as they are; those of the older weight norm go by the
names of the newer one. It is done on shapes first (the meta device) and on numbers later, by the same code.
Left out: other parametrisations, such as orthogonal ones, which only their own code multiplies out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_BELOW = "parametrizations."


@dataclass(frozen=True)
class InParts:
    """How a file has a tensor w in parts: their endings with ``{}`` for its name, and what makes it whole.

    `renamed` are endings by which an architecture may have the same parts.
    """

    said: str
    parts: tuple[str, ...]
    whole: Callable[..., Tensor]
    renamed: tuple[str, ...] = ()


def _masked(original: Tensor, mask: Tensor) -> Tensor:
    return original * mask.to(original.dtype)


def _normed(g: Tensor, v: Tensor) -> Tensor:
    """g has the size 1 in the dimensions that |v| is taken over, or is one number."""
    over = [place for place in range(v.dim()) if g.dim() != v.dim() or g.shape[place] == 1]
    return g * v / torch.linalg.vector_norm(v, dim=over, keepdim=True)


def _spectral(original: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """u has a number for each row of the matrix, which is taken along the first dimension of that size."""
    place = next((place for place, size in enumerate(original.shape) if size == u.numel()), 0)
    matrix = original.movedim(place, 0).flatten(1)
    return original / torch.dot(u, torch.mv(matrix, v))


_NEW_NORM = (_BELOW + "{}.original0", _BELOW + "{}.original1")
#: Those of more parts first: what is left of them would pass for another form.
_WAYS = (
    InParts("spectral norm", ("{}_orig", "{}_u", "{}_v"), _spectral),
    InParts("spectral norm", (_BELOW + "{}.original", _BELOW + "{}.0._u", _BELOW + "{}.0._v"), _spectral),
    InParts("pruning", ("{}_orig", "{}_mask"), _masked),
    InParts("weight norm", ("{}_g", "{}_v"), _normed, _NEW_NORM),
    InParts("weight norm", _NEW_NORM, _normed, ("{}_g", "{}_v")),
)


@dataclass(frozen=True)
class Folded:
    """The tensors with the parts made whole, and what was done, a sentence for each kind."""

    tensors: dict[str, Tensor]
    notes: tuple[str, ...]


def folded(tensors: Mapping[str, Tensor], expected: Collection[str]) -> Folded:
    """The file's tensors in the form that an architecture of these names has them."""
    found, notes = dict(tensors), list[str]()
    for form in _WAYS:
        groups = _groups(form.parts, found)
        if not groups or _groups(form.parts, expected):
            continue
        renamed = form.renamed if form.renamed and _groups(form.renamed, expected) else ()
        for prefix, name in groups:
            parts = [found.pop(prefix + part.format(name)) for part in form.parts]
            if renamed:
                found |= {prefix + new.format(name): part for new, part in zip(renamed, parts, strict=True)}
            else:
                found[prefix + name] = form.whole(*parts)
        if not renamed:
            notes.append(f"{form.said} of {len(groups)} tensors is multiplied out, as the model has none")
    return Folded(found, tuple(notes))


def in_parts(tensors: Collection[str]) -> bool:
    """Whether a file holds parametrised weights, of whatever kind."""
    return any(_BELOW in name for name in tensors)


def _groups(parts: tuple[str, ...], names: Collection[str]) -> list[tuple[str, str]]:
    """Prefix and name of each tensor that is there in all of these parts, and not whole."""
    before, after = parts[0].split("{}")
    groups = []
    for full in names:
        if not full.endswith(after):
            continue
        path, _, name = full.removesuffix(after).rpartition(".")
        prefix = f"{path}." if path else ""
        if not prefix.endswith(before):
            continue
        prefix = prefix.removesuffix(before)
        there = all(prefix + part.format(name) in names for part in parts)
        if there and prefix + name not in names:
            groups.append((prefix, name))
    return groups
