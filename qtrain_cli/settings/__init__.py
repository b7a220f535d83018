"""What the user asked for: frozen records that refuse bad values. Standard library only.

`cli` fills them (`records`) from options and `qtrain.toml` (`parsing`); commands take them and nothing else.
Every refusal says the value, what was allowed and what to do next.
"""

from qtrain_cli.settings.parsing import (
    EXACT_SHOTS,
    parse_arguments,
    parse_floats,
    parse_shape,
    parse_shots,
    parse_size,
    parse_sizes,
)
from qtrain_cli.settings.records import (
    MAX_BUDGET,
    MAX_SEED,
    PLOT_ENDINGS,
    BudgetSettings,
    CompareSettings,
    CompressSettings,
    DataSettings,
    ExportSettings,
    FitSettings,
    GateSettings,
    GradientSettings,
    ModelSettings,
    PlanSettings,
    ReportSettings,
    SampleSettings,
    own_rate,
)

__all__ = [
    "EXACT_SHOTS",
    "MAX_BUDGET",
    "MAX_SEED",
    "PLOT_ENDINGS",
    "BudgetSettings",
    "CompareSettings",
    "CompressSettings",
    "DataSettings",
    "ExportSettings",
    "FitSettings",
    "GateSettings",
    "GradientSettings",
    "ModelSettings",
    "PlanSettings",
    "ReportSettings",
    "SampleSettings",
    "own_rate",
    "parse_arguments",
    "parse_floats",
    "parse_shape",
    "parse_shots",
    "parse_size",
    "parse_sizes",
]
