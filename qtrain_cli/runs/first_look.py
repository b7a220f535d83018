"""A first look at a model and its data: what `qtrain init` writes down.

    model, data --> as they are fed: without normalisation, and by the train rows' mean and deviation
                --> the better of the two --begin--> task, fit --plan--> what some budgets buy

How a model was fed in its training stands in no file. Both ways are tried on rows of train and validation; no
test row is looked at, and a standardisation is taken only where it is better by more than chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qtrain_cli.artifact.description import design_of
from qtrain_cli.artifact.size import known_of
from qtrain_cli.data import Dataset, describe_data
from qtrain_cli.data.inputs import Inputs
from qtrain_cli.errors import BadInput, QtrainError
from qtrain_cli.files.spilled import let_go
from qtrain_cli.methods.generator.plan import plan_of
from qtrain_cli.methods.table import OURS
from qtrain_cli.models import LoadedModel
from qtrain_cli.models.call import file_state
from qtrain_cli.runs.beginning import Begun, begin
from qtrain_cli.runs.examination import MOST_WRITTEN, asked, look_at, rows_to_look_at
from qtrain_cli.runs.making import Log, scene_of
from qtrain_cli.runs.materials import Materials, of_files
from qtrain_cli.runs.sizing import Measure, planned_ours
from qtrain_cli.runs.targeting import Tryout, chosen_target, said_of_candidates
from qtrain_cli.settings import BudgetSettings, FitSettings, InitSettings
from qtrain_cli.tasks import TASKS

#: Of the model's numbers, one in so many.
RATIOS = (3, 5, 10, 30, 100, 300)
#: What `compress` takes where no budget is said, and `init` writes down.
USUAL_RATIO = 10
#: Bytes of a file of changes: a fine-tune moves little, whatever its model's size.
CHANGE_SIZES = (64_000, 16_000, 4_000, 2_000, 1_000)
USUAL_CHANGE = 2_000
_ROWS_AT_ONCE, _DIGITS = 1024, 4


@dataclass(frozen=True)
class Feeding:
    """A way to feed the model: mean and deviation, none of both for inputs as they are, and the figure."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    figure: float
    low: float
    high: float


@dataclass(frozen=True)
class BudgetRow:
    """What one budget buys; the bytes are an upper bound."""

    params: int
    artifact_bytes: int
    bytes_ratio: float


@dataclass(frozen=True)
class FirstLook:
    """All that was found. `feedings` has the chosen one first, and is empty where there was no choice; `note`
    is on the target of a change, where that is left to `compress`."""

    loaded: LoadedModel
    begun: Begun
    facts: dict[str, object]
    feedings: tuple[Feeding, ...]
    budgets: tuple[BudgetRow, ...]
    usual: int
    note: str = ""


def first_look(settings: InitSettings, log: Log) -> FirstLook:
    """Loads both, and measures.

    Raises:
        UsageError, BadInput, Refused: as loading them, or the model is at chance however it is fed.
    """
    given = of_files(settings.model, settings.data, settings.change)
    loaded, data = given.model(), given.rows(settings.seed)
    feedings = () if _learns(given) else _feedings(loaded, data)
    if feedings:
        data = _normalised(data, feedings[0].mean, feedings[0].std)
    materials = replace(given, model=lambda: loaded, rows=lambda seed: data)
    begun = begin(materials, FitSettings(seed=settings.seed), False, log)
    budgets, usual = _budgets(settings, begun)
    note = "" if settings.change.target or settings.targets else _still_open(begun)
    return FirstLook(begun.loaded, begun, describe_data(begun.data), feedings, budgets, usual, note)


def _learns(given: Materials) -> bool:
    """Whether the model is the base itself: what it says of the labels so far tells nothing of its inputs."""
    return given.change is not None and given.change.base is None


def _still_open(begun: Begun) -> str:
    """Which targets `compress` will try, where there are several."""
    return said_of_candidates(begun.loaded.module) if begun.base else ""


