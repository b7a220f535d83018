"""Lines on stderr: the one way there, for logs, progress without a terminal, and failures.

What the layers below log of themselves (`logging`, under the package's name: code that is about to run)
comes out here too.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from qtrain_cli.report.text import harmless


def tell(text: str) -> None:
    """Prints on stderr, at once."""
    print(harmless(text), file=sys.stderr, flush=True)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell(self.format(record))


@contextmanager
def logged_lines(quiet: bool) -> Iterator[None]:
    """Shows what is logged at the level INFO or above as long as the block lasts; nothing when quiet."""
    logger, handler = logging.getLogger("qtrain_cli"), _Lines()
    before = logger.level
    logger.setLevel(logging.ERROR if quiet else logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
