"""Students of the format `qtrain.student/1` (FORMAT-student-1.md), in the parts and words of this one.

What differs: all facts are the metadata, with check, probes and digests among them; the tensors are those of
the safetensors file itself, and there is no digest of them.
"""

from __future__ import annotations

import json
from typing import Any

from qtrain_cli.artifact.container import BLANK, Container, canonical
from qtrain_cli.artifact.formats import FORMER_STUDENT
from qtrain_cli.artifact.payload import STUDENT, Opened
from qtrain_cli.errors import BadInput
from qtrain_cli.methods.forms import Forms

_PLAN = ("student", "inputs", "outputs", "normalisation", "teacher", "lesson")


def opened(container: Container) -> Opened:
    """The parts of a file. Raises `BadInput`, and LookupError and the like for what is none."""
    value = json.loads(container.text)
    probes = tuple(map(float, value["probes"]))
    facts = {"method": STUDENT, "plan": {key: value[key] for key in _PLAN}}
    facts |= {"record": value["record"], "rules": value["rules"]}
    origin, check = (value["run"], *value["digests"]), value["check"]
    if len(check) != len(BLANK):
        raise BadInput("its check is none")

    def rewritten(found: Any) -> str:
        """The text that an honest writer of this format wrote for facts of the present one."""
        own = {"format": FORMER_STUDENT, "probes": list(probes), "check": check}
        own |= {"run": origin[0], "digests": list(origin[1:]), "rules": found["rules"]}
        return canonical({**own, **found["plan"], "record": found["record"]})

    def numbers(forms: Forms, rest: bytes) -> bytes:
        return _tensors(container, forms)

    return Opened("", facts, container.text, probes, origin, b"", rewritten, numbers)


def _tensors(container: Container, forms: Forms) -> bytes:
    """The bytes of all tensors in their order. Raises `BadInput` for others than the student's."""
    expected = {name: ("F32", form.shape) for name, form in forms.items()}
    rows = container.header.tensors
    found = {name: (row.dtype, row.shape) for name, row in rows.items()}
    if found != expected:
        names = sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))
        raise BadInput(f"its stored tensors {', '.join(names)} do not match its student")
    start = container.header.payload_start
    return b"".join(container.data[start + rows[name].first : start + rows[name].last] for name in forms)
