"""LoRA (arXiv 2106.09685), A seeded: its factors and the head, in as few bits as fit (`direct`)."""

from qtrain_cli.methods.direct import direct, factors_of

METHOD = direct(factors_of)
