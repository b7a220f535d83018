"""NOLA (Koohpayegani et al. 2023, arXiv 2310.02556): LoRA's factors in a seeded random subspace (`subspace`).

NOLA mixes random matrices for A too; here A is seeded and fixed for every method.
"""

from qtrain_cli.methods.subspace import METHOD as METHOD
