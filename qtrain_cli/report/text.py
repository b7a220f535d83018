"""Values as text for people, and as JSON for scripts.

Names come from files that strangers may have made: `plain` spells out what is not printable (escape
sequences, line breaks, reversed writing), and each form then escapes what it would take for markup.

A pipeline reads lines as commands: GitHub's ``::set-output`` after any blanks and ``##[add-mask]`` anywhere,
Azure's ``##vso[`` and TeamCity's ``##teamcity[``. `harmless` spells their marks out, in every line that is
printed and in every file of text; JSON and XML have their own spelling, which reads back the same, and keep
a text whole that people see the two ends of (`clipped`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

#: Labels and texts.
LabelledTexts = list[tuple[str, str]]
#: LabelledTexts under their titles.
Sections = dict[str, LabelledTexts]


#: Letters of one text that people are shown: a name in a stranger's file may have millions.
MOST_SEEN = 2000
#: A mark at a line's beginning, and one anywhere.
_FIRST, _ANYWHERE = re.compile(r"^([^\S\n]*):(?=:)", re.MULTILINE), re.compile(r"#(?=#\w*\[)")


def json_text(document: Mapping[str, Any]) -> str:
    """One JSON document: a record's `to_json`, an error's `as_json`, or both joined. No NaN passes."""
    return unmarked(json.dumps(document, indent=2, allow_nan=False), r"\u0023") + "\n"


def harmless(text: str) -> str:
    """`text` without a line that a pipeline would take for a command: its mark is spelled ``\\x3a``."""
    return _FIRST.sub(r"\1\\x3a", unmarked(text, r"\x23"))


def unmarked(text: str, number_sign: str) -> str:
    """`text` with `number_sign` for the first of the two that begin a command in the middle of a line."""
    return _ANYWHERE.sub(lambda found: number_sign, text)


def plain(text: str) -> str:
    """`text` with everything that is not printable spelled out, as in ``\\x1b``."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def clipped(text: str) -> str:
    """`text` for people's eyes: `plain`, and of more than `MOST_SEEN` letters the two ends."""
    half = MOST_SEEN // 2 - 3
    return plain(text if len(text) <= MOST_SEEN else f"{text[:half]} ... {text[-half:]}")


def times_text(ratio: float) -> str:
    """How many times smaller something is."""
    return f"{ratio:,.1f}" if ratio > 1 else f"{ratio:.2g} (it is not smaller)"


def loss_text(loss: float | None) -> str:
    """A loss, or that there is none."""
    return "not measured" if loss is None else f"{loss:.4g}"


def flat(values: Mapping[str, Any], indent: str = "") -> LabelledTexts:
    """Any mapping as rows: a nested one is indented."""
    rows: LabelledTexts = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += [(indent + name, ""), *flat(value, indent + "  ")]
        else:
            rows.append((indent + name, value_text(value)))
    return rows


def value_text(value: Any) -> str:
    """Any value for people."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(value_text(item) for item in value) or "-"
    return str(value)
