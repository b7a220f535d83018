"""What every command takes: how it speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from qtrain_cli.settings.option import Option


@dataclass(frozen=True)
class CommonSettings:
    """One JSON document in place of tables; fewer or more lines on stderr.

    The first and the last are of one run, not of a folder.
    """

    json: Annotated[bool, Option("--json", "One JSON document on stdout.", kind="absent")] = False
    quiet: Annotated[bool, Option("--quiet", "Errors only on stderr.", short="-q")] = False
    verbose: Annotated[bool, Option("--verbose", "More on stderr.", short="-v", kind="absent")] = False
