"""`qtrain init`: looks at a model and its data, for a `qtrain.toml` with comments."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtrain_cli.files.atomic import check_output, write_bytes_atomically
from qtrain_cli.runs.first_look import BudgetRow, Feeding, FirstLook, first_look
from qtrain_cli.runs.making import Log
from qtrain_cli.settings import SAMPLE_DATA, SAMPLE_MODEL, ChangeSettings, InitSettings
from qtrain_cli.settings.declared import settings_of, values_said

_SAMPLE = Path(__file__).resolve().parents[1] / "sample"


@dataclass(frozen=True)
class InitRecord:
    """What was found, and what was said; `feedings` has the chosen way first.

    `model_options`, `data_options` and `change_options` are what was said of them, by the options' names;
    without a model, the base itself learns.
    """

    out: Path
    model_options: dict[str, Any]
    data_options: dict[str, Any]
    change_options: dict[str, Any]
    change_note: str
    others: dict[str, Any]
    format: str
    trust: str
    weights: int
    task: str
    classes: int | None
    labels: tuple[str, ...]
    rows: tuple[int, int, int]
    input_shape: Any
    input_dtype: str
    feedings: tuple[Feeding, ...]
    figures: tuple[str, ...]
    budgets: tuple[BudgetRow, ...]
    params: int
    epochs: int

    @property
    def artifact(self) -> str:
        """What `compress` will write, beside the file."""
        return f"{(self.model_options.get('model') or self.change_options['base']).stem}.qtrain"


def run(settings: InitSettings, log: Log = lambda line: None) -> InitRecord:
    """Looks at both, and says what to write; the sample is put beside it first where that was asked for.

    Raises:
        UsageError: the output exists. BadInput, Refused: as `first_look`.
    """
    check_output(settings.out, settings.force, [settings.model.path])
    if settings.sample:
        _put_sample(settings, log)
    return _record(settings, first_look(settings, log))


def _put_sample(settings: InitSettings, log: Log) -> None:
    """The package's own model and data, in the current folder; what is there already stays."""
    for name, path in ((SAMPLE_MODEL, settings.model.path), (SAMPLE_DATA, Path(settings.data.source))):
        if os.fspath(path) == name and not path.exists():
            write_bytes_atomically(path, (_SAMPLE / name).read_bytes())
            log(f"wrote '{name}'")


def _record(settings: InitSettings, look: FirstLook) -> InitRecord:
    said = values_said(settings, settings_of(InitSettings))
    of_model, of_data = (
        {one.option.name for one in settings_of(type(part)) if one.option}
        for part in (settings.model, settings.data)
    )
    facts, data, loaded = look.facts, look.begun.data, look.loaded
    return InitRecord(
        out=settings.out,
        model_options={name: value for name, value in said.items() if name in of_model - _of_base(settings)},
        data_options={name: value for name, value in said.items() if name in of_data},
        change_options=_change_options(settings.change),
        change_note=look.note,
        others={name: said[name] for name in ("targets", "ignore", "seed") if name in said},
        format=loaded.format,
        trust=loaded.trust,
        weights=sum(parameter.numel() for parameter in loaded.module.parameters()),
        task=data.task,
        classes=data.classes,
        labels=data.labels,
        rows=(len(data.train), len(data.validation), len(data.test)),
        input_shape=facts["input_shape"],
        input_dtype=str(facts["input_dtype"]),
        feedings=look.feedings,
        figures=tuple(f"{data.row.word} {data.row.show(one.figure)}" for one in look.feedings),
        budgets=look.budgets,
        params=look.usual,
        epochs=look.begun.fit.epochs,
    )


def _of_base(settings: InitSettings) -> set[str]:
    """What need not be said of the model where it is the base itself."""
    return {"model"} if settings.model.path == settings.change.base else set()


def _change_options(change: ChangeSettings) -> dict[str, Any]:
    """The base and what becomes of it, as they are said."""
    target = {"target": change.target.in_words()} if change.target else {}
    return {"base": change.base, **target} if change.base else target
