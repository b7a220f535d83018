"""The commands, one row each: what it takes, what runs it in `commands`, which view shows what it returns.

A row's settings say the options; `without` are the fields, by path, that the command has no use for. A
command is added with a row here, a file in `commands`, a record in `settings`, and a view where none of those
in `report.views` shows what it returns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from qtrain_cli.methods.generator.spec import MAPPINGS
from qtrain_cli.methods.table import METHODS
from qtrain_cli.settings import (
    AnyPath,
    CardSettings,
    CompareGradientsSettings,
    CompareSettings,
    CompareStudentsSettings,
    CompressSettings,
    ExportSettings,
    HelpSettings,
    InitSettings,
    PlanSettings,
    ReportSettings,
    SampleSettings,
    TeachSettings,
    VerifySettings,
)
from qtrain_cli.settings.declared import Setting, settings_of
from qtrain_cli.settings.option import Option

#: Tables of layers above `settings`, by the word that an option has for them.
CHOICES: Mapping[str, Iterable[str]] = {"mappings": MAPPINGS, "methods": METHODS}

_COMPARE = """Set qtrain against what you would use instead, at equal bytes, and say who wins.

Each method is tuned alike, writes a real file, and is tested on what that file gives back.

It takes long: budgets x methods x (seeds + about one for tuning) trainings, each as long as one of
`qtrain compress` or shorter. The shipped digits, four budgets and 60 epochs, take half an hour on two
busy cores, --quick some minutes. Killed or interrupted: run it again, finished cells are kept.
"""
_INIT = """Look at a model and its data, and write what was found to a qtrain.toml with comments.

Its tables say what `compress`, `export`, `report` and `verify` need in this folder, so that these need no
more words.
"""
_WATCHED = ("show", "log")
#: What nobody asks for where nobody teaches.
_OF_TEACHERS = ("fit.distill", "fit.temperature", "fit.temperature_end")
#: What a student has otherwise, or not at all.
_OF_GENERATORS = ("fit.gradient", "fit.optimizer")


@dataclass(frozen=True)
class Command:
    """One command.

    Args:
        name: as it is typed; its module is called so, with ``_`` for ``-``.
        help: its first paragraph stands in the list of commands.
        settings: the record that its options fill, or one annotated value, or None.
        view: a key of `report.views.VIEWS`.
        given: what it is handed after the settings, by the names of `perform.GIVEN`.
        without: fields that are no options of it, by path.
        fixed: values of such fields, where they are not the fields' own defaults.
        flags: another flag than the usual one, by the option's name.
    """

    name: str
    help: str
    settings: Any
    view: str
    given: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def says(self) -> tuple[Setting, ...]:
        """What can be said of it."""
        return tuple(map(self._flagged, settings_of(self.settings, self.without)))

    @property
    def options(self) -> dict[str, Option]:
        """Its options by name."""
        return {setting.option.name: setting.option for setting in self.says if setting.option}

    def _flagged(self, setting: Setting) -> Setting:
        flag = setting.option and self.flags.get(setting.option.name)
        if not setting.option or not flag:
            return setting
        return dataclasses.replace(setting, option=dataclasses.replace(setting.option, flag=flag))


COMMANDS: dict[str, Command] = {
    row.name: row
    for row in (
        Command("init", _INIT, InitSettings, "init", ("log",)),
        Command(
            "compress", "Compress a trained model into an artifact.", CompressSettings, "record", _WATCHED
        ),
        Command(
            "plan",
            "Show what a budget buys: qubits, layers, file size, memory, seconds a step. Trains nothing.",
            PlanSettings, "plan", ("log",),
            without=(
                *_OF_TEACHERS, "fit.epochs", "fit.lr", "fit.gradient", "fit.max_restarts",
            ),
        ),
        Command("inspect", "Show what a file holds, without running anything in it.", AnyPath, "inspect"),
        Command(
            "export",
            "Write the regenerated weights, or the trained circuits, in a format that others read.",
            ExportSettings, "export", ("log", "share"),
        ),
        Command(
            "report",
            "Show an artifact's record and hold it against gates. Exit code 3 when one fails.",
            ReportSettings, "report", ("log",), without=("data.validation",),
        ),
        Command(
            "verify", "Regenerate an artifact's weights and compare them with its digest.", VerifySettings,
            "verify", ("share",),
        ),
        Command(
            "card", "Describe an artifact on a model card, as the Hugging Face hub shows it.", CardSettings,
            "card",
        ),
        Command(
            "sample",
            "Measure the accuracy that finite shots and noise leave, on the test rows.",
            SampleSettings, "sample", ("log",), without=("data.validation",),
        ),
        Command("env", "Show versions and hardware, for a bug report.", None, "env"),
        Command("help", "Read a page: bytes, data, gates, students, format, ...", HelpSettings, "help"),
        Command(
            "compare", _COMPARE, CompareSettings, "compare", ("log", "show"),
            without=("fit.lr", "fit.seed", "fit.gradient"),
        ),
        Command(
            "train", "Train a student on labels alone.", TeachSettings, "record", _WATCHED,
            without=(
                "teacher", "teacher_any", "align", "itself", *_OF_TEACHERS, *_OF_GENERATORS,
            ),
            fixed={"fit.distill": 0.0},
        ),
        Command(
            "distill", "Distil a teacher into a student, or a student into itself.", TeachSettings, "record",
            _WATCHED, without=_OF_GENERATORS, flags={"student": "--student"},
        ),
        Command(
            "compare-students",
            "Train and distil students and their classical controls over seeds, and judge the differences.",
            CompareStudentsSettings, "students", _WATCHED,
            without=("fit.lr", "fit.seed", *_OF_GENERATORS),
        ),
        Command(
            "compare-gradients",
            "Run the same training under every gradient estimator: loss, circuit runs, seconds, barren"
            " plateaus.",
            CompareGradientsSettings, "gradients", _WATCHED,
            without=(*_OF_TEACHERS, "fit.seed", "fit.device", *_OF_GENERATORS),
            fixed={"fit.distill": 0.0, "fit.device": "cpu"},
        ),
    )
}  # fmt: skip


def choices_of(option: Option) -> tuple[str, ...]:
    """The names that an option has one of."""
    return tuple(CHOICES[option.choices] if isinstance(option.choices, str) else option.choices)
