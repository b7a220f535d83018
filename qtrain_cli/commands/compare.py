"""`qtrain compare`: the same model through every method at each byte budget, and what that says.

    for each budget, for each method:  tune on validation rows of seed 0 -> a cell a seed (`runs.cells`)
    cells -> means, intervals, differences -> verdict

Everyone gets the same rows, teacher, batch size, epochs and tuning: a few learning rates and widths, in a
quarter of the epochs, the best of them by validation. Test rows are used once a cell, on what its file gives
back.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from qtrain_cli.errors import UsageError, suggestion
from qtrain_cli.files.atomic import check_output, write_bytes_atomically
from qtrain_cli.files.locks import held
from qtrain_cli.files.outputs import check_picture
from qtrain_cli.methods.method import Choice
from qtrain_cli.methods.table import METHODS, OURS, contender, serving
from qtrain_cli.models.call import outputs_of
from qtrain_cli.results.comparison import DONE, UNREACHED, UNSUITED, Cell, Comparison, Contender
from qtrain_cli.results.comparison_file import COMPARISON_FILE
from qtrain_cli.results.durations import duration
from qtrain_cli.results.rehearsal import Rehearsal
from qtrain_cli.results.verdict import verdict
from qtrain_cli.runs.beginning import Begun, begin
from qtrain_cli.runs.cell_folder import CellFolder, cells_in
from qtrain_cli.runs.cells import Bench, Trial, ours_count, rehearsed_trial, run_trial
from qtrain_cli.runs.fresh import check
from qtrain_cli.runs.grounds import headed
from qtrain_cli.runs.identity import anywhere, data_identity, model_identity, run_identity
from qtrain_cli.runs.making import Log
from qtrain_cli.runs.materials import Materials, of_files
from qtrain_cli.runs.outputs import input_files
from qtrain_cli.runs.rehearsing import rehearsal_of
from qtrain_cli.runs.targeting import chosen_target, tryout_of
from qtrain_cli.runs.whole import silent
from qtrain_cli.settings import BudgetSettings, CompareSettings
from qtrain_cli.targets.size import model_bytes
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training.descent import seed_generators
from qtrain_cli.training.devices import usual_threads
from qtrain_cli.training.loop import Show
from qtrain_cli.training.ranks import by_first, present
from qtrain_cli.training.synced import check_shared

#: Tuning has this share of the epochs.
TUNING_SHARE = 0.25
#: ``--quick``: this share of the epochs, nothing tuned.
QUICK_SHARE = 0.25
#: Of a fit: what a cell's own name says, and what a comparison has one of.
_OF_A_CELL = ("epochs", "lr", "seed", "gradient")


def run(settings: CompareSettings, log: Log, show: Show = silent) -> Comparison | Rehearsal:
    """`compare_methods`; with `dry_run` what it would take, and nothing is run. Raises as it does."""
    if not settings.dry_run:
        return compare_methods(settings, log, show)
    settings = _checked(settings)
    return _rehearsed(settings, of_files(settings.model, settings.data, settings.change), log)


@usual_threads()
def compare_methods(
    settings: CompareSettings, log: Log, show: Show = silent, materials: Materials | None = None
) -> Comparison:
    """Runs every cell that is not there yet, and compares.

    Args:
        settings: model, data, budgets, methods, seeds, fit, outputs.
        log: called with a line for each method at each budget.
        show: called after every training step, with the share of all cells that is done.
        materials: in place of the files that the settings name.

    Raises:
        UsageError, BadInput, Refused: before anything is trained, for what cannot be done.
        RunFailed: another run is at work on these cells.
        Interrupted, RunFailed: finished cells are kept; the same call goes on.
    """
    settings = _checked(settings)
    files = of_files(settings.model, settings.data, settings.change)
    bench = _prepare(settings, materials or files, log)
    bench.whole.show = show
    with by_first(held(bench.cells.folder)):
        cells = _all_cells(bench)
        return present().led(lambda: _kept(bench, _compared(bench, cells)))


@usual_threads()
def _rehearsed(settings: CompareSettings, materials: Materials, log: Log) -> Rehearsal:
    """Each method at the largest budget, as many trainings as its epochs at all budgets are."""
    with TemporaryDirectory() as folder:
        bench = _prepare(replace(settings, state=Path(folder) / "cells"), materials, log)
        there = cells_in(settings.state / bench.cells.folder.name)
        found, seed = bench.settings, bench.settings.seeds[0]
        parts = []
        for name in found.methods:
            row = contender(name, bench.base is not None)
            trial = Trial(
                row, max(found.budgets), seed, Choice(row.rates[0], row.widths[0]), found.fit.epochs
            )
            times = round(_weight(found, row) * len(found.budgets) / found.fit.epochs)
            parts.append(rehearsed_trial(bench, trial, times))
    notes = ["tuning counts by its epochs; a budget that a method does not reach takes no time"]
    notes += [
        f"{name} does not suit this model, or has no file of {max(found.budgets):,} bytes"
        for name, part in zip(found.methods, parts, strict=True)
        if not part
    ]
    notes += [f"'{settings.state}' has files of {there} cells, which are not made again"] if there else []
    writes = (settings.state, settings.markdown, settings.plot, settings.html)
    return rehearsal_of("compare", found.fit.device, [part for part in parts if part], writes, notes)


def _kept(bench: Bench, found: Comparison) -> Comparison:
    """The same, with its document in the state folder, where a page of the same model's artifact finds it."""
    text = json.dumps(found.to_json(verdict(found)), allow_nan=False, indent=1)
    write_bytes_atomically(bench.cells.folder / COMPARISON_FILE, text.encode(), force=True)
    return found


