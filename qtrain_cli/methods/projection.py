"""A seeded random matrix (m, k), entries of mean 0 and variance 1, times k numbers.

    written out     P itself, where memory holds it
    fast            P d = H (g * H(s * d)[p]) / sqrt(n)     (Fastfood: Le, Sarlos and Smola 2013)

H is the Hadamard matrix of n, the power of two from k on (`d` is filled up with zeros), s are n signs, p is a
permutation of n places, and g are numbers of variance 1 of each block of n rows: m log n steps, and nothing
that has m k numbers. All blocks share s and p. A plan has the member `block`, n, where its matrix is fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.errors import BadInput
from qtrain_cli.methods.forms import Plan
from qtrain_cli.methods.method import Scene
from qtrain_cli.methods.regenerated import seeded_product
from qtrain_cli.methods.seeded import MAX_MATRIX, MAX_SEEDED, order, seeded_floats, uniform
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.portable.sums import hadamard

#: Streams of a file's seed: the matrix, or g; s; p.
_MATRIX, _SIGNS, _ORDER = 1, 3, 4
#: Numbers of the blocks that are turned at a time.
_TURNED = 2**20


def projection_plan(scene: Scene, k: int) -> Plan:
    """Written out where memory holds it, else fast."""
    plan = {"k": k, "seed": scene.seed}
    written = scene.layout.generated * k <= _held(scene.device)
    return plan if written else plan | {"block": block_of(k)}


def block_of(k: int) -> int:
    """The power of two from k on."""
    return 1 << (k - 1).bit_length()


def check_projection(rows: int, plan: Plan) -> None:
    """Raises `BadInput` for a matrix that takes long to go through, which a small file can ask for, and for
    another block than that of so many numbers."""
    k = plan["k"]
    if "block" in plan:
        if plan["block"] != block_of(k):
            raise BadInput(
                f"its random matrix has blocks of {plan['block']}; needed: {block_of(k)}",
                "get the file anew from where it was written",
            )
    elif rows * k > MAX_SEEDED:
        raise BadInput(
            f"a random matrix of {rows} x {k} has more than {MAX_SEEDED:,} entries",
            "ask for fewer bytes, or for fewer tensors with --targets",
        )


def _held(device: torch.device) -> int:
    """Entries, float32, that training may hold: a quarter of a GPU's memory, 1 GB elsewhere."""
    if device.type != "cuda":
        return MAX_MATRIX
    quarter = torch.cuda.get_device_properties(device).total_memory // (4 * torch.float32.itemsize)
    return min(MAX_SEEDED, quarter)


def projected(plan: Plan, rows: int, device: torch.device, over: float = 1.0) -> Callable[[Tensor], Tensor]:
    """Numbers (k,) to the products (rows,) over a number, in float32; differentiable."""
    if "block" in plan:
        return _fast(plan, rows, device, over)
    matrix = uniform(plan["seed"], _MATRIX, rows, plan["k"]).div_(over).to(device)
    return lambda numbers: matrix @ numbers


def _fast(plan: Plan, rows: int, device: torch.device, over: float) -> Callable[[Tensor], Tensor]:
    seed, n = plan["seed"], plan["block"]
    own = uniform(seed, _MATRIX, -(-rows // n), n).div_(over * math.sqrt(n)).to(device)
    signs = uniform(seed, _SIGNS, n).sign().to(device)
    places = torch.from_numpy(order(seed, _ORDER, n)).to(device)
    low = 1 << (n.bit_length() - 1) // 2
    sides = [_matrix(n // low).to(device), _matrix(low).to(device)]

    def turned(values: Tensor) -> Tensor:
        """H of each row, (any, n): the product of two smaller ones, of the rows and columns of a square."""
        return (sides[0] @ (values.view(-1, n // low, low) @ sides[1])).view(-1, n)

    def products(numbers: Tensor) -> Tensor:
        filled = torch.cat([numbers, numbers.new_zeros(n - len(numbers))])
        mixed = turned((filled * signs)[None])[0, places]
        return turned(own * mixed).flatten()[:rows]

    return products


def _matrix(n: int) -> Tensor:
    """H itself, (n, n)."""
    return torch.from_numpy(hadamard(np.eye(n))).float()


def portable_products(plan: Plan, rows: int, numbers: Floats) -> Floats:
    """The same in float64, the same bits on every machine: (k,) -> (rows,)."""
    seed = plan["seed"]
    if "block" not in plan:
        return seeded_product(seed, _MATRIX, rows, numbers)
    n = plan["block"]
    filled = np.concatenate([numbers, np.zeros(n - len(numbers))])
    mixed = hadamard((filled * np.sign(seeded_floats(seed, _SIGNS, n)))[None])[0, order(seed, _ORDER, n)]
    found, step = np.empty(rows), max(n, _TURNED // n * n)
    for first in range(0, rows, step):
        count = min(step, -(-(rows - first) // n) * n)
        own = seeded_floats(seed, _MATRIX, count, first).reshape(-1, n)
        own *= mixed
        part = hadamard(own).reshape(-1)[: rows - first]
        found[first : first + len(part)] = part
    found /= math.sqrt(n)
    return found
