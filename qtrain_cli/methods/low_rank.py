"""Low rank: each matrix (out, rest) as U V, started at the teacher's truncated SVD, fine-tuned, quantised.

    rank r[t] = max(1, share * o i / (o + i))           one share for all tensors; at 1 all are whole

What a factorisation would not shrink (vectors, thin matrices at a high share) is stored whole.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qtrain_cli.methods.forms import Form, Forms, Plan
from qtrain_cli.methods.method import Decode, Method, Numbers, Scene, away_from_centre, in_place
from qtrain_cli.methods.regenerated import Groups, centred
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.portable.sums import ordered_product
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry

_STEPS = 256


def largest(scene: Scene) -> int:
    """Shares come in 256 steps; at the last one every tensor is whole."""
    return _STEPS


def plan(scene: Scene, size: int) -> Plan:
    """A share of `size` / 256 of the rank at which nothing is saved."""
    return {"share": size}


def forms(layout: LayoutSpec, plan: Plan) -> Forms:
    found: Forms = {}
    for number, entry in enumerate(layout.of_role(GENERATED)):
        rank, (rows, columns) = _rank(entry, plan), _sides(entry)
        if rank:
            found |= {f"u{number}": Form((rows, rank)), f"v{number}": Form((rank, columns))}
        else:
            found[f"w{number}"] = Form(entry.shape)
    return found


def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    values = away_from_centre(scene.layout, scene.begun)
    for number, entry in enumerate(scene.layout.of_role(GENERATED)):
        rank, tensor = _rank(entry, plan), values[entry.name]
        if rank:
            u, s, v = torch.linalg.svd(tensor.view(_sides(entry)), full_matrices=False)
            root = s[:rank].sqrt()
            found |= {f"u{number}": u[:, :rank] * root, f"v{number}": root[:, None] * v[:rank]}
        else:
            found[f"w{number}"] = tensor
    return found


def decode(layout: LayoutSpec, plan: Plan, device: torch.device) -> Decode:
    entries = layout.of_role(GENERATED)

    def weights(numbers: Numbers) -> dict[str, Tensor]:
        values = {
            entry.name: numbers[f"u{number}"] @ numbers[f"v{number}"]
            if f"u{number}" in numbers
            else numbers[f"w{number}"]
            for number, entry in enumerate(entries)
        }
        return in_place(layout, values)

    return weights


def portable(layout: LayoutSpec, plan: Plan, numbers: Groups) -> Floats:
    values = {
        entry.name: ordered_product(numbers[f"u{number}"], numbers[f"v{number}"])
        if f"u{number}" in numbers
        else numbers[f"w{number}"]
        for number, entry in enumerate(layout.of_role(GENERATED))
    }
    return centred(layout, values)


def _sides(entry: TensorEntry) -> tuple[int, int]:
    rows = entry.shape[0] if entry.shape else 1
    return rows, entry.count // rows


def _rank(entry: TensorEntry, plan: Plan) -> int:
    """The rank of one tensor's factors; 0: whole."""
    rows, columns = _sides(entry)
    if plan["share"] >= _STEPS:
        return 0
    rank = max(1, plan["share"] * rows * columns // (_STEPS * (rows + columns)))
    return rank if rank * (rows + columns) < rows * columns else 0


METHOD = Method(
    largest=largest, plan=plan, forms=forms, start=start, decode=decode, portable=portable,
)  # fmt: skip
