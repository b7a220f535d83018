"""What can be said of an artifact only with its model or its data at hand, for a page.

    tensors       |w - w_teacher| / |w_teacher|, and the root of the mean square of w
    classes       rows, right ones, and confusions, of tasks whose rows have one class
    regression    predicted against true, the first number of some rows
    language      the mean loss at each place of a row

The test rows were used once, for the record; here they are looked at again, and nothing is chosen by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.artifact.container import Container
from qtrain_cli.artifact.description import record_of
from qtrain_cli.artifact.numbers import decode_artifact
from qtrain_cli.artifact.student import is_student
from qtrain_cli.data import Dataset, hub, load_data
from qtrain_cli.errors import UsageError
from qtrain_cli.models import looks_up
from qtrain_cli.models.call import outputs_of
from qtrain_cli.models.peft_folder import with_tokenizer
from qtrain_cli.results.dossier import ClassFigures, Dossier, Examination, TensorFacts
from qtrain_cli.runs.examination import asked, examine
from qtrain_cli.runs.grounds import model_settings
from qtrain_cli.runs.making import Log
from qtrain_cli.runs.reopening import Reopened, reopened
from qtrain_cli.settings import DataSettings, ReportSettings
from qtrain_cli.tasks.places import counted
from qtrain_cli.tasks.task import Task

#: Outputs and targets of some rows after the other.
_Parts = Iterator[tuple[Tensor, Tensor]]
#: Classes that a table of confusions has at most, points of a drawing, and places of a row.
MOST_CLASSES, _MOST_PAIRS, _MOST_PLACES = 20, 400, 512


def looked_at(container: Container, dossier: Dossier, settings: ReportSettings, log: Log) -> Dossier:
    """The dossier of a file with what the model's file and the data say.

    Raises:
        UsageError: the file is a student. BadInput, Refused: as `reopened` and `load_data`.
    """
    if is_student(container):
        raise UsageError(
            "--model and --data are for a compressed model, and this file is a student", "leave both out"
        )
    artifact = decode_artifact(container)
    origin = artifact.description.origin
    known = record_of(artifact.description, container) if origin else None
    found = reopened(artifact, settings, known.measured.output if known else None, log)
    teacher = found.loaded.name if found.loaded else ""
    same = known is None or found.loaded is None or found.loaded.sha256 == known.measured.model_sha256
    if not same:
        log(f"{teacher} is another file than the one that was compressed; errors are against it all the same")
    dossier = replace(
        dossier, teacher=teacher, tensors=tuple(_with_error(row, found) for row in dossier.tensors)
    )
    if settings.data is None:
        return dossier
    sha256 = known.measured.data_sha256 if known else ""
    return replace(dossier, examined=_examined(found, settings, settings.data, sha256))


def _with_error(row: TensorFacts, found: Reopened) -> TensorFacts:
    """Nothing is added where the model has no tensor of that name and shape, as for factors of a change."""
    made = found.state.get(row.name)
    if made is None or not made.is_floating_point() or tuple(made.shape) != row.shape or not made.numel():
        return row
    wide = made.double().cpu()
    row = replace(row, spread=float(wide.square().mean().sqrt()))
    own = None if found.teacher is None else found.teacher.get(row.name)
    if own is None or own.shape != made.shape:
        return row
    own = own.double().cpu()
    norm = float(own.norm())
    return replace(row, error=float((wide - own).norm()) / norm) if norm else row


def _examined(found: Reopened, settings: ReportSettings, source: DataSettings, sha256: str) -> Examination:
    named = settings.model or (model_settings(settings, settings.base) if settings.base else None)
    data = load_data(source, 0, named and with_tokenizer(named, settings.base))
    ask = asked(found.module, found.state)
    data = examine(ask, data, looks_up(found.module), True, lambda line: None).of(data)
    counts: list[Tensor] = []
    seen = _seen(data, _counted(data.row, answered_parts(found, data), counts))
    figure = data.row.figure_of(torch.cat(counts))
    name = source.source if hub.matches(source.source) else Path(source.source).name
    return Examination(name, len(data.test), figure, data.sha256 == sha256, **seen)


def answered_parts(found: Reopened, data: Dataset) -> _Parts:
    """Outputs and targets of test rows, made as they are asked for: all scores of a text may not fit in
    memory."""
    outputs = outputs_of(found.module, found.state, data.test.inputs, data.normalisation)
    return ((outputs(part), data.test.targets[part]) for part in data.objective().parts(len(data.test)))


def _counted(row: Task, parts: _Parts, counts: list[Tensor]) -> _Parts:
    """The same parts, which are made once: the figure is taken of the counts that each leaves."""
    for outputs, targets in parts:
        counts.append(row.counts(outputs, targets))
        yield outputs, targets


def _seen(data: Dataset, parts: _Parts) -> dict[str, Any]:
    """What an examination has beside its figure, of all parts."""
    row = data.row
    if row.answers is not None and data.test.targets.dim() == 1 and data.classes:
        return _by_class(data, parts)
    if row.drawn == "pairs":
        return {"pairs": _pairs(parts, len(data.test))}
    if row.drawn == "places":
        return {"places": loss_by_place(parts)}
    for _ in parts:
        pass
    return {}


def _pairs(parts: _Parts, count: int) -> tuple[tuple[float, float], ...]:
    """True and predicted, of evenly many of all rows."""
    every = max(1, -(-count // _MOST_PAIRS))
    outputs, targets = (torch.cat(part)[::every] for part in zip(*parts, strict=True))
    true, predicted = (part.reshape(len(part), -1)[:, 0].tolist() for part in (targets, outputs))
    return tuple(zip(true, predicted, strict=True))


def loss_by_place(parts: Iterable[tuple[Tensor, Tensor]]) -> tuple[tuple[int, float], ...]:
    """Places, from 1 on, each with the mean loss of its targets (N, T) that count, of outputs (N, T, V).

    A place where none counts is left out.
    """
    from torch.nn.functional import cross_entropy

    lost, seen = torch.zeros(_MOST_PLACES).double(), torch.zeros(_MOST_PLACES).double()
    for outputs, targets in parts:
        targets, outputs = targets[:, :_MOST_PLACES].long(), outputs[:, :_MOST_PLACES]
        counts = counted(targets)
        surprise = cross_entropy(outputs[counts].double(), targets[counts], reduction="none")
        where = counts.nonzero()[:, 1]
        lost.index_add_(0, where, surprise)
        seen.index_add_(0, where, torch.ones_like(surprise))
    there = seen.nonzero()[:, 0]
    return tuple(zip((there + 1).tolist(), (lost / seen)[there].tolist(), strict=True))


def _by_class(data: Dataset, parts: _Parts) -> dict[str, Any]:
    """Counts by true and by predicted class; the whole table where it can be read."""
    answers = data.row.answers
    assert answers is not None and data.classes is not None
    count = max(data.classes, 2)
    table = torch.zeros(count, count, dtype=torch.int64)
    for outputs, targets in parts:
        place = targets.long() * count + answers(outputs).long().clamp(0, count - 1)
        table += place.bincount(minlength=count * count).view(count, count)
    names = data.labels or tuple(map(str, range(count)))
    classes = tuple(
        ClassFigures(name, int(row.sum()), int(row[place]), int(table[:, place].sum()))
        for place, (name, row) in enumerate(zip(names, table, strict=False))
    )
    shown = tuple(tuple(row) for row in table.tolist()) if count <= MOST_CLASSES else ()
    return {"classes": classes, "confusions": shown}
