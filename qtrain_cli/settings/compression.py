"""What compresses a model, plans it, or sets it against other methods: one record a command."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from qtrain_cli.settings.budget import MAX_BUDGET, BudgetSettings
from qtrain_cli.settings.change import BASE_ITSELF, ChangeSettings, model_or_base
from qtrain_cli.settings.fit import CHANGE_LR, MAX_OWN_LR, MAX_ROUGH_LR, OWN_LR_NUMBERS, FitSettings
from qtrain_cli.settings.option import Inside, Option, Otherwise, Said
from qtrain_cli.settings.parsing import BESIDE, NO_LOG, parse_names, parse_shapes, parse_sizes, require
from qtrain_cli.settings.shared import (
    LOG,
    DryRun,
    Force,
    GeneratedOnly,
    Html,
    KeptAsTheyAre,
    Markdown,
    Plot,
    Resume,
    TeacherAny,
    check_chosen,
    check_plot,
)
from qtrain_cli.settings.sources import DataSettings, ModelSettings

_OWN_RATE = (
    f"{MAX_OWN_LR}, {MAX_ROUGH_LR} with --shots or spsa; less above {OWN_LR_NUMBERS} trained numbers;"
    f" {CHANGE_LR} with --base"
)


def _beside_model(ending: str) -> Otherwise:
    """A path in the current folder that is called as the model is."""
    return Otherwise(
        f"MODEL's name + {ending}", lambda said: Path((said["model"] or model_or_base(said)).stem + ending)
    )


def _log_beside(said: Said) -> str:
    return BESIDE


def _no_rate_said(said: Said) -> bool:
    return said["lr"] is None


def _first_seeds(count: int) -> tuple[int, ...]:
    return tuple(range(count))


def _seeds(said: Said) -> tuple[int, ...]:
    return (0,) if said["quick"] else (0, 1, 2)


@dataclass(frozen=True)
class CompressSettings:
    """`qtrain compress`: model, data, budget, fit, and the output file; or how a model changes a base.

    With `own_lr` the learning rate follows from the number of trained numbers, and the fit's is not used.
    """

    model: Annotated[ModelSettings, Inside("path", BASE_ITSELF)]
    data: DataSettings
    budget: BudgetSettings
    fit: Annotated[FitSettings, Inside("lr", Otherwise(_OWN_RATE))]
    out: Annotated[
        Path, Option("--out", "The artifact.", short="-o", kind="output"), _beside_model(".qtrain")
    ]
    resume: Resume = False
    force: Force = False
    teacher_any: TeacherAny = False
    own_lr: Annotated[bool, Otherwise(rule=_no_rate_said)] = False
    change: ChangeSettings = field(default_factory=ChangeSettings)
    log: Annotated[str, LOG, Otherwise("the artifact's name + .jsonl", _log_beside)] = NO_LOG
    dry_run: DryRun = False


@dataclass(frozen=True)
class PlanSettings:
    """`qtrain plan`: like compress, without data, training or an output."""

    model: Annotated[ModelSettings, Inside("path", BASE_ITSELF)]
    budget: BudgetSettings
    fit: FitSettings
    input_shape: Annotated[
        tuple[int, ...] | dict[str, tuple[int, ...]],
        Option(
            "--input-shape", "Of one input, e.g. 1,28,28 or 'tokens=12 mask=12': times whole steps.",
            read=parse_shapes,
        ),
    ] = ()  # fmt: skip
    change: ChangeSettings = field(default_factory=ChangeSettings)


@dataclass(frozen=True)
class CompareSettings:
    """`qtrain compare`: model and data as for compress, byte budgets, methods by name, seeds, outputs.

    `state` is the folder that finished cells are kept in. The fit's own seed and rate are not used.
    """

    model: Annotated[ModelSettings, Inside("path", BASE_ITSELF)]
    data: DataSettings
    budgets: Annotated[
        tuple[int, ...],
        Option("--bytes", "Budgets of the finished file, e.g. 600,1KB,2KB.", read=parse_sizes, kind="row"),
    ]
    methods: Annotated[
        tuple[str, ...],
        Option(
            "--methods", "{choices}; several with commas.", choices="methods", every=True, read=parse_names,
            kind="row",
        ),
        Otherwise("all"),
    ]  # fmt: skip
    seeds: Annotated[
        tuple[int, ...],
        Option(
            "--seeds", "How many seeds: 0, 1, ...", typed=int, least=1,
            read=_first_seeds,
        ),
        Otherwise("3, or 1 with --quick", _seeds),
    ]  # fmt: skip
    fit: FitSettings
    state: Annotated[
        Path, Option("--state", "Folder for finished cells.", kind="output"), _beside_model(".compare")
    ]
    quick: Annotated[bool, Option("--quick", "A quarter of the epochs, nothing tuned: a first look.")] = False
    markdown: Markdown = None
    plot: Plot = None
    force: Force = False
    teacher_any: TeacherAny = False
    change: ChangeSettings = field(default_factory=ChangeSettings)
    targets: GeneratedOnly = ()
    ignore: KeptAsTheyAre = ()
    html: Html = None
    dry_run: DryRun = False

    def __post_init__(self) -> None:
        for option, values in (
            ("--bytes", self.budgets),
            ("--methods", self.methods),
            ("--seeds", self.seeds),
        ):
            require(bool(values), f"{option} names nothing", "give at least one")
            require(
                len(set(values)) == len(values), f"{option} names {_twice(values)} twice", "give each once"
            )
        check_chosen(self.data.validation, "compare tunes")
        require(max(self.budgets) < MAX_BUDGET, f"--bytes is {max(self.budgets)}; allowed: below 2**63")
        check_plot(self.plot)


def _twice(values: tuple[Any, ...]) -> Any:
    return next((value for value in values if values.count(value) > 1), None)
