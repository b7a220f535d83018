"""Everything in a compressed model's file but its stored numbers: digests and facts. No torch.

A report needs nothing else. Every size is checked against method, plan and layout before anything is
allocated. What was read has to be what this version would write, character for character: so nothing that
the checks below do not know (a second key of the same name, ``true`` for 1) can hide in it.

A rival's plan is plain whole numbers, whose meaning its method knows; how many numbers follow from it is
checked where they are read (`numbers`), because the methods' own files need torch.
"""

from __future__ import annotations

import math
import re
import reprlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from qtrain_cli.artifact.container import RUN_DIGITS, Container, canonical, check_hexadecimal, read_container
from qtrain_cli.artifact.example import Example, NamedExamples, example_from
from qtrain_cli.artifact.extents import check_forms, check_size
from qtrain_cli.artifact.formats import FORMER_STUDENT, Foreign, format_of, refusals
from qtrain_cli.artifact.former import model_3, model_4
from qtrain_cli.artifact.payload import (
    DIGEST_BYTES,
    STUDENT,
    Opened,
    inflated,
    join_payload,
    most_inflated,
    opened,
)
from qtrain_cli.artifact.repeats import with_repeats, without_repeats
from qtrain_cli.artifact.rows import layout_from, rows_of
from qtrain_cli.errors import BadInput
from qtrain_cli.methods.forms import Plan
from qtrain_cli.methods.generator.plan import forms as generator_forms
from qtrain_cli.methods.generator.plan import plan_of, spec_of
from qtrain_cli.methods.generator.sizes import check_work
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.methods.table import METHODS, OURS
from qtrain_cli.quantum.circuit import MAX_OUTCOMES
from qtrain_cli.results import Design, Measured, Record
from qtrain_cli.targets.change import FACTORED, HEAD_WEIGHT, TARGETS, XS, Change, is_factor
from qtrain_cli.targets.entries import GENERATED, HALF, LayoutSpec, kept_in_words
from qtrain_cli.targets.size import model_bytes as model_bytes_of

#: What regeneration keeps to.
RULES = "wire0=msb portable float64"
#: In former formats: ours, and every other method.
FORMER_RULES, FORMER_RIVAL_RULES = "wire0=msb float64 half-even", "float32 half-even"
DIGEST_DIGITS = 2 * DIGEST_BYTES
#: Members of a rival's plan.
MAX_PLAN = 8
_WORD = re.compile("[a-z0-9_-]{1,32}")


@dataclass(frozen=True)
class Digest:
    """What the regenerated weights must be, exactly.

    `sha256` is the first 16 hexadecimal digits over the generated tensors' bytes in layout order. Files of
    former formats have `probes` too, signed sums of the weights as float32, which may be off on another
    machine by `tolerance` times the weights' norm. Raises `BadInput` for what is no digest.
    """

    sha256: str
    probes: tuple[float, ...] = ()
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_hexadecimal("digest", self.sha256, DIGEST_DIGITS)
        if not self.former and self.tolerance == 0:
            return
        if len(self.probes) != model_4.PROBES or not all(map(math.isfinite, self.probes)):
            needed = f"needed: {model_4.PROBES} numbers"
            raise BadInput(f"its digest has the probes {reprlib.repr(self.probes)}; {needed}")
        if not 0 < self.tolerance < math.inf:
            raise BadInput(f"its digest has the tolerance {self.tolerance}; allowed: above 0")

    @property
    def former(self) -> bool:
        """Whether it is of a format whose weights depended on the machine by a little."""
        return bool(self.probes)


@dataclass(frozen=True)
class Origin:
    """Where a file comes from: what was measured, and `run`, which identifies the run that wrote it."""

    measured: Measured
    run: str

    def __post_init__(self) -> None:
        check_hexadecimal("run", self.run, RUN_DIGITS)


@dataclass(frozen=True)
class Description:
    """All of a file except its stored numbers; a bare one has no origin, and a rival's is bare.

    `method` is a row of `methods.table`, `plan` what it is at this size; `change` says how its tensors change
    a base, None where they are a model. Raises `BadInput` for a rival's origin.
    """

    method: str
    plan: Plan
    layout: LayoutSpec
    digest: Digest
    example: Example | NamedExamples
    origin: Origin | None
    change: Change | None = None

    def __post_init__(self) -> None:
        if self.origin and self.method != OURS:
            raise BadInput(f"it has a record and the method '{self.method}'; only ours has one")

    @cached_property
    def spec(self) -> GeneratorSpec:
        """The generator. Raises `BadInput` for a rival, which has none."""
        if self.method != OURS:
            raise BadInput(
                f"this is a file of the rival '{self.method}', which has no circuits",
                "`qtrain verify`, `inspect` and `export --classical` take it",
            )
        return spec_of(self.layout, self.plan)


