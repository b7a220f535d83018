"""A view for each kind of record that commands return: the table of `View`s."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qtrain_cli.report.card import card_document, card_terminal, checked_card
from qtrain_cli.report.comparison import comparison_markdown, comparison_terminal
from qtrain_cli.report.comparison_figure import comparison_figure
from qtrain_cli.report.config_text import config_text, init_document, init_terminal
from qtrain_cli.report.gradients_figure import gradients_figure
from qtrain_cli.report.inspection import inspection_terminal
from qtrain_cli.report.junit import record_junit
from qtrain_cli.report.page.artifact import Reported, artifact_page
from qtrain_cli.report.page.comparison import comparison_page
from qtrain_cli.report.page.gradients import gradients_page
from qtrain_cli.report.page.parts import Page
from qtrain_cli.report.page.render import page_html
from qtrain_cli.report.page.sampling import sampling_page
from qtrain_cli.report.page.students import students_page
from qtrain_cli.report.pages import page_document, page_terminal
from qtrain_cli.report.records import record_markdown, record_terminal
from qtrain_cli.report.rehearsal import rehearsal_terminal
from qtrain_cli.report.sampling import sampling_terminal
from qtrain_cli.report.sampling_figure import sampling_figure
from qtrain_cli.report.students import gradients_terminal, students_terminal
from qtrain_cli.report.terminal import key_values_terminal
from qtrain_cli.report.view import View
from qtrain_cli.results.comparison import Comparison
from qtrain_cli.results.gates import gate_failure
from qtrain_cli.results.verdict import verdict


def _to_json(record: Any) -> Mapping[str, Any]:
    document: Mapping[str, Any] = record.to_json()
    return document


def _judged(outcome: Reported) -> Mapping[str, Any]:
    failure = gate_failure(outcome.gates)
    return {**outcome.record.to_json(), **(failure.as_json() if failure else {})}


def _compared(comparison: Comparison) -> Mapping[str, Any]:
    return comparison.to_json(verdict(comparison))


def _plain_values(record: Any) -> Mapping[str, Any]:
    """A mapping, or a record's fields; paths as texts."""
    values = vars(record) if dataclasses.is_dataclass(record) else record
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def _key_values(title: str) -> View:
    return View(_plain_values, lambda record: key_values_terminal(title, _plain_values(record)))


def _text(form: Callable[[Any], str]) -> Callable[[Any, Path], bytes]:
    return lambda record, path: form(record).encode()


def _picture(draw: Callable[[Any, str], bytes]) -> Callable[[Any, Path], bytes]:
    """In the form that the path's ending names, whatever its case."""
    return lambda record, path: draw(record, path.suffix.lower().removeprefix("."))


def _page(make: Callable[[Any], Page]) -> Callable[[Any, Path], bytes]:
    return lambda record, path: page_html(make(record))


def _judged_markdown(outcome: Reported) -> str:
    return record_markdown(outcome.record, outcome.gates)


VIEWS: dict[str, View] = {
    "record": View(_to_json, record_terminal),
    "report": View(
        _judged,
        lambda outcome: record_terminal(outcome.record, outcome.gates),
        files={
            "markdown": _text(_judged_markdown),
            "junit": _text(lambda outcome: record_junit(outcome.record, outcome.gates)),
            "html": _page(artifact_page),
        },
        added={"step_summary": _judged_markdown},
        failure=lambda outcome: gate_failure(outcome.gates),
    ),
    "sample": View(
        _to_json,
        sampling_terminal,
        files={"plot": _picture(sampling_figure), "html": _page(sampling_page)},
    ),
    "compare": View(
        _compared,
        comparison_terminal,
        files={
            "markdown": _text(comparison_markdown),
            "plot": _picture(comparison_figure),
            "html": _page(comparison_page),
        },
    ),
    "students": View(
        _to_json,
        lambda table: students_terminal(table.to_json()),
        files={"html": _page(lambda table: students_page(table.to_json(), table.courses))},
    ),
    "gradients": View(
        _to_json,
        lambda table: gradients_terminal(table.to_json()),
        files={
            "plot": _picture(gradients_figure),
            "html": _page(lambda table: gradients_page(table.to_json())),
        },
    ),
    **{name: _key_values(name) for name in ("plan", "export", "verify", "env")},
    "dry-run": View(_to_json, rehearsal_terminal),
    "inspect": View(_plain_values, inspection_terminal),
    "init": View(init_document, init_terminal, files={"out": _text(config_text)}),
    "card": View(card_document, card_terminal, files={"out": _text(checked_card)}),
    "help": View(page_document, page_terminal, paged=True),
}
