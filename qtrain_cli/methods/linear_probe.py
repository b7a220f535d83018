"""The linear probe: the base frozen, its head alone trained and stored, in as few bits as fit (`direct`)."""

from qtrain_cli.methods.direct import direct

METHOD = direct(lambda scene: [])