def _checked(settings: CompareSettings) -> CompareSettings:
    """The settings with those methods that serve here, where all were meant. Raises `UsageError`."""
    changes = settings.change.base is not None
    known = serving(changes)
    for name in settings.methods:
        if name not in METHODS:
            raise UsageError(f"the method '{name}' does not exist", suggestion(name, METHODS))
        if name not in known and settings.methods != tuple(METHODS):
            what = "changes to a base (--base)" if changes else "a whole model, without --base"
            raise UsageError(f"the method '{name}' is none for {what}", f"choose of {', '.join(known)}")
    inputs = input_files(settings.model, settings.data)
    for path in filter(None, (settings.markdown, settings.html)):
        check_output(path, settings.force, inputs)
    check_picture(settings.plot, settings.force, inputs)
    return replace(settings, methods=tuple(name for name in settings.methods if name in known))


def _prepare(settings: CompareSettings, materials: Materials, log: Log) -> Bench:
    begun = begin(materials, settings.fit, settings.teacher_any, log)
    loaded, data, fit = begun.loaded, begun.data, begun.fit
    log(f"data: {data.rows_in_words}")
    if settings.quick:
        fit = replace(fit, epochs=max(2, round(fit.epochs * QUICK_SHARE)))
    settings = replace(settings, fit=fit)
    cells = CellFolder(settings.state, _identity(settings, begun, materials), log)
    budget = BudgetSettings(
        bytes=max(settings.budgets), bare=True, targets=settings.targets, ignore=settings.ignore
    )
    tryout = tryout_of(materials, fit, known=present().led(lambda: cells.target))
    base, targets = chosen_target(replace(begun, fit=fit), budget, settings.model, tryout, log)
    if base and base.wanted and base is not begun.base:
        kind = base.wanted.kind
        present().led(lambda: cells.keep_target(kind))
    settings = replace(settings, targets=targets)
    bench = Bench(settings, loaded, cells, log, begun.examined, materials, data={fit.seed: data}, base=base)
    scene = bench.scene(fit.seed)
    check_shared(scene.module)
    again = headed(materials.fresh(loaded, scene.device), scene.ground)
    bench.fresh = check(scene, again, data.train.inputs, data.normalisation)
    if bench.fresh.note:
        log(f"{loaded.name}: {bench.fresh.note}")
    return bench


def _identity(settings: CompareSettings, begun: Begun, materials: Materials) -> str:
    """Everything that a cell depends on, besides what its name says."""
    fit = {name: value for name, value in asdict(settings.fit).items() if name not in _OF_A_CELL}
    model = model_identity(settings.model, begun.loaded.sha256)
    own = materials.identity | _changed(settings, begun)
    whole_run = run_identity(model, data_identity(settings.data, begun.data), fit, own)
    return json.dumps(anywhere(whole_run), sort_keys=True)


def _changed(settings: CompareSettings, begun: Begun) -> dict[str, str]:
    """Of a comparison of changes: the base, and what was asked for; of any, which tensors."""
    patterns = settings.targets + settings.ignore
    own = {"patterns": repr((settings.targets, settings.ignore))} if patterns else {}
    base = begun.base
    return own if base is None else {**own, "base": base.sha256, "target": repr(settings.change.target)}


def _all_cells(bench: Bench) -> list[Cell]:
    """The cells of every budget, method and seed, with a line for each on how long it is going to take."""
    settings, found = bench.settings, []
    names = [name for name in METHODS if name in settings.methods]
    rows = [contender(name, bench.base is not None) for name in names]
    weights = [_weight(settings, row) for _ in settings.budgets for row in rows]
    started = time.monotonic()
    for place, (budget, row) in enumerate((b, row) for b in settings.budgets for row in rows):
        bench.whole.left = sum(weights[place:])
        cells = _cells_of(bench, row, budget)
        left, done = sum(weights[place + 1 :]), bench.whole.done
        time_left = f"  (about {duration((time.monotonic() - started) / done * left)} left)" if done else ""
        bench.log(f"{place + 1}/{len(weights)}  {_line(cells)}{time_left if left else ''}")
        found += cells
    return found


