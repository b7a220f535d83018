"""The head of a model card: plain data as YAML between two lines of ``---``.

Texts are written as JSON writes them, which YAML reads the same; so no word of a stranger's file is markup,
a number or a date. Mappings, lists, texts, numbers and truth values; nothing else goes into a card.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qtrain_cli.report.text import clipped


def front_matter(values: Mapping[str, Any]) -> str:
    """The whole block. Values that are None, empty texts or empty lists are left out."""
    return "\n".join(["---", *_lines(values, ""), "---", ""])


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if inner is None or inner == "" or inner == []:
                continue
            if isinstance(inner, (Mapping, list)):
                yield f"{indent}{name}:"
                yield from _lines(inner, indent + "  ")
            else:
                yield f"{indent}{name}: {_scalar(inner)}"
    else:
        for inner in value:
            yield from _item(inner, indent)


def _item(value: Any, indent: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{indent}- {_scalar(value)}"
        return
    first, *rest = _lines(value, indent + "  ")
    yield f"{indent}- {first.strip()}"
    yield from rest


def _scalar(value: str | int | float | bool | Sequence[Any]) -> str:
    if not isinstance(value, str):
        text = json.dumps(value, allow_nan=False)
        return text if "." in text else text.replace("e", ".0e") if isinstance(value, float) else text
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return value if plain else json.dumps(clipped(value), ensure_ascii=False)


#: Texts that need no quotes.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_/-]*")
#: What YAML takes for something else than a text.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
