"""A JSON object out of a file of bounded size, as configurations beside a model are. Standard library
only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qtrain_cli.errors import BadInput, first_line
from qtrain_cli.files.reading import open_ordinary

#: Of a configuration, which may have a line a label.
MOST_CONFIG = 4 * 2**20
#: It stands in a folder with others.
COPY_AGAIN = "copy or download the folder again"


def read_object(path: Path, most: int = MOST_CONFIG) -> dict[str, Any]:
    """The object. Raises `BadInput` for a file that is no JSON object, or has more than `most` bytes."""
    with open_ordinary(path) as file:
        text = file.read(most + 1)
    if len(text) > most:
        raise BadInput(f"'{path.name}' has {path.stat().st_size:,} bytes; allowed: {most:,}", COPY_AGAIN)
    return object_in(path.name, text)


def object_in(name: str, text: bytes) -> dict[str, Any]:
    """The object of a file of this name that was read before. Raises `BadInput` for what is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"'{name}' is no JSON: {first_line(error)}", COPY_AGAIN) from None
    if not isinstance(document, dict):
        raise BadInput(f"'{name}' is no JSON object", COPY_AGAIN)
    return document
