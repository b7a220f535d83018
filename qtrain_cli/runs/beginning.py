"""What `compress` and `compare` begin with: a model that was measured on its data, and the fit for both.

model, rows -> device, threads -> examined -> the data as the model takes them -> rows of a step, epochs
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from qtrain_cli.data import Dataset
from qtrain_cli.data.inputs import numbers_in_row
from qtrain_cli.models import LoadedModel
from qtrain_cli.models.arguments import said_call
from qtrain_cli.models.outputs import noting_choice, recorded
from qtrain_cli.runs.examination import Examined, asked, examine, look_at
from qtrain_cli.runs.grounds import BaseModel, base_under
from qtrain_cli.runs.making import Log, check_temperature, fit_for, teacher_of
from qtrain_cli.runs.materials import Materials
from qtrain_cli.settings import FitSettings
from qtrain_cli.training.descent import seed_generators
from qtrain_cli.training.devices import numbers_in, resolve_device, share_out


@dataclass(frozen=True)
class Begun:
    """The model on the fit's device, the data as it takes them, and the fit with nothing left open; `base` is
    what the model changes."""

    loaded: LoadedModel
    examined: Examined
    data: Dataset
    fit: FitSettings
    base: BaseModel | None = None


def begin(materials: Materials, fit: FitSettings, teacher_any: bool, log: Log) -> Begun:
    """Begins a run. `log` gets a line for each thing that was chosen.

    Raises:
        UsageError, BadInput, Refused: as the materials, and `examine`.
    """
    device, loaded = resolve_device(fit.device), materials.model()
    data = materials.rows(fit.seed)
    base = base_under(materials, loaded, data, log)
    loaded.module.to(device)
    share_out(numbers_in(loaded.module), numbers_in_row(data.train.inputs), device)
    seed_generators(fit.seed)  # a model may draw in evaluation too
    for line in (*loaded.said, *said_call(loaded.module, data.train.inputs)):
        log(line)
    asks = asked(loaded.module, teacher_of(loaded, device))
    with noting_choice(loaded.module, log) as noted:
        if base is None or base.taught:
            examined = examine(asks, data, loaded.looks_up, teacher_any, log)
        else:
            examined = look_at(asks, data, loaded.looks_up, log, says=not base.head)
            fit = replace(fit, distill=0.0, temperature_end=None)
    data = examined.of(data)
    check_temperature(fit, data)
    loaded = replace(loaded, output=recorded(loaded.output, noted))
    fit = fit if base is None else fit.for_change()
    fit = fit_for(replace(fit, device=str(device)), loaded.module, data, log, base is not None)
    return Begun(loaded, examined, data, fit, base)
