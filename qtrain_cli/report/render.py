"""One record as terminal table, JSON, Markdown or JUnit. The only place, beside `cli`, that prints.

Terminal and Markdown show the same sections, made once by `_sections`; people get percent and thousands
separators, scripts get the JSON. Names come from files that strangers may have made: `_plain` spells out
what is not printable (escape sequences, line breaks, reversed writing), and each form then escapes what it
would take for markup.

JUnit follows the schema that pytest and Jenkins share (junit-10.xsd): one test case for the artifact, one
for each gate, the record as properties. It carries no clock and no host name: the same artifact gives the
same file.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qtrain_cli.report.students import (
    Rows,
    gradient_rows,
    method_rows,
    student_design,
    student_lesson,
    student_result,
)
from qtrain_cli.results import AnyRecord, GateResult, Record, SampleCell, SampleRecord, StudentRecord
from qtrain_cli.tasks import Task

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

Sections = dict[str, Rows]

#: A colon and a dot after www make links, a dollar makes formulas.
_MARKDOWN_MARKS = re.compile(r"([\\`*_\[\]<>|~&#$]|:(?=\S)|(?<=www)\.)", re.IGNORECASE)
_PIPE_WIDTH = 160


def show(renderable: RenderableType) -> None:
    """Print on stdout. Colour on a terminal only, and not with ``NO_COLOR``; a pipe gets wide plain lines."""
    from rich.console import Console

    out = sys.stdout
    width = None if out.isatty() else _PIPE_WIDTH
    console = Console(width=width, highlight=False, emoji=False, markup=False)
    with console.capture() as capture:
        console.print(renderable)
    # Tables fill their lines with blanks; a terminal of another encoding shows \u escapes, not a traceback.
    text = "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
    encoding = out.encoding or "utf-8"
    out.write(text.encode(encoding, "backslashreplace").decode(encoding))


def as_json(document: Mapping[str, Any]) -> str:
    """One JSON document: a record's `to_json`, an error's `as_json`, or both joined. No NaN passes."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def as_terminal(record: AnyRecord, gates: Sequence[GateResult]) -> RenderableType:
    """The record for people, the main figures first, and the verdict of each gate last."""
    from rich.console import Group

    headline = _text(_summary(record), "bold")
    return Group(headline, _sheet(_sections(record)), *([_verdicts(gates)] if gates else []))


def as_sampling(record: SampleRecord) -> RenderableType:
    """What finite shots and noise leave: the figures to compare with, then one line a cell."""
    from rich.console import Group

    task = record.row
    low, high = record.exact_interval
    circuits = f"{record.circuits:,} of {record.qubits} qubits and {record.layers:,} layers"
    rows = [
        ("Exact probabilities", f"{task.show(record.exact)}, 95 % interval {task.show_interval(low, high)}"),
        ("In the artifact's record", task.show(record.recorded) + _other_data(record)),
        ("Teacher, in the record", task.show(record.teacher)),
        ("Test rows, repetitions", f"{record.count:,}, {record.repeat:,}"),
        ("Circuits, run by", f"{circuits}, {record.sampler}"),
    ]
    added = max(cell.simulation_variance for cell in record.cells)
    if added > 0:
        # What a quantum computer would not add must be small beside what is shown.
        rows += [
            ("Trajectories", f"{record.trajectories:,}, which add at most {added:.2g} to the error of z")
        ]
    headline = _text(f"{record.artifact}, test {task.word} from measured circuits", "bold")
    lines = [_sampled(record, cell, task) for cell in record.cells]
    return Group(headline, _sheet({"Compare with": rows}), _columns("Measured", lines))


def _other_data(record: SampleRecord) -> str:
    return "" if record.same_data else " (on other data than these)"


def _sampled(record: SampleRecord, cell: SampleCell, task: Task) -> dict[str, str]:
    low, high = cell.interval(record.most)
    spread = cell.repetition_interval
    return {
        "Noise": cell.noise,
        "Shots": f"{cell.shots:,}" if cell.shots else "exact",
        f"Test {task.word}": task.show(cell.mean),
        "95 % interval": task.show_interval(low, high),
        "of it repetitions": task.show_interval(*spread) if spread else "-",
        "Drop": task.show_change(record.drop(cell)),
        "Error of z": f"{cell.z_error:.3g}",
    }