def channel_statistics(inputs: Inputs) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation of pictures (N, C, H, W) by channel, of tables (N, k) by column as far as
    those are few, 8-bit ones divided by 255. None for what is neither, or where something never changes."""
    if not isinstance(inputs, Tensor) or inputs.dim() not in (2, 4) or not len(inputs):
        return None
    if inputs.dtype != torch.uint8 and not inputs.is_floating_point():
        return None
    channels = inputs.shape[1] if inputs.shape[1] <= MOST_WRITTEN else 1
    scale = 255 if inputs.dtype == torch.uint8 else 1
    sums, squares = torch.zeros(2, channels, dtype=torch.float64)
    for part in inputs.split(_ROWS_AT_ONCE):
        numbers = (part.double() / scale).reshape(len(part), channels, -1)
        sums += numbers.sum((0, 2))
        squares += numbers.square().sum((0, 2))
        let_go()
    count = inputs.numel() / channels
    mean = sums / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    return (_rounded(mean), _rounded(std)) if bool((std > 0).all()) else None


def _rounded(numbers: Tensor) -> tuple[float, ...]:
    return tuple(float(f"{number:.{_DIGITS}g}") for number in numbers.tolist())


def _feedings(loaded: LoadedModel, data: Dataset) -> tuple[Feeding, ...]:
    """As they are, and standardised, the better one first; nothing where inputs are no measured numbers, or
    something was said of them."""
    if data.normalisation.mean or data.for_lookups(loaded.looks_up).normalisation.tokens:
        return ()
    found = channel_statistics(data.train.inputs)
    if found is None:
        return ()
    plain, standardised = _fed(loaded, data, (), ()), _fed(loaded, data, *found)
    if plain is None or standardised is None:
        return tuple(one for one in (plain, standardised) if one)
    better = data.row.better(standardised.figure, data.row.worse_first((plain.low, plain.high))[1])
    return (standardised, plain) if better else (plain, standardised)


def _normalised(data: Dataset, mean: tuple[float, ...], std: tuple[float, ...]) -> Dataset:
    return replace(data, normalisation=replace(data.normalisation, mean=mean, std=std))


def _fed(
    loaded: LoadedModel, data: Dataset, mean: tuple[float, ...], std: tuple[float, ...]
) -> Feeding | None:
    """The figure of one way; None where the model does not take inputs so, or has no figure."""
    data = _normalised(data, mean, std)
    ask = asked(loaded.module, file_state(loaded.module))
    try:
        examined = look_at(ask, data, loaded.looks_up, lambda line: None, says=True)
    except BadInput:
        return None
    row = TASKS[examined.reading.task]
    if row.own_outputs:
        return None
    read = examined.of(data)
    inputs, targets = rows_to_look_at(data, _ROWS_AT_ONCE)
    counts = row.counts(ask(inputs, read.normalisation), examined.reading.targets(targets))
    return Feeding(mean, std, row.figure_of(counts), *row.interval_of(counts))


def _budgets(settings: InitSettings, begun: Begun) -> tuple[tuple[BudgetRow, ...], int]:
    """The budgets that can be planned, by falling size, and the usual one's numbers (the largest where that
    one cannot)."""
    patterns = BudgetSettings(targets=settings.targets, ignore=settings.ignore)
    base, targets = chosen_target(begun, patterns, settings.model, Tryout(False), lambda line: None)
    scene = scene_of(begun.loaded, begun.data, begun.fit, (targets, settings.ignore), settings.model, base)
    sizes = Measure(OURS, scene, known_of(begun.fit, begun.loaded, begun.data, change=scene.change))
    by_ratio = [(BudgetSettings(ratio=ratio), ratio <= USUAL_RATIO) for ratio in RATIOS]
    by_bytes = [(BudgetSettings(bytes=size), size >= USUAL_CHANGE) for size in CHANGE_SIZES]
    rows, usual = _planned(sizes, by_bytes if scene.change else by_ratio)
    if scene.change and not rows:  # of so few weights, the largest: most of the file is something else
        rows, usual = _planned(sizes, [(budget, False) for budget, _ in by_ratio])
    if not rows:
        raise BadInput(
            "no budget fits this model: it has too few weights",
            "ask `qtrain plan MODEL --params N`, or leave more tensors to it than --targets does",
        )
    return rows, usual


def _planned(
    sizes: Measure, budgets: Sequence[tuple[BudgetSettings, bool]]
) -> tuple[tuple[BudgetRow, ...], int]:
    """Those that buy a generator of fewer numbers than weights, by falling size; each comes with whether it
    is as large as the usual one."""
    rows: dict[int, BudgetRow] = {}
    usual = 0
    for budget, reaches in budgets:
        try:
            spec = planned_ours(sizes, budget)
        except QtrainError:
            continue
        size, numbers = sizes.bytes(plan_of(spec), spec.angles.bits), spec.trained_numbers
        if numbers < spec.layout.generated:
            ratio = design_of(spec, sizes.scene.change).bytes_ratio(size)
            rows.setdefault(numbers, BudgetRow(numbers, size, ratio))
            usual = numbers if reaches else usual or numbers
    return tuple(rows.values()), usual
