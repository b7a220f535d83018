"""What the user asked for: frozen records that refuse bad values. Standard library only.

    option, declared     how a setting is said, and what a record's fields say of it
    parsing              texts as values
    shared               options that several records have
    sources, budget, fit, lesson       records that commands share
    compression, artifacts, students, first, terminal       one record a command

Each option is written once, on the field that it fills. `cli` makes command lines of the records and fills
them; commands take them and nothing else. Every refusal says the value, what was allowed and what to do next.
"""

from qtrain_cli.settings.artifacts import (
    ExportSettings,
    GateSettings,
    ReportSettings,
    SampleSettings,
    VerifySettings,
)
from qtrain_cli.settings.budget import MAX_BUDGET, BudgetSettings
from qtrain_cli.settings.change import ChangeSettings
from qtrain_cli.settings.compression import CompareSettings, CompressSettings, PlanSettings
from qtrain_cli.settings.first import SAMPLE_DATA, SAMPLE_MODEL, CardSettings, HelpSettings, InitSettings
from qtrain_cli.settings.fit import FLOAT32, QNN_LR, FitSettings, GradientSettings, own_rate, rate_of
from qtrain_cli.settings.lesson import (
    ALIGNMENTS,
    SELF_METHODS,
    AlignSettings,
    CircuitSettings,
    SelfSettings,
)
from qtrain_cli.settings.parsing import EXACT_SHOTS
from qtrain_cli.settings.shared import MAX_SEED, PLOT_ENDINGS, AnyPath, ArtifactPath
from qtrain_cli.settings.sources import DataSettings, ModelSettings
from qtrain_cli.settings.students import (
    SHARPENED,
    TEACHINGS,
    CompareGradientsSettings,
    CompareStudentsSettings,
    TeachSettings,
)
from qtrain_cli.settings.task import TaskSettings
from qtrain_cli.settings.terminal import CommonSettings

__all__ = [
    "ALIGNMENTS",
    "EXACT_SHOTS",
    "FLOAT32",
    "MAX_BUDGET",
    "MAX_SEED",
    "PLOT_ENDINGS",
    "QNN_LR",
    "SAMPLE_DATA",
    "SAMPLE_MODEL",
    "SELF_METHODS",
    "SHARPENED",
    "TEACHINGS",
    "AlignSettings",
    "AnyPath",
    "ArtifactPath",
    "BudgetSettings",
    "CardSettings",
    "ChangeSettings",
    "CircuitSettings",
    "CommonSettings",
    "CompareGradientsSettings",
    "CompareSettings",
    "CompareStudentsSettings",
    "CompressSettings",
    "DataSettings",
    "ExportSettings",
    "FitSettings",
    "GateSettings",
    "GradientSettings",
    "HelpSettings",
    "InitSettings",
    "ModelSettings",
    "PlanSettings",
    "ReportSettings",
    "SampleSettings",
    "SelfSettings",
    "TaskSettings",
    "TeachSettings",
    "VerifySettings",
    "own_rate",
    "rate_of",
]