def as_key_values(title: str, values: Mapping[str, Any]) -> RenderableType:
    """Any flat or nested mapping for people: a nested one is indented, a list of mappings is a table."""
    from rich.console import Group

    tables = {name: rows for name, rows in values.items() if _is_table(rows)}
    plain = {name: value for name, value in values.items() if name not in tables}
    return Group(_sheet({title: _flat(plain)}), *(_columns(name, rows) for name, rows in tables.items()))


def as_student_table(document: Mapping[str, Any]) -> RenderableType:
    """The document of `compare-students` for people: a row a student and method, then the verdicts."""
    from rich.console import Group

    lines = [_text(f"- {line}") for line in document["verdicts"]]
    return Group(_columns("students", method_rows(document["rows"])), *lines)


def as_gradient_table(document: Mapping[str, Any]) -> RenderableType:
    """The document of `compare-gradients` for people: a row an estimator, then the random circuits."""
    from rich.console import Group

    parts = [_columns(document["student"], gradient_rows(document["rows"]))]
    if document["plateaus"]:
        rows = [
            {
                "qubits": row["qubits"],
                "layers": row["layers"],
                "variance of d<Z0>/dtheta, mean over theta": row["variance"],
            }
            for row in document["plateaus"]
        ]
        parts.append(_columns("gradients of random circuits", rows))
    return Group(*parts)


def as_markdown(record: AnyRecord, gates: Sequence[GateResult]) -> str:
    """The record as GitHub's Markdown, for a step summary or a model card."""
    lines = [f"## qtrain: {_markdown(_summary(record))}", ""]
    if gates:
        lines += ["| Gate | Verdict | Why |", "|---|---|---|"]
        lines += [
            f"| {_markdown(gate.name)} | {_verdict(gate)} | {_markdown(gate.message)} |" for gate in gates
        ]
        lines += [""]
    for title, rows in _sections(record).items():
        lines += [f"| {title} | |", "|---|---|"]
        lines += [f"| {_markdown(label)} | {_markdown(text)} |" for label, text in rows]
        lines += [""]
    return "\n".join(lines)


def as_junit(record: AnyRecord, gates: Sequence[GateResult]) -> str:
    """The gates as a JUnit test suite, so that any pipeline shows them."""
    from xml.etree import ElementTree as Xml

    failures = sum(not gate.passed for gate in gates)
    counts = {"tests": str(1 + len(gates)), "failures": str(failures), "errors": "0", "time": "0"}
    root = Xml.Element("testsuites", {"name": "qtrain", **counts})
    suite = Xml.SubElement(root, "testsuite", {"name": "qtrain report", **counts, "skipped": "0"})
    properties = Xml.SubElement(suite, "properties")
    for name, value in record.to_json().items():
        text = value if isinstance(value, str) else json.dumps(value)
        Xml.SubElement(properties, "property", {"name": name, "value": _plain(text)})
    for name in ("artifact-readable", *(gate.name for gate in gates)):
        Xml.SubElement(suite, "testcase", {"classname": "qtrain.report", "name": name, "time": "0"})
    for gate, case in zip(gates, suite.findall("testcase")[1:], strict=True):
        if not gate.passed:
            message = _plain(gate.message)
            Xml.SubElement(case, "failure", {"type": "GateFailed", "message": message}).text = message
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _sections(record: AnyRecord) -> Sections:
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


def _result(record: Record) -> Rows:
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
        ("Artifact file", f"{record.artifact_bytes:,} bytes"),
        ("Same tensors in float32", f"{record.design.model_bytes:,} bytes"),
        ("Times smaller", _times(record.bytes_ratio)),
    ]


