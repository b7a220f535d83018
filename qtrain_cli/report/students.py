"""Students for people: the sections of one's record, and the tables of several and of their gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qtrain_cli.report.figures import figures_beside
from qtrain_cli.report.terminal import columns, stacked, styled
from qtrain_cli.report.text import LabelledTexts
from qtrain_cli.results import StudentRecord
from qtrain_cli.results.schema import task_of_fields
from qtrain_cli.tasks import Task

if TYPE_CHECKING:
    from rich.console import RenderableType


def student_result(record: StudentRecord) -> LabelledTexts:
    """What came out."""
    scores, word = record.scores, record.scores.row.word
    low, high = scores.interval
    rows = [
        (f"Test {word}", f"{scores.show(scores.test)} on {scores.count:,} rows"),
        ("95 % interval", f"{scores.show(low)} to {scores.show(high)}"),
    ]
    if record.has_teacher:
        drop = "not measured" if scores.drop is None else scores.show_change(scores.drop)
        rows += [
            (f"Teacher's test {word}", scores.show(scores.teacher)),
            ("Drop below the teacher", drop),
            (scores.row.closeness_label, scores.show(scores.closeness)),
        ]
    return [*rows, *figures_beside(scores), ("Student's file", f"{record.artifact_bytes:,} bytes")]


def student_design(record: StudentRecord) -> LabelledTexts:
    """What it is, and what inference needs."""
    design = record.design
    rows = [
        ("Student", design.student),
        ("Trained numbers", f"{design.parameters:,}"),
        ("Angles of the circuit", f"{design.circuit_parameters:,}"),
        ("Qubits", f"{design.qubits}" if design.circuit_parameters else "none"),
    ]
    if design.circuit_parameters:
        rows += [("Inference needs", "the circuit, simulated or on a device, for every input")]
    if record.parameter_ratio is not None and design.teacher_parameters is not None:
        times = f"{record.parameter_ratio:,.1f}"
        larger = f"{record.parameter_ratio:.2g} (it is larger than its teacher)"
        rows += [
            ("Teacher's numbers", f"{design.teacher_parameters:,}"),
            ("Times fewer numbers", times if record.parameter_ratio >= 1 else larger),
        ]
    return rows


def student_lesson(record: StudentRecord) -> LabelledTexts:
    """How it was taught."""
    lesson = record.lesson
    rows = [("Method", lesson.method)]
    if lesson.method != "labels":
        end = "" if lesson.temperature_end is None else f" to {lesson.temperature_end:g}"
        rows += [("Teacher's weight, temperature", f"{lesson.distill:g}, {lesson.temperature:g}{end}")]
    if lesson.align is not None:
        rows += [("Aligned with", f"{lesson.align} ({lesson.align_loss}, weight {lesson.align_weight:g})")]
    if lesson.generation:
        rows += [("Generation", str(lesson.generation))]
    if record.design.circuit_parameters:
        rows += [
            ("Gradient", f"{lesson.gradient}, {_run_with(lesson.shots, lesson.noise)}"),
            ("Measured with", _run_with(lesson.test_shots, lesson.test_noise)),
            ("Circuit runs in training", f"{lesson.evaluations:,}"),
            *([("Shots in training", f"{lesson.total_shots:,}")] if lesson.shots else []),
        ]
    return [*rows, ("Epochs to 95 % of the last", str(record.epochs_to_95 or "-"))]


def _run_with(shots: int, noise: float) -> str:
    return f"{f'{shots:,} shots' if shots else 'exact'}, noise {noise:g}"


def students_terminal(document: Mapping[str, Any]) -> RenderableType:
    """The document of `compare-students` for people: a row a student and method, then the verdicts."""
    lines = [styled(f"- {line}") for line in document["verdicts"]]
    return stacked(columns("students", _method_rows(document["rows"])), *lines)


def gradients_terminal(document: Mapping[str, Any]) -> RenderableType:
    """The document of `compare-gradients` for people: a row an estimator, then the random circuits."""
    parts = [columns(document["student"], _gradient_rows(document["rows"]))]
    if document["plateaus"]:
        rows = [
            {
                "qubits": row["qubits"],
                "layers": row["layers"],
                "variance of d<Z0>/dtheta, mean over theta": row["variance"],
            }
            for row in document["plateaus"]
        ]
        parts.append(columns("gradients of random circuits", rows))
    return stacked(*parts)


def _method_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The rows of `compare-students` as columns of text; the teacher's figure where there is one."""
    tasks = [task_of_fields(row) for row in rows]
    taught = any(row[f"teacher_{task.word}"] is not None for row, task in zip(rows, tasks, strict=True))
    return [_method_row(row, task, taught) for row, task in zip(rows, tasks, strict=True)]


def _gradient_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The rows of `compare-gradients` as columns of text."""
    return [_gradient_row(row) for row in rows]


def _gradient_row(row: Mapping[str, Any]) -> dict[str, str]:
    task = task_of_fields(row)
    return {
        "gradient": row["gradient"],
        "shots": f"{row['shots']:,}" if row["shots"] else "exact",
        task.heading(f"test {task.word}"): _spread(row[f"test_{task.word}"], row["spread"], task),
        "final loss": "-" if row["final_loss"] is None else f"{row['final_loss']:.4f}",
        "epochs": str(row["epochs"]),
        "circuit runs": f"{row['evaluations']:,}",
        "shots in all": f"{row['total_shots']:,}" if row["shots"] else "-",
        "seconds": "-" if row["seconds"] is None else f"{row['seconds']:.1f}",
        "seeds": str(row["seeds"]),
    }


def _method_row(row: Mapping[str, Any], task: Task, taught: bool) -> dict[str, str]:
    alone = row["name"] == row["kind"] == "qnn"
    teacher = row[f"teacher_{task.word}"]
    by_teacher = {task.heading("teacher"): "-" if teacher is None else task.bare(teacher)} if taught else {}
    return {
        "student": row["student"].partition(",encoding")[0] if alone else row["name"],
        "method": row["method"],
        "numbers": f"{row['parameters']:,}",
        task.heading(f"test {task.word}"): _spread(row[f"test_{task.word}"], row["spread"], task),
        **by_teacher,
        "95 % interval": f"{task.bare(row['low'])} to {task.bare(row['high'])}",
        "epochs to 95 %": "-"
        if row["epochs_to_95"] is None
        else f"{row['epochs_to_95']:.1f}"
        + ("" if row["epochs_spread"] is None else f" ± {row['epochs_spread']:.1f}"),
        "seeds": str(row["seeds"]),
    }


def _spread(mean: float, spread: float | None, task: Task) -> str:
    return task.bare(mean) + ("" if spread is None else f" ± {task.bare(spread)}")
