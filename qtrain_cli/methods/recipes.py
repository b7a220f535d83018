"""What each method of the table does, but ours: one file a row."""

from __future__ import annotations

from qtrain_cli.methods import (
    curve,
    fixed_random,
    hashing,
    low_rank,
    narrow,
    pruning,
    quantisation,
    small_dense,
    subspace,
)  # fmt: skip
from qtrain_cli.methods.method import Recipe

RECIPES: dict[str, Recipe] = {
    row.RECIPE.name: row.RECIPE
    for row in (
        pruning,
        quantisation,
        low_rank,
        hashing,
        subspace,
        narrow,
        small_dense,
        curve,
        fixed_random,
    )
}