def _circuit(record: Record) -> Rows:
    design = record.design
    return [
        ("Weights generated", f"{design.weights:,}"),
        ("Weights kept as they are", f"{design.kept_weights:,}"),
        ("Trained numbers", f"{design.trained_numbers:,}"),
        ("Times fewer numbers", _times(record.parameter_ratio)),
        ("Circuits", f"{design.circuits:,} of {design.qubits} qubits and {design.layers:,} layers"),
        ("Ansatz and mapping", f"{design.ansatz}, {design.mapping}"),
        ("Bits per angle", str(design.angle_bits)),
    ]


def _training(record: AnyRecord) -> Rows:
    scores, measured, word = record.scores, record.measured, record.scores.row.word
    rows = [
        (f"Train {word}", scores.show(scores.train)),
        (f"Validation {word}", scores.show(scores.validation)),
        ("Train loss", _loss(measured.train_loss)),
        ("Test loss", _loss(measured.test_loss)),
        ("Generalization gap", _loss(measured.generalization_gap)),
        ("Epochs, seed, device", f"{measured.epochs}, {measured.seed}, {measured.device}"),
    ]
    return rows if record.seconds is None else [*rows, ("Time", f"{record.seconds:,.1f} s")]


def _provenance(record: AnyRecord) -> Rows:
    measured = record.measured
    word = "Teacher" if isinstance(record, StudentRecord) else "Model"
    known = [
        (word, measured.model),
        (f"{word} read as", measured.trust),
        (f"{word} SHA-256", measured.model_sha256),
    ]
    there = not isinstance(record, StudentRecord) or record.has_teacher
    return [
        *(known if there else [(word, "none: labels alone")]),
        ("Data SHA-256", measured.data_sha256),
        ("Artifact SHA-256", record.artifact_sha256),
        ("Versions", ", ".join(f"{name} {version}" for name, version in measured.versions.items())),
    ]


def _summary(record: AnyRecord) -> str:
    scores = record.scores
    figure = f"{scores.show(scores.test)} test {scores.row.word}"
    if isinstance(record, StudentRecord):
        return f"{record.design.kind} student, {figure} from {record.design.parameters:,} trained numbers"
    return f"{record.measured.model}, {figure} from {record.artifact_bytes:,} bytes"


def _times(ratio: float) -> str:
    return f"{ratio:,.1f}" if ratio > 1 else f"{ratio:.2g} (it is not smaller)"


def _loss(loss: float | None) -> str:
    return "not measured" if loss is None else f"{loss:.4g}"


def _verdict(gate: GateResult) -> str:
    return "passed" if gate.passed else "**FAILED**"


def _plain(text: str) -> str:
    """`text` with everything that is not printable spelled out, as in ``\\x1b``."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _markdown(text: str) -> str:
    return _MARKDOWN_MARKS.sub(r"\\\1", _plain(text))


def _text(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(_plain(text), style=style)


def _sheet(sections: Sections) -> Table:
    """Labels and values in two columns, each section under its bold title."""
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for title, rows in sections.items():
        table.add_row(_text(title, "bold"))
        for label, text in rows:
            table.add_row(_text(f"  {label}", "cyan"), _text(text))
    return table


def _verdicts(gates: Sequence[GateResult]) -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row(_text("Gates", "bold"))
    for gate in gates:
        verdict = _text("passed", "green") if gate.passed else _text("FAILED", "bold red")
        table.add_row(_text(f"  {gate.name}", "cyan"), verdict, _text(gate.message))
    return table


def _columns(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table whose columns are the first row's keys."""
    from rich.table import Table

    table = Table(title=_text(title, "bold"), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in rows[0]:
        table.add_column(_text(name), overflow="fold")
    for row in rows:
        table.add_row(*(_text(_value(row.get(name))) for name in rows[0]))
    return table


def _is_table(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _flat(values: Mapping[str, Any], indent: str = "") -> Rows:
    rows: Rows = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += [(indent + name, ""), *_flat(value, indent + "  ")]
        else:
            rows.append((indent + name, _value(value)))
    return rows


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_value(item) for item in value) or "-"
    return str(value)