def describe(path: Path) -> Description:
    """Everything but the stored numbers, validated; no torch.

    Raises:
        BadInput: the file is missing, a well-formed safetensors file that is no artifact, a student, or of a
            format or method that another version reads.
        Refused: it is damaged or hostile.
    """
    return describe_container(read_container(path))


def describe_container(container: Container) -> Description:
    """`describe` for a file that was read before."""
    return taken_apart(container)[0]


def taken_apart(container: Container) -> tuple[Description, bytes, bytes]:
    """The description, the bytes of the kept tensors, of their right size, and those of the numbers."""
    found = format_of(container)
    with refusals(container):
        parts = _opened(container, found)
        description = _described(parts)
        kept, numbers = _stored_parts(description, parts)
        _check_forms_of(found, description.layout)
        if parts.rewritten(facts(description)) != parts.text:
            raise BadInput("its facts are not what an honest writer writes")
    return description, kept, numbers


def _check_forms_of(found: str, layout: LayoutSpec) -> None:
    """Raises `BadInput` for what a file of the former format cannot say of a tensor."""
    later = any(entry.row >= 0 or entry.stored not in ("", HALF) for entry in layout.entries)
    if later and found == str(model_3.FORMER_FORMAT):
        raise BadInput("its layout has rows of a later format")


def _opened(container: Container, found: str) -> Opened:
    """The parts of a file, whichever format it has. Raises `Foreign` for a student's."""
    if found == str(model_3.FORMER_FORMAT):
        return model_3.opened(container)
    if found != FORMER_STUDENT:
        former = found == str(model_4.FORMER_NUMBER)
        parts = model_4.opened(container) if former else opened(container, canonical)
        if parts.facts.get("method") != STUDENT:
            return parts
    raise Foreign(
        "is a student, which has no generated weights",
        "`qtrain report`, `verify`, `inspect` and `export` take it",
    )


def _described(parts: Opened) -> Description:
    """The description that the facts give."""
    value = parts.facts
    method = value.get("method", OURS)
    _check_known(value, method)
    digest = Digest(parts.digest, parts.probes, float(value["tolerance"]) if parts.probes else 0.0)
    rules = rules_of(method, digest)
    if value["rules"] != rules:
        raise BadInput(f"it has the rules {reprlib.repr(value['rules'])}; this version knows '{rules}'")
    layout = layout_from(without_repeats(value["layout"]))
    return Description(
        method=method,
        plan=_plan(method, layout, value["plan"]),
        layout=layout,
        digest=digest,
        example=example_from(value["input"]),
        origin=_origin(value, parts.origin),
        change=_change(value, layout, parts.base),
    )


def _check_known(value: Any, method: Any) -> None:
    """Raises `Foreign` for what later versions may write in this format: more methods, other targets."""
    target = value.get("target")
    if isinstance(target, list) and target and isinstance(target[0], str) and target[0] not in TARGETS:
        raise Foreign(f"has the target '{target[0]:.40}'; a newer qtrain reads it", "update qtrain")
    if not isinstance(method, str) or not _WORD.fullmatch(method):
        raise BadInput(f"its method is {reprlib.repr(method)}")
    if method not in METHODS:
        raise Foreign(f"has the method '{method}'; a newer qtrain reads it", "update qtrain")


def _change(value: Any, layout: LayoutSpec, base: str) -> Change | None:
    """How the file changes a base. Raises `BadInput` for tensors that no base has a place for."""
    if "target" not in value:
        return None
    change = Change.from_stored(value["target"], base)
    for entry in layout.of_role(GENERATED) if change.kind in FACTORED else ():
        ranks = entry.shape if change.kind == XS else entry.shape[1:]
        if is_factor(entry.name) and (len(entry.shape) != 2 or {*ranks} != {change.rank}):
            raise BadInput(f"the factor '{entry.name}' has the shape {list(entry.shape)}")
    heads = [entry for entry in layout.of_role(GENERATED) if entry.name == HEAD_WEIGHT]
    if change.head and [len(entry.shape) for entry in heads] != [2]:
        raise BadInput(f"it puts a head on its base, and has no matrix '{HEAD_WEIGHT}'")
    return change


def _origin(value: Any, digests: tuple[str, ...]) -> Origin | None:
    if not digests:
        return None
    run, data, model = digests
    return Origin(Measured.from_stored(value["record"], data, model), run)


def _plan(method: str, layout: LayoutSpec, given: Any) -> Plan:
    """The plan, in the one way that it is written. Raises `BadInput` for what nobody could run."""
    if method == OURS:
        spec = spec_of(layout, given)
        check_work(spec)
        return plan_of(spec)
    if not 1 <= layout.generated <= MAX_OUTCOMES:
        raise BadInput(f"it has {layout.generated} weights; allowed: 1 to {MAX_OUTCOMES}")
    whole = all(type(number) is int and 0 <= number < 2**63 for number in given.values())
    if not whole or not all(map(_WORD.fullmatch, given)) or len(given) > MAX_PLAN:
        raise BadInput(f"its plan is {reprlib.repr(given)}; allowed: up to {MAX_PLAN} named whole numbers")
    return dict(given)


