"""One artifact on a page: what came out, what it costs, how it was trained, what it is made of."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Protocol

from qtrain_cli.artifact.records import BareFile
from qtrain_cli.report.page.axes import brief, ticks_of
from qtrain_cli.report.page.comparison import comparison_section
from qtrain_cli.report.page.curves import epochs_drawn
from qtrain_cli.report.page.examined import examined_sections
from qtrain_cli.report.page.parts import (
    BAD,
    GOOD,
    PLAIN_TONE,
    Block,
    CommandLines,
    Facts,
    Page,
    Section,
    TableCell,
    TableOf,
    Tile,
    cell_of,
)
from qtrain_cli.report.page.strips import Strip, bars_drawn, intervals_drawn
from qtrain_cli.report.page.wires import circuit_drawn
from qtrain_cli.report.records import Shown, sections_of, summary_of
from qtrain_cli.report.text import times_text
from qtrain_cli.results import GateResult, Record, StudentRecord
from qtrain_cli.results.dossier import Dossier, TensorFacts

#: Of a gate: what it says, nothing to sort by, how it is meant.
_VERDICTS = {True: ("passed", None, GOOD), False: ("FAILED", None, BAD)}
#: Sections of the terminal's table that have another title on the page.
_FACTS = {"Circuit": "The generator", "Student": "The student"}


class Reported(Protocol):
    """A record, what came of each gate, and what is known beside it."""

    @property
    def record(self) -> Shown: ...

    @property
    def gates(self) -> tuple[GateResult, ...]: ...

    @property
    def dossier(self) -> Dossier | None: ...


def artifact_page(outcome: Reported) -> Page:
    """The page of `report --html`."""
    record, dossier = outcome.record, outcome.dossier or Dossier("the artifact")
    scores = None if isinstance(record, BareFile) else record.scores
    found = (
        _result(record, dossier),
        _gates(outcome.gates),
        *examined_sections(dossier, scores),
        _training(record, dossier),
        _neighbours(dossier),
        _circuit(record, dossier),
        _tensors(dossier),
        _provenance(record, dossier),
    )
    return Page(
        title=f"{dossier.artifact}: qtrain report",
        kicker=f"qtrain report of {dossier.artifact}",
        headline=_headline(record),
        lead=_lead(record),
        tiles=tuple(_tiles(record, outcome.gates)),
        sections=tuple(section for section in found if section),
        missing=tuple(_missing(record, dossier)),
        warning=_warning(record),
        footer=(f"{dossier.artifact}, SHA-256 {record.artifact_sha256}",),
    )


def _headline(record: Shown) -> str:
    """The result in one line."""
    if isinstance(record, BareFile):
        return summary_of(record)
    scores = record.scores
    figure = f"{scores.show(scores.test)} test {scores.row.word}"
    if isinstance(record, StudentRecord):
        return f"A {record.design.kind} student of {record.design.parameters:,} numbers: {figure}"
    return f"{record.measured.model} in {record.artifact_bytes:,} bytes: {figure}"


def _lead(record: Shown) -> str:
    """The result in a sentence, with what it is held against."""
    if isinstance(record, BareFile):
        return (
            f"It generates {record.design.weights:,} weights from {record.design.trained_numbers:,} trained"
            " numbers. A bare file has no record of what was measured."
        )
    scores = record.scores
    low, high = scores.interval
    interval = scores.row.show_interval(low, high)
    said = f"On {scores.count:,} test rows that training never saw (95 % interval {interval})"
    if scores.teacher is None:
        return f"{said}. There is no teacher's figure to hold it against."
    inside = "inside" if low <= scores.teacher <= high else "outside"
    size = "" if isinstance(record, StudentRecord) else f", {_smaller(record)}"
    return f"{said}{size}. The teacher has {scores.show(scores.teacher)}, {inside} that interval."


def _smaller(record: Record) -> str:
    whole = "fine-tune" if record.design.base else "tensors"
    return f"{times_text(record.bytes_ratio)} times smaller than the same {whole} in float32"


def _warning(record: Shown) -> str:
    if isinstance(record, BareFile) or not record.scores.is_trivial:
        return ""
    return f"the test figure is no better than {record.scores.row.trivial_said}."


def _tiles(record: Shown, gates: Sequence[GateResult]) -> list[Tile]:
    tiles = [] if isinstance(record, BareFile) else _figures(record)
    ratio = record.bytes_ratio
    tiles.append(
        Tile(
            "File",
            f"{record.artifact_bytes:,} B",
            "" if ratio is None else f"{times_text(ratio)} times smaller",
        )
    )
    if isinstance(record, StudentRecord):
        tiles.append(Tile("Trained numbers", f"{record.design.parameters:,}"))
    else:
        design = record.design
        tiles.append(
            Tile("Trained numbers", f"{design.trained_numbers:,}", f"for {design.weights:,} weights")
        )
    if gates:
        failed = sum(not gate.passed for gate in gates)
        value = f"{failed} of {len(gates)} failed" if failed else f"all {len(gates)} passed"
        tiles.append(Tile("Gates", value, tone=BAD if failed else GOOD))
    return tiles


def _figures(record: Record | StudentRecord) -> list[Tile]:
    scores = record.scores
    low, high = scores.interval
    figure = Tile(f"Test {scores.row.word}", scores.show(scores.test), scores.row.show_interval(low, high))
    if scores.drop is None or scores.teacher is None:
        return [figure]
    word = "below" if scores.drop > 0 else "above"
    drop = f"{scores.show_change(abs(scores.drop))} {word}" if scores.drop else "level with"
    tone = PLAIN_TONE if low <= scores.teacher <= high or scores.drop > 0 else GOOD
    return [figure, Tile("Beside the teacher", drop, f"the teacher: {scores.show(scores.teacher)}", tone)]


def _result(record: Shown, dossier: Dossier) -> Section:
    """The figure with its interval, the sizes, and all that the terminal says."""
    blocks: list[Block] = []
    if not isinstance(record, BareFile):
        scores = record.scores
        strips = [Strip("this file", scores.test, *scores.interval)]
        if scores.teacher is not None:
            derived = scores.row.derived
            ends = derived(scores.teacher, scores.count) if derived else (None, None)
            strips.append(Strip("its teacher", scores.teacher, ends[0], ends[1], "other"))
        blocks.append(
            intervals_drawn(
                strips, f"{scores.row.heading(f'test {scores.row.word}')}, 95 % intervals", scores.row
            )
        )
    sizes = _sizes(record, dossier)
    if len(sizes) > 1:
        blocks.append(bars_drawn(sizes, "bytes of each file"))
    return Section("result", "Result", (*blocks, Facts(sections_of(record)["Result"])))


def _sizes(record: Shown, dossier: Dossier) -> list[tuple[str, int, str]]:
    """The file beside what else the same tensors could be."""
    rows = [("this file", record.artifact_bytes, "own")]
    if isinstance(record, StudentRecord):
        teacher = record.design.model_bytes
        return [*rows, ("its teacher in float32", teacher, "other")] if teacher else rows
    design = record.design
    if design.lora_bytes:
        halves, quarters = design.lora_bytes
        rows += [("LoRA of that rank in 4 bits", quarters, "rest"),
                 ("LoRA of that rank in float16", halves, "rest")]  # fmt: skip
    if dossier.int8_bytes:
        rows.append(("the same tensors in int8", dossier.int8_bytes, "rest"))
    whole = "the whole fine-tune in float32" if design.base else "the same tensors in float32"
    return [*rows, (whole, design.model_bytes, "other")]


def _gates(gates: Sequence[GateResult]) -> Section | None:
    if not gates:
        return None
    rows = [
        (TableCell(gate.name), TableCell(*_VERDICTS[gate.passed]),
         TableCell(gate.message))
        for gate in gates
    ]  # fmt: skip
    return Section("gates", "Gates", (TableOf("What was demanded", ("gate", "verdict", "why"), rows),))


def _training(record: Shown, dossier: Dossier) -> Section | None:
    if isinstance(record, BareFile):
        return None
    task, lines = record.scores.row, dossier.history
    rates = any(line.lr > 0 for line in lines)
    word = task.heading(f"validation {task.word}")
    drawn = [
        epochs_drawn(lines, "training loss", lambda line: line.loss),
        epochs_drawn(lines, word, lambda line: line.validation, ticks_of(task)),
        epochs_drawn(lines, "learning rate", lambda line: line.lr, powers=False) if rates else None,
    ]
    ring = any(drawn) and any(line.best for line in lines)
    lead = "The ring marks the best epoch by validation, whose state the file has." if ring else ""
    if any(line.rounding for line in lines):
        lead += " From the shaded epoch on the numbers were those that the file can hold."
    facts = Facts(sections_of(record)["Training"])
    return Section("training", "Training", (*(one for one in drawn if one), facts), lead.strip())


def _neighbours(dossier: Dossier) -> Section | None:
    return comparison_section(dossier.comparison) if dossier.comparison else None


def _circuit(record: Shown, dossier: Dossier) -> Section | None:
    sections = sections_of(record)
    title = "Circuit" if "Circuit" in sections else "Student"
    blocks: list[Block] = [circuit_drawn(dossier.circuit)] if dossier.circuit else []
    blocks += [Facts(sections[name]) for name in (title, "Lesson") if name in sections]
    lead = ""
    if dossier.circuit:
        spec = dossier.circuit
        many = f"{spec.circuits:,} circuits" if spec.circuits > 1 else "One circuit"
        lead = f"{many} of {spec.qubits} qubits and {spec.layers:,} layers; each outcome gives a weight."
    return Section("circuit", _FACTS[title], tuple(blocks), lead)


def _tensors(dossier: Dossier) -> Section | None:
    if not dossier.tensors:
        return None
    there = [name for name in _HEADS if any(getattr(row, name) is not None for row in dossier.tensors)]
    head = ("tensor", "shape", "comes from", "numbers", "scale", *(_HEADS[name] for name in there))
    rows = [_tensor(row, there) for row in dossier.tensors]
    against = f"; errors are against {dossier.teacher}" if dossier.teacher else ""
    caption = f"Each tensor of the model{against}"
    return Section("tensors", "Tensors", (TableOf(caption, head, rows, numbers=2 + len(there)),), _SCALES)


_HEADS = {"spread": "root mean square", "error": "error / teacher"}
_SCALES = "The scale is 1 / √(3 fan-in), by which a generated tensor's numbers are multiplied."


def _tensor(row: TensorFacts, further: Sequence[str]) -> tuple[TableCell, ...]:
    shape = " × ".join(map(str, row.shape)) or "one number"
    figures = [row.scale, *(getattr(row, name) for name in further)]
    return (
        TableCell(row.name),
        TableCell(f"{shape} {row.dtype}"),
        TableCell(row.role),
        TableCell(f"{row.count:,}", row.count),
        *(cell_of(one, brief) for one in figures),
    )


def _provenance(record: Shown, dossier: Dossier) -> Section:
    file = shlex.quote(dossier.artifact)
    base = f" --base {shlex.quote(dossier.base)}" if dossier.base else ""
    lines = (
        f"qtrain verify {file}{base}",
        f"qtrain export {file} --classical -o weights.safetensors{base}",
        *(() if isinstance(record, BareFile) else (f"qtrain report {file} --json",)),
    )
    return Section(
        "provenance",
        "Provenance",
        (Facts(sections_of(record)["Provenance"]), CommandLines(lines)),
        "The first command checks that the file still gives its weights, bit for bit.",
    )


def _missing(record: Shown, dossier: Dossier) -> list[str]:
    """What could stand here, and how it would."""
    file, lines = shlex.quote(dossier.artifact), []
    if not dossier.history and not isinstance(record, BareFile):
        lines.append(f"The course of training: no '{dossier.history_at}' of this run lies beside the file."
                     " `compress` writes it unless --log none is said.")  # fmt: skip
    if isinstance(record, StudentRecord | BareFile):
        return lines
    again = f"qtrain report {file} --html PAGE{' --base BASE' if dossier.base else ''} --model MODEL"
    if not dossier.teacher:
        lines.append(f"How far each tensor is from the teacher's: {again}")
    if not dossier.examined:
        lines.append(f"Figures by class, or row by row: {again} --data DATA")
    if not dossier.comparison:
        lines.append("Other methods at equal bytes: run `qtrain compare` in this folder, and its picture and"
                     " verdict stand here.")  # fmt: skip
    return lines
