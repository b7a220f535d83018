"""The record of a finished artifact or student for people, with its gates: terminal and Markdown.

Both show the same sections, made once by `sections_of`; people get percent and thousands separators, scripts
get the JSON. A bare file has no record: what it is by itself is all that is said of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtrain_cli.artifact.records import BareFile
from qtrain_cli.report.figures import figures_beside
from qtrain_cli.report.markdown import escaped, pipes
from qtrain_cli.report.students import student_design, student_lesson, student_result
from qtrain_cli.report.terminal import sheet, stacked, styled
from qtrain_cli.report.text import LabelledTexts, Sections, loss_text, times_text
from qtrain_cli.results import Design, GateResult, Record, StudentRecord
from qtrain_cli.settings import FLOAT32

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

#: What there is to show of one file.
Shown = Record | StudentRecord | BareFile


def record_terminal(record: Shown, gates: Sequence[GateResult] = ()) -> RenderableType:
    """The record for people, the main figures first, and the verdict of each gate last."""
    return stacked(
        styled(summary_of(record), "bold"),
        sheet(sections_of(record)),
        *([_verdicts(gates)] if gates else []),
    )


def record_markdown(record: Shown, gates: Sequence[GateResult] = ()) -> str:
    """The record as GitHub's Markdown, for a step summary or a model card."""
    lines = [f"## qtrain: {escaped(summary_of(record))}", ""]
    if gates:
        rows = [(escaped(gate.name), _verdict(gate), escaped(gate.message)) for gate in gates]
        lines += [*pipes(("Gate", "Verdict", "Why"), rows), ""]
    for title, texts in sections_of(record).items():
        rows_of = [(escaped(label), escaped(text)) for label, text in texts]
        lines += [*pipes((title, ""), rows_of), ""]
    return "\n".join(lines)


def sections_of(record: Shown) -> Sections:
    """Labels and texts under their titles."""
    if isinstance(record, BareFile):
        return {
            "Result": _size(record),
            "Circuit": _circuit(record),
            "Provenance": [("Artifact SHA-256", record.artifact_sha256)],
        }
    if isinstance(record, StudentRecord):
        return {
            "Result": student_result(record),
            "Student": student_design(record),
            "Lesson": student_lesson(record),
            "Training": _training(record),
            "Provenance": _provenance(record),
        }
    return {
        "Result": _result(record),
        "Circuit": _circuit(record),
        "Training": _training(record),
        "Provenance": _provenance(record),
    }


def _result(record: Record) -> LabelledTexts:
    scores, word = record.scores, record.scores.row.word
    low, high = scores.interval
    return [
        (f"Test {word}", f"{scores.show(scores.test)} on {scores.count:,} rows"),
        ("95 % interval", f"{scores.show(low)} to {scores.show(high)}"),
        (f"Teacher's test {word}", scores.show(scores.teacher)),
        (
            "Drop below the teacher",
            "not measured" if scores.drop is None else scores.show_change(scores.drop),
        ),
        (scores.row.closeness_label, scores.show(scores.closeness)),
        *figures_beside(scores),
        *_note(record),
        *_size(record),
    ]


def _note(record: Record) -> LabelledTexts:
    note = record.measured.figure_note
    return [("Note on the figures", note)] if note else []


def _size(record: Record | BareFile) -> LabelledTexts:
    return [
        ("Artifact file", f"{record.artifact_bytes:,} bytes"),
        ("Same tensors in float32", f"{record.design.model_bytes:,} bytes"),
        ("Times smaller", times_text(record.bytes_ratio)),
        *_beside_lora(record.design),
    ]


def _beside_lora(design: Design) -> LabelledTexts:
    """What else a fine-tune is stored as."""
    if design.lora_bytes is None:
        return []
    halves, quarters = design.lora_bytes
    return [("LoRA in float16, in 4 bits", f"{halves:,} bytes, {quarters:,} bytes")]


def _layers(design: Design) -> str:
    seeded = f", the first {design.seeded_layers:,} seeded" if design.seeded_layers else ""
    return f"{design.layers:,} layers{seeded}"