def _stored_parts(description: Description, parts: Opened) -> tuple[bytes, bytes]:
    """Kept tensors and numbers, of the sizes that the facts ask for. Raises `BadInput`."""
    kept, numbers = kept_part(description.layout, parts.rest)
    if description.method == OURS:
        forms = generator_forms(description.layout, description.plan)
        numbers = parts.numbers(forms, numbers)
        check_forms(forms)
        check_size(forms, len(numbers))
    return kept, numbers


def kept_part(layout: LayoutSpec, rest: bytes) -> tuple[bytes, bytes]:
    """The bytes of the kept tensors, and what follows their stream. Raises `BadInput` for another size."""
    size = sum(entry.stored_bytes for entry in layout.stored)
    most = most_inflated(len(rest))
    if size > most:
        raise BadInput(f"its kept tensors take {size} bytes; {len(rest)} bytes may give {most}")
    patterns = sum(entry.pattern_bytes for entry in layout.stored)
    if patterns > most:
        raise BadInput(f"its patterns become {patterns} bytes; {len(rest)} bytes may give {most}")
    kept = b""
    if size:
        kept, rest = inflated(rest, size)
    if len(kept) != size:
        raise BadInput(f"its kept tensors take {len(kept)} bytes; needed: {size}")
    return kept, rest


def bytes_before_numbers(container: Container) -> int:
    """Bytes of a checked file that are no stored number: names, shapes, digests, record."""
    return len(container.data) - len(_opened(container, format_of(container)).rest)


def read_record(path: Path) -> Record:
    """The artifact's record, with the size and the hash of the very bytes that were read; no torch."""
    container = read_container(path)
    return record_of(describe_container(container), container)


def record_of(description: Description, container: Container) -> Record:
    """A record: what was measured, joined with what follows from the spec and the file. Raises `BadInput`."""
    design = design_of(description.spec, description.change)
    if description.origin is None:
        raise BadInput(
            f"'{container.path}' holds no record: it was written with --bare",
            "`qtrain inspect` says what it holds; `compress --bare --json` prints the record",
        )
    return Record(design, description.origin.measured, len(container.data), container.sha256)


def design_of(spec: GeneratorSpec, change: Change | None = None) -> Design:
    """What a spec builds, as the record names it; of changes, beside the whole fine-tune."""
    return Design(
        weights=spec.layout.generated,
        kept_weights=spec.layout.kept,
        qubits=spec.circuit.qubits,
        layers=spec.circuit.layers,
        circuits=spec.circuit.circuits,
        ansatz=spec.circuit.ansatz,
        mapping=spec.mapping.kind,
        angle_bits=spec.angles.bits,
        trained_numbers=spec.trained_numbers,
        model_bytes=change.base.bytes if change else model_bytes_of(spec.layout),
        kept_tensors=kept_in_words(spec.layout),
        target=change.in_words() if change else None,
        base=change.base.name if change else None,
        base_sha256=change.base.sha256 if change else None,
        finetune_bytes=change.base.bytes if change else None,
        lora_numbers=change.numbers or None if change else None,
        seeded_layers=spec.angles.seeded,
    )


def rules_of(method: str, digest: Digest) -> str:
    """What the regeneration of a method keeps to: bit order, precision, rounding."""
    if not digest.former:
        return RULES
    return FORMER_RULES if method == OURS else FORMER_RIVAL_RULES


def facts(description: Description) -> dict[str, Any]:
    """The facts, as plain data. Ours is the method that needs no name."""
    origin, method = description.origin, description.method
    record = {"record": origin.measured.to_stored()} if origin else {}
    change = description.change if origin or not description.change else description.change.bare
    target = {"target": change.stored()} if change else {}
    named = {} if method == OURS else {"method": method}
    former = {"tolerance": description.digest.tolerance} if description.digest.former else {}
    return {
        "rules": rules_of(method, description.digest),
        "input": description.example.stored(),
        "plan": description.plan,
        "layout": with_repeats(rows_of(description.layout)),
        **named,
        **former,
        **record,
        **target,
    }


def tensor_of(description: Description, kept: bytes, numbers: bytes) -> bytes:
    """The bytes of a file's tensor, its check blank."""
    digest, origin = description.digest, description.origin
    base = (description.change.base.sha256,) if description.change else ()
    own = (origin.run, origin.measured.data_sha256, origin.measured.model_sha256) if origin else ()
    digests = (*base, *own)
    return join_payload(digest.sha256, canonical(facts(description)), digest.probes, digests, kept, numbers)