def _weight(settings: CompareSettings, row: Contender) -> float:
    """The epochs that a method trains at one budget: its tuning, then every seed."""
    epochs, tried = settings.fit.epochs, len(row.rates) + len(row.widths) - 1
    tuning = 0 if settings.quick else tried * _tuning_epochs(settings)
    return float(tuning + epochs * len(settings.seeds))


def _tuning_epochs(settings: CompareSettings) -> int:
    return max(2, round(settings.fit.epochs * TUNING_SHARE))


def _line(cells: list[Cell]) -> str:
    first = cells[0]
    figures = ", ".join(f"{cell.validation:.4g}" for cell in cells if cell.validation is not None)
    said = f"validation {figures}" if figures else f"{first.end} {first.note}".strip()
    return f"{first.budget:,} bytes  {first.method}: {said}"


def _cells_of(bench: Bench, row: Contender, budget: int) -> list[Cell]:
    """One method at one budget: tuned on the first seed, then a cell for each seed.

    Where nothing is tuned, the first width whose file fits.
    """
    settings = bench.settings
    first, *others = settings.seeds
    choices = [Choice(row.rates[0], width) for width in row.widths]
    if not settings.quick:
        choices = [_tuned(bench, row, budget)]
    for choice in choices:
        cell = run_trial(bench, _trial(bench, row, budget, first, choice))
        if cell.end != UNREACHED:
            break
    if cell.end in (UNREACHED, UNSUITED):
        return [replace(cell, seed=seed) for seed in settings.seeds]
    return [cell, *(run_trial(bench, _trial(bench, row, budget, seed, choice)) for seed in others)]


def _trial(bench: Bench, row: Contender, budget: int, seed: int, choice: Choice) -> Trial:
    """A whole training. A control has as many numbers as ours has here with its tuned bits."""
    trial = Trial(row, budget, seed, choice, bench.settings.fit.epochs)
    if not row.control:
        return trial
    ours, settings = contender(OURS, bench.base is not None), bench.settings
    tuned = OURS in settings.methods and not settings.quick
    width = _tuned(bench, ours, budget).bits if tuned else ours.widths[0]
    return replace(trial, most=ours_count(bench, replace(trial, choice=replace(choice, bits=width))))


def _tuned(bench: Bench, row: Contender, budget: int) -> Choice:
    """The rate and width that do best on the first seed's validation rows in a part of the epochs."""
    seed, epochs = bench.settings.seeds[0], _tuning_epochs(bench.settings)
    tried: dict[Choice, float] = {}

    def try_out(choice: Choice) -> None:
        trial = _trial(bench, row, budget, seed, choice)
        cell = run_trial(bench, replace(trial, epochs=epochs, tuning=True))
        if cell.end == DONE and cell.validation is not None:
            tried[choice] = cell.validation

    for rate in row.rates:
        try_out(Choice(rate, row.widths[0]))
    best = _best(bench.objective(seed), tried) or Choice(row.rates[0], row.widths[0])
    for width in row.widths[1:]:
        try_out(Choice(best.lr, width))
    return _best(bench.objective(seed), tried) or best


def _best(objective: Objective, tried: dict[Choice, float]) -> Choice | None:
    """The choice of the best score, the first one where several are equal; None where nothing was tried."""
    found = next(iter(tried), None)
    for choice, score in tried.items():
        found = choice if found is not None and objective.better(score, tried[found]) else found
    return found


def _compared(bench: Bench, cells: list[Cell]) -> Comparison:
    settings = bench.settings
    data = bench.rows(settings.seeds[0])
    scene = bench.scene(settings.seeds[0])
    seed_generators(settings.seeds[0])
    objective, test = bench.objective(settings.seeds[0]), data.test.targets
    taught = outputs_of(scene.module, scene.teacher, data.test.inputs, data.normalisation)
    teacher = objective.score_of(taught, test) if scene.taught else None
    return Comparison(
        model=bench.loaded.name,
        task=data.task,
        teacher=teacher,
        count=len(data.test),
        model_bytes=scene.ground.change.base.bytes if scene.ground else model_bytes(scene.layout),
        epochs=settings.fit.epochs,
        seeds=settings.seeds,
        budgets=settings.budgets,
        methods=tuple(row for name, row in METHODS.items() if name in settings.methods),
        cells=tuple(cells),
        trivial=objective.trivial(data.train.targets, test, scene.output_shape),
        model_sha256=bench.loaded.sha256,
        data_sha256=data.sha256,
    )