def _circuit(record: Record | BareFile) -> LabelledTexts:
    design = record.design
    return [
        *_changes(design),
        ("Weights generated", f"{design.weights:,}"),
        ("Weights kept as they are", f"{design.kept_weights:,}"),
        *_kept_otherwise(design),
        ("Trained numbers", f"{design.trained_numbers:,}"),
        ("Times fewer numbers", times_text(record.parameter_ratio)),
        ("Circuits", f"{design.circuits:,} of {design.qubits} qubits and {_layers(design)}"),
        ("Ansatz and mapping", f"{design.ansatz}, {design.mapping}"),
        ("Bits per angle", str(design.angle_bits)),
    ]


def _changes(design: Design) -> LabelledTexts:
    if design.base is None:
        return []
    return [("Changes to", f"{design.base}, by {design.target}"), ("Base SHA-256", str(design.base_sha256))]


def _kept_otherwise(design: Design) -> LabelledTexts:
    """How many tensors and rows are kept in each way that is not simply stored; the JSON has their names."""
    ways = Counter(design.kept_tensors.values())
    text = "; ".join(f"{count:,} {way}" for way, count in ways.items())
    return [("Tensors kept otherwise", text)] if ways else []


def _training(record: Record | StudentRecord) -> LabelledTexts:
    scores, measured, word = record.scores, record.measured, record.scores.row.word
    rows = [
        (f"Train {word}", scores.show(scores.train)),
        (f"Validation {word}", scores.show(scores.validation)),
        ("Train loss", loss_text(measured.train_loss)),
        ("Test loss", loss_text(measured.test_loss)),
        ("Generalization gap", loss_text(measured.generalization_gap)),
        ("Epochs, seed, device", f"{measured.epochs}, {measured.seed}, {measured.device}"),
    ]
    if not scores.row.told_by_word:
        rows.append(("Loss", scores.row.said))
    return rows if record.seconds is None else [*rows, ("Time", f"{record.seconds:,.1f} s")]


def _provenance(record: Record | StudentRecord) -> LabelledTexts:
    measured = record.measured
    word = "Teacher" if isinstance(record, StudentRecord) else "Model"
    known = [
        (word, measured.model),
        (f"{word} read as", measured.trust),
        *([(f"{word}'s weights", measured.weights_entry)] if measured.weights_entry else []),
        *([(f"{word}'s output", measured.output)] if measured.output else []),
        (f"{word} SHA-256", measured.model_sha256),
    ]
    if measured.skipped_rows is not None:
        known.append(("Damaged rows left out", f"{measured.skipped_rows:,}"))
    if measured.precision != FLOAT32:
        known.append(("Trained in", measured.precision))
    there = not isinstance(record, StudentRecord) or record.has_teacher
    return [
        *(known if there else [(word, "none: labels alone")]),
        ("Data SHA-256", measured.data_sha256),
        ("Artifact SHA-256", record.artifact_sha256),
        ("Versions", ", ".join(f"{name} {version}" for name, version in measured.versions.items())),
    ]


def summary_of(record: Shown) -> str:
    """The main figure in a line."""
    if isinstance(record, BareFile):
        return f"{record.artifact}, a bare file of {record.artifact_bytes:,} bytes"
    scores = record.scores
    figure = f"{scores.show(scores.test)} test {scores.row.word}"
    if isinstance(record, StudentRecord):
        return f"{record.design.kind} student, {figure} from {record.design.parameters:,} trained numbers"
    return f"{record.measured.model}, {figure} from {record.artifact_bytes:,} bytes"


def _verdict(gate: GateResult) -> str:
    return "passed" if gate.passed else "**FAILED**"


def _verdicts(gates: Sequence[GateResult]) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row(styled("Gates", "bold"))
    for gate in gates:
        verdict = styled("passed", "green") if gate.passed else styled("FAILED", "bold red")
        table.add_row(styled(f"  {gate.name}", "cyan"), verdict, styled(gate.message))
    return table
