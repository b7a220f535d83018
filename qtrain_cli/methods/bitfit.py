"""BitFit (arXiv 2106.10199): the biases alone, and the head, in as few bits as fit (`direct`)."""

from qtrain_cli.methods.direct import biases, direct

METHOD = direct(biases)
