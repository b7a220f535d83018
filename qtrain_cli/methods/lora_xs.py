"""LoRA-XS (Balazy et al. 2024, arXiv 2405.17604): R of every matrix and the head, in as few bits as fit."""

from qtrain_cli.methods.direct import direct, factors_of

METHOD = direct(factors_of)
