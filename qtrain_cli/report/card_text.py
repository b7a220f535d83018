"""What a model card says to people: the Markdown below its head.

    what it is -> figures -> use -> files -> how it was made -> limits

Every figure is the record's own, and every name of a stranger's file is escaped.
"""

from __future__ import annotations

import json
import shlex
from typing import Any, Protocol

from qtrain_cli.report.markdown import escaped, pipes
from qtrain_cli.report.records import sections_of
from qtrain_cli.report.text import LabelledTexts, plain
from qtrain_cli.results import Record, StudentRecord


class _File(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def what(self) -> str: ...


class Described(Protocol):
    """What a card is made of (`commands.card.Card`)."""

    @property
    def settings(self) -> Any: ...
    @property
    def record(self) -> Record | StudentRecord: ...
    @property
    def form(self) -> str: ...
    @property
    def files(self) -> tuple[_File, ...]: ...


def card_body(card: Described) -> str:
    """All of it."""
    parts = (_opening, _figures, _use, _files, _making, _limits)
    return "\n".join(line for part in parts for line in (*part(card), ""))


def card_title(card: Described) -> str:
    """The heading that was asked for, or the file's name."""
    title = card.settings.title
    return str(title) if title else f"{card.settings.artifact.stem}, compressed by qtrain"


def _opening(card: Described) -> list[str]:
    record, scores = card.record, card.record.scores
    low, high = scores.interval
    figure = (
        f"Test {scores.row.word} **{escaped(scores.show(scores.test))}** on {scores.count:,} rows"
        f" (95 % interval {escaped(scores.show(low))} to {escaped(scores.show(high))})"
    )
    if scores.teacher is not None:
        figure += f"; its teacher has {escaped(scores.show(scores.teacher))}"
    return [f"# {escaped(card_title(card))}", "", _what(record), "", f"{figure}."]


def _what(record: Record | StudentRecord) -> str:
    if isinstance(record, StudentRecord):
        return (
            f"A {escaped(record.design.kind)} student of {record.design.parameters:,} trained numbers, in one"
            f" file of {record.artifact_bytes:,} bytes: {escaped(record.design.student)}."
        )
    design, change = record.design, ""
    if design.base:
        change = f" It holds changes to the base {escaped(design.base)}, which is needed beside it."
    circuits = "circuit" if design.circuits == 1 else "circuits"
    return (
        f"{escaped(record.measured.model)} in one file of {record.artifact_bytes:,} bytes:"
        f" {design.trained_numbers:,} trained numbers, the angles of {design.circuits:,} simulated quantum"
        f" {circuits}, from which {design.weights:,} ordinary weights are regenerated, to the same bits"
        f" everywhere.{change} No quantum computer is needed, to make it or to use it."
    )


def _table(title: str, texts: LabelledTexts) -> list[str]:
    return pipes((title, ""), [(escaped(label), escaped(text)) for label, text in texts])


def _figures(card: Described) -> list[str]:
    chosen = "the best state was chosen by validation rows"
    if card.record.scores.validation is None:
        chosen = "no validation rows were set apart, and the last state was kept"
    once = f"Test rows were used once, at the end; {chosen}."
    return ["## Figures", "", *_table("Figure", sections_of(card.record)["Result"]), "", once]


def _use(card: Described) -> list[str]:
    """Commands that work in the folder that the card lies in, with the base beside it where there is one."""
    name = plain(card.settings.artifact.name)
    said, base = shlex.quote(name), ""
    if isinstance(card.record, StudentRecord):
        code = [f"model = qtrain_cli.load_student({json.dumps(name)})"]
    else:
        changed = plain(card.record.design.base or "")
        base = f" --base {shlex.quote(changed)}" if changed else ""
        given = f", base={json.dumps(changed)}" if changed else ""
        code = [
            f"artifact = qtrain_cli.load({json.dumps(name)}{given})  # checks the weights' digest",
            "weights = artifact.state_dict()  # {name: tensor}, or artifact.put_into(module)",
        ]
    shell = [
        "pip install qtrain", f"qtrain report {said}", f"qtrain verify {said}{base}",
        f"qtrain export {said} --classical{base} -o model.safetensors",
    ]  # fmt: skip
    python = ["import qtrain_cli", "", *code]
    return ["## Use", "", "```sh", *shell, "```", "", "```python", *python, "```"]


def _files(card: Described) -> list[str]:
    rows = [(escaped(file.name), f"{file.bytes:,}", file.what) for file in card.files]
    return ["## Files", "", *pipes(("File", "Bytes", "What"), rows)]


def _making(card: Described) -> list[str]:
    lines = ["## How it was made"]
    for title, texts in sections_of(card.record).items():
        if title != "Result":
            lines += ["", *_table(title, texts)]
    return lines


def _limits(card: Described) -> list[str]:
    record = card.record
    if isinstance(record, StudentRecord):
        needs = "Inference of a circuit is simulated, or needs a device, for every input."
        return ["## Limits", "", needs if record.design.circuit_parameters else "A classical network."]
    return [
        "## Limits", "",
        "The weights are as good as so few numbers can make them; on other data than the test rows nothing"
        " was measured. What the original model must not be used for, this one must not either.", "",
        "The method is Quantum-Train ([arXiv 2405.11304](https://arxiv.org/abs/2405.11304)).",
    ]  # fmt: skip
