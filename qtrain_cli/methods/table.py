"""The methods that `qtrain compare` sets against each other: one row each, for help, tables and tuning.

What a row does is its file here, of the same name (ours: `generator`), found when it is asked for: so the
table itself needs the standard library only. A new method is one new file and one row.

`rates` and `widths` are what is tuned, by the validation rows of the first seed: each rate at the first
width, then each other width at the best rate. Rates are the peak of the one-cycle schedule, or multiples of
what compress itself takes for so many numbers (`relative_rates`); a width is the bits of a stored number that
a size is planned with (ours: `--angle-bits`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from qtrain_cli.results.comparison import BOTH, CHANGES, MODELS, OURS, Contender

if TYPE_CHECKING:
    from qtrain_cli.methods.method import Method

METHODS: dict[str, Contender] = {
    row.name: row
    for row in (
        Contender(
            OURS,
            "qtrain compress --bytes --bare",
            "angles and mapping",
            (1.0, 0.5, 2.0), (5, 4, 3), relative_rates=True,
        ),
        Contender(
            "pruning",
            "gradual magnitude pruning, fine-tuned, entropy-coded survivors",
            "the weights that survive",
            (0.005, 0.002, 0.015), (3, 2, 5),
        ),
        Contender(
            "quantisation",
            "8, 4, 3 or 2 bits for every weight, trained with the rounding in the loop",
            "all weights",
            (0.003, 0.001, 0.01), (0,),
        ),
        Contender(
            "low-rank",
            "SVD factors at a rank that fits, fine-tuned, quantised",
            "the factors",
            (0.01, 0.003, 0.03), (4, 3, 6), serves=MODELS,
        ),
        Contender(
            "hashing",
            "seeded hash to shared values (HashedNets), quantised",
            "the shared values",
            (0.05, 0.02, 0.1), (4, 3, 6),
        ),
        Contender(
            "subspace",
            "seeded random subspace (Li 2018, PRANC), quantised coefficients",
            "the coefficients",
            (0.05, 0.02, 0.1), (4, 3, 6),
        ),
        Contender(
            "narrow",
            "the same architecture scaled down in width, distilled, quantised",
            "all weights of the narrow network",
            (0.02, 0.01, 0.05), (4, 3, 6), serves=MODELS,
        ),
        Contender(
            "small-dense",
            "a dense network of one hidden layer, distilled, quantised",
            "all weights of the dense network",
            (0.02, 0.01, 0.05), (4, 3, 6), serves=MODELS,
        ),
        Contender(
            "classical-curve",
            "cos(A theta + beta), A seeded, in place of the circuit, with ours' count",
            "the angles and one gain",
            (1.0, 0.5, 2.0), (5, 4, 3), control=True, relative_rates=True,
        ),
        Contender(
            "fixed-random",
            "our mlp mapping over a fixed random vector in place of the circuit, with ours' count",
            "the mapping's numbers: an MLP of as many hidden units as ours has numbers for",
            (0.03, 0.01, 0.1), (5, 4, 3), control=True,
        ),
        Contender(
            "linear-probe",
            "the base frozen, a head on its features alone, in as few bits as fit",
            "the head",
            (0.01, 0.003, 0.03), (0,), serves=CHANGES,
        ),
        Contender(
            "bitfit",
            "every bias and the head, in as few bits as fit",
            "biases and head",
            (0.003, 0.001, 0.01), (0,), serves=CHANGES,
        ),
        Contender(
            "lora",
            "LoRA of rank 1 (B of the attention, A seeded) and the head, in as few bits as fit",
            "the factors and the head",
            (0.01, 0.003, 0.03), (0,), serves=CHANGES, target="lora:rank=1",
        ),
        Contender(
            "nola",
            "a seeded random subspace of LoRA's B of rank 4 and the head (NOLA), quantised",
            "the coefficients",
            (0.05, 0.02, 0.1), (4, 3, 6), serves=CHANGES, target="lora:rank=4",
        ),
        Contender(
            "vera",
            "VeRA: random factors of rank 64, and what scales their rows, in as few bits as fit",
            "the two vectors of each matrix, and the head",
            (0.01, 0.003, 0.03), (0,), serves=CHANGES, target="lora:rank=64",
        ),
        Contender(
            "lora-xs",
            "LoRA-XS: a matrix of 6 x 6 between each matrix's own directions, in as few bits as fit",
            "the small matrices and the head",
            (0.01, 0.003, 0.03), (0,), serves=CHANGES, target="lora-xs:rank=6",
        ),
        Contender(
            "bitdelta",
            "BitDelta: the signs of all differences to the fine-tune, a scale a tensor",
            "the differences, through their signs",
            (0.001, 0.0003, 0.003), (0,), serves=CHANGES, target="delta",
        ),
    )
}  # fmt: skip


def serving(changes: bool) -> tuple[str, ...]:
    """The methods for whole models, or for changes to a base."""
    return tuple(row.name for row in METHODS.values() if row.serves in (BOTH, CHANGES if changes else MODELS))


def contender(name: str, changes: bool) -> Contender:
    """A row of the table, for whole models or for changes to a base."""
    row = METHODS[name]
    return row.of_changes() if changes else row


def method_of(name: str) -> Method:
    """What a row of the table does; it needs torch."""
    file = "generator.method" if name == OURS else name.replace("-", "_")
    found: Method = importlib.import_module(f"qtrain_cli.methods.{file}").METHOD
    return found
