"""What a file, and what lies beside it, says beyond its record: for a page. No torch.

    net.qtrain  ->  tensors and circuit, of the file itself
                    net.qtrain.jsonl                 the history of the run that wrote it, by the run's digits
                    *.compare/comparison.json      a comparison of this model on these data, by digests

A history or a comparison of something else, or one that is damaged, is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtrain_cli.artifact.container import Container
from qtrain_cli.artifact.description import Description, describe_container
from qtrain_cli.artifact.student import describe_student, is_student
from qtrain_cli.errors import QtrainError
from qtrain_cli.files.json_file import read_object
from qtrain_cli.methods.table import OURS
from qtrain_cli.results.comparison_file import COMPARISON_FILE, checked_comparison
from qtrain_cli.results.dossier import Dossier, TensorFacts
from qtrain_cli.results.history import EpochLine, history_beside, history_of, last_stage
from qtrain_cli.results.students import Lesson
from qtrain_cli.targets.entries import GENERATED, HALF, TIED, TensorEntry
from qtrain_cli.targets.size import int8_bytes

#: Of a comparison's document: methods by budgets by seeds, a few hundred bytes each.
_MOST_COMPARISON = 2**24
#: Folders of comparisons that are looked into.
_MOST_FOLDERS = 50


def dossier_of(container: Container) -> Dossier:
    """All of it. Raises `BadInput`, `Refused` for facts that cannot be."""
    if is_student(container):
        return _of_student(container, container.path)
    return _of_model(describe_container(container), container.path)


def _of_model(description: Description, path: Path) -> Dossier:
    origin, change, own = description.origin, description.change, description.method == OURS
    history = history_beside(path)
    run = origin.run if origin else ""
    return Dossier(
        artifact=path.name,
        base=change.base.name if change else None,
        int8_bytes=None if change else int8_bytes(description.layout),
        tensors=tuple(map(_tensor, description.layout.entries)),
        circuit=description.spec.circuit if own else None,
        history=last_stage(history_of(history, run)) if run else (),
        history_at=history.name,
        comparison=_comparison_beside(path, origin.measured.model_sha256, origin.measured.data_sha256)
        if origin
        else None,
    )


def _of_student(container: Container, path: Path) -> Dossier:
    """A student's history is in its file; its learning rates are in the one beside it, if there is one."""
    description, history = describe_student(container), history_beside(path)
    lines = last_stage(history_of(history, description.run))
    word = description.measured.scores.row.word
    return Dossier(
        artifact=path.name,
        history=lines or _of_lesson(description.lesson, description.run, word),
        history_at=history.name,
    )


def _of_lesson(lesson: Lesson, run: str, word: str) -> tuple[EpochLine, ...]:
    epochs = len(lesson.history)
    return tuple(
        EpochLine(run, "", number, epochs, loss, figure, word, 0.0, False, False, 0.0)
        for number, (loss, figure) in enumerate(lesson.history, 1)
    )


def _tensor(entry: TensorEntry) -> TensorFacts:
    generated = entry.role == GENERATED
    return TensorFacts(
        name=entry.name, shape=entry.shape, dtype=entry.dtype, role=_role(entry), count=entry.count,
        scale=entry.scale if generated else None,
    )  # fmt: skip


def _role(entry: TensorEntry) -> str:
    """Where its numbers come from, in words."""
    if entry.role == GENERATED:
        return "generated" if entry.row < 0 else f"generated but for row {entry.row}"
    if entry.role == TIED:
        return f"the same as {entry.source}"
    forms = {"": "kept", HALF: "kept in float16", "bits": "kept, a bit each", "given": "of the architecture"}
    return forms.get(entry.stored, f"kept as a pattern ({entry.stored})")


def _comparison_beside(path: Path, model_sha256: str, data_sha256: str) -> Mapping[str, Any] | None:
    """The first one, by the folders' names, of this model on these data."""
    for file in sorted(path.parent.glob(f"*.compare/{COMPARISON_FILE}"))[:_MOST_FOLDERS]:
        try:
            document = checked_comparison(read_object(file, _MOST_COMPARISON))
        except QtrainError:
            continue
        if (document["model_sha256"], document["data_sha256"]) == (model_sha256, data_sha256):
            return document
    return None
