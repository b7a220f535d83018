"""`qtrain compare`: the same model through every method at each byte budget, and what that says.

    for each budget, for each method:  tune on the validation rows of seed 0 -> a file for each seed
                                       -> load it back -> all test rows -> a cell
    cells -> means, intervals, differences -> verdict

Everyone gets the same rows, teacher, batch size, epochs and tuning: a few learning rates and widths, in a
quarter of the epochs, the best of them by validation. Test rows are used once a cell, on what its file gives
back. Ours is `qtrain compress` itself, handed in, because commands do not import each other.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from qtrain_cli.artifact.container import read_container
from qtrain_cli.artifact.description import bytes_before_numbers
from qtrain_cli.artifact.numbers import read_artifact
from qtrain_cli.artifact.packed import header_bytes, restored
from qtrain_cli.artifact.size import Known, bytes_bound, known_of
from qtrain_cli.data import Dataset, load_data
from qtrain_cli.errors import BadInput, RunFailed, UsageError, suggestion
from qtrain_cli.files.atomic import check_output
from qtrain_cli.files.hashing import file_sha256
from qtrain_cli.files.outputs import check_picture
from qtrain_cli.methods.generator.planning import plan_generator
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.methods.method import Choice, Scene, Unsuited
from qtrain_cli.methods.recipes import RECIPES
from qtrain_cli.methods.table import METHODS, OURS, Contender
from qtrain_cli.models import LoadedModel, load_model
from qtrain_cli.models.call import predict
from qtrain_cli.results import Record
from qtrain_cli.results.comparison import DONE, FAILED, UNREACHED, UNSUITED, Cell, Comparison, pack_rows
from qtrain_cli.results.versions import VERSION
from qtrain_cli.runs.cells import CellFolder
from qtrain_cli.runs.regenerate import regenerate
from qtrain_cli.settings import BudgetSettings, CompareSettings, CompressSettings, own_rate
from qtrain_cli.targets.layout import layout_of
from qtrain_cli.targets.size import model_bytes as model_bytes_of
from qtrain_cli.tasks.objective import Objective, check_outputs
from qtrain_cli.training import TRAINING
from qtrain_cli.training.devices import on_device, resolve_device
from qtrain_cli.training.fit import Progress
from qtrain_cli.training.measure import row_scores
from qtrain_cli.training.rival_loop import Lap, Lesson, Sized, fitting

Compress = Callable[[CompressSettings, Callable[[Progress], None], Callable[[str], None]], Record]
Log = Callable[[str], None]
#: Tuning has this share of the epochs.
TUNING_SHARE = 0.25
#: ``--quick``: this share of the epochs, nothing tuned.
QUICK_SHARE = 0.25
_DIVERGED = "is not finite"


@dataclass
class _Job:
    """What one call works on. `data` has the splits of each seed, made when they are first asked for."""

    settings: CompareSettings
    loaded: LoadedModel
    device: torch.device
    cells: CellFolder
    compress: Compress
    log: Log
    data: dict[int, Dataset] = field(default_factory=dict)
    taught: dict[int, Tensor] = field(default_factory=dict)

    @property
    def teacher(self) -> dict[str, Tensor]:
        return on_device(self.loaded.module.state_dict(keep_vars=True), self.device)

    def rows(self, seed: int) -> Dataset:
        """The data, with the validation rows that this seed sets apart."""
        if seed not in self.data:
            self.data[seed] = load_data(self.settings.data, seed).for_lookups(self.loaded.looks_up)
        return self.data[seed]

    def objective(self, seed: int) -> Objective:
        fit = self.settings.fit
        return Objective(self.rows(seed).task, fit.distill, fit.temperature)

    def lesson(self, seed: int, epochs: int) -> Lesson:
        """What the rivals learn from; the teacher's outputs are computed once."""
        data = self.rows(seed)
        if seed not in self.taught:
            self.taught[seed] = predict(
                self.loaded.module, self.teacher, data.train.inputs, data.normalisation
            )
        return Lesson(
            data.train, data.validation, data.normalisation, self.objective(seed), self.taught[seed],
            epochs, self.settings.fit.batch_size,
        )  # fmt: skip

    def scene(self, seed: int) -> Scene:
        data, module = self.rows(seed), self.loaded.module
        sample = predict(module, self.teacher, data.train.inputs[:2], data.normalisation)
        check_outputs(data.task, sample, data.train.targets[:2], data.classes)
        return Scene(
            module, self.teacher, layout_of(module), tuple(data.train.inputs.shape[1:]),
            tuple(sample.shape[1:]), seed, self.device,
        )  # fmt: skip


def run(settings: CompareSettings, compress: Compress, log: Log) -> Comparison:
    """Runs every cell that is not there yet, and compares.

    Args:
        settings: model, data, budgets, methods, seeds, fit, outputs.
        compress: `commands.compress.run`.
        log: called with a line for each cell.

    Raises:
        UsageError, BadInput, Refused: before anything is trained, for what cannot be done.
        Interrupted, RunFailed: finished cells are kept; the same call goes on.
    """
    _check(settings)
    job = _prepare(settings, compress, log)
    return _compared(job, _all_cells(job))


def _check(settings: CompareSettings) -> None:
    for name in settings.methods:
        if name not in METHODS:
            raise UsageError(f"the method '{name}' does not exist", suggestion(name, METHODS))
    inputs = [settings.model.path, Path(settings.data.source)]
    if settings.markdown:
        check_output(settings.markdown, settings.force, inputs)
    check_picture(settings.plot, settings.force, inputs)


def _prepare(settings: CompareSettings, compress: Compress, log: Log) -> _Job:
    device = resolve_device(settings.fit.device)
    loaded = load_model(settings.model)
    loaded.module.to(device)
    data = load_data(settings.data, settings.fit.seed).for_lookups(loaded.looks_up)
    log(f"data: {len(data.train):,} train, {len(data.validation):,} validation, {len(data.test):,} test rows")
    fit = replace(settings.fit, device=str(device)).for_rows(len(data.train))
    if settings.quick:
        fit = replace(fit, epochs=max(2, round(fit.epochs * QUICK_SHARE)))
    settings = replace(settings, fit=fit)
    cells = CellFolder(settings.state, _identity(settings, loaded, data), log)
    return _Job(settings, loaded, device, cells, compress, log, {settings.fit.seed: data})


def _identity(settings: CompareSettings, loaded: LoadedModel, data: Dataset) -> str:
    """Everything that a cell depends on, besides what its name says."""
    source, _, name = (settings.model.arch or "").rpartition(":")
    fit = asdict(settings.fit)
    known = {
        "model": loaded.sha256,
        "arch": [file_sha256(Path(source)) if source.endswith(".py") else source, name],
        "arch_args": settings.model.arch_args,
        "weights": settings.model.weights or "",
        "data": data.sha256,
        "normalisation": [settings.data.mean, settings.data.std, settings.data.validation],
        "fit": {key: fit[key] for key in ("distill", "temperature", "batch_size", "device")},
        "training": TRAINING,
        "versions": {"qtrain": VERSION, "torch": str(torch.__version__)},
    }
    return json.dumps(known, sort_keys=True)


def _all_cells(job: _Job) -> list[Cell]:
    """The cells of every budget, method and seed, with a line for each on how long it is going to take."""
    settings, found = job.settings, []
    names = [name for name in METHODS if name in settings.methods]
    whole, started, fresh = len(settings.budgets) * len(names), time.monotonic(), 0
    for place, (budget, name) in enumerate((b, n) for b in settings.budgets for n in names):
        before = time.monotonic()
        cells = _cells_of(job, METHODS[name], budget)
        fresh += time.monotonic() - before > 1
        left = (time.monotonic() - started) / max(1, fresh) * (whole - place - 1)
        job.log(
            f"{place + 1}/{whole}  {_line(cells)}" + (f"  (about {left / 60:.0f} min left)" if fresh else "")
        )
        found += cells
    return found


def _line(cells: list[Cell]) -> str:
    first = cells[0]
    figures = ", ".join(f"{cell.validation:.4g}" for cell in cells if cell.validation is not None)
    said = f"validation {figures}" if figures else f"{first.end} {first.note}".strip()
    return f"{first.budget:,} bytes  {first.method}: {said}"


def _cells_of(job: _Job, row: Contender, budget: int) -> list[Cell]:
    """One method at one budget: tuned on the first seed, then a cell for each seed.

    Where nothing is tuned, the first width whose file fits.
    """
    settings = job.settings
    first, *others = settings.seeds
    choices = [Choice(row.rates[0], width) for width in row.widths]
    if not settings.quick:
        choices = [_tuned(job, row, budget, first)]
    for choice in choices:
        cell = _cell(job, row, budget, first, choice, settings.fit.epochs)
        if cell.end != UNREACHED:
            break
    if cell.end in (UNREACHED, UNSUITED):
        return [replace(cell, seed=seed) for seed in settings.seeds]
    return [cell, *(_cell(job, row, budget, seed, choice, settings.fit.epochs) for seed in others)]


def _tuned(job: _Job, row: Contender, budget: int, seed: int) -> Choice:
    """The rate and width that do best on the validation rows in a part of the epochs."""
    epochs = max(2, round(job.settings.fit.epochs * TUNING_SHARE))
    tried: dict[Choice, float] = {}

    def try_out(choice: Choice) -> None:
        cell = _cell(job, row, budget, seed, choice, epochs, tuning=True)
        if cell.end == DONE and cell.validation is not None:
            tried[choice] = cell.validation

    def best() -> Choice:
        if not tried:
            return Choice(row.rates[0], row.widths[0])
        objective = job.objective(seed)
        found = next(iter(tried))
        for choice, score in tried.items():
            found = choice if objective.better(score, tried[found]) else found
        return found

    for rate in row.rates:
        try_out(Choice(rate, row.widths[0]))
    rate = best().lr
    for width in row.widths[1:]:
        try_out(Choice(rate, width))
    return best()


def _cell(
    job: _Job, row: Contender, budget: int, seed: int, choice: Choice, epochs: int, tuning: bool = False
) -> Cell:
    """One training, from the state folder when it is there; test rows only when it is not for tuning."""
    name = f"{row.name}-{budget}-s{seed}-lr{choice.lr:g}-b{choice.bits}-e{epochs}" + "-t" * tuning
    done = job.cells.load(name)
    if done:
        return done
    started = time.monotonic()
    cell = Cell(row.name, budget, seed, FAILED, lr=choice.lr, bits=choice.bits)
    make = _ours if row.name == OURS else _rival
    try:
        cell, data = make(job, cell, epochs, name)
    except Unsuited as error:
        return replace(cell, end=UNSUITED, note=error.message)
    except RunFailed as error:
        if _DIVERGED not in error.message:
            raise
        cell, data = replace(cell, note=error.message), None
    if cell.end == DONE and not tuning:
        cell = _judged(job, cell, data if data is not None else job.cells.file_of(name).read_bytes(), name)
    cell = replace(cell, seconds=time.monotonic() - started)
    job.cells.save(name, cell, data)
    return cell


def _rival(job: _Job, cell: Cell, epochs: int, name: str) -> tuple[Cell, bytes | None]:
    """Trains a rival: its cell without a test figure, and its file."""
    recipe, scene = RECIPES[cell.method], job.scene(cell.seed)
    count = _ours_count(job, cell) if recipe.row.control else None
    chosen = fitting(recipe, scene, cell.bits, cell.budget, count)
    if chosen.bytes > cell.budget:
        return replace(cell, end=UNREACHED, file_bytes=_smallest(job, cell, chosen)), None
    cell = _rated(cell, recipe.row, chosen.numbers)
    lap = Lap(chosen, scene, job.lesson(cell.seed, epochs), Choice(cell.lr, cell.bits), cell.budget)
    found = lap.run()
    if found is None:
        return replace(cell, end=UNREACHED, file_bytes=chosen.bytes), None
    done = _done(cell, found.data, found.numbers, found.score)
    return replace(done, header_bytes=header_bytes(found.data)), found.data


def _rated(cell: Cell, row: Contender, numbers: int) -> Cell:
    """The cell with the rate itself, where its method's rates are multiples of compress's own."""
    return replace(cell, lr=cell.lr * own_rate(numbers)) if row.relative_rates else cell


def _smallest(job: _Job, cell: Cell, chosen: Sized) -> int:
    """What the smallest file takes at the fewest bits that are tried."""
    fewest = min(METHODS[cell.method].widths)
    return fitting(chosen.recipe, job.scene(cell.seed), fewest, 0).bytes


def _done(cell: Cell, data: bytes, numbers: int, validation: float | None) -> Cell:
    digest = hashlib.sha256(data).hexdigest()
    return replace(
        cell, end=DONE, file_bytes=len(data), file_sha256=digest, numbers=numbers, validation=validation
    )


def _ours(job: _Job, cell: Cell, epochs: int, name: str) -> tuple[Cell, bytes | None]:
    """Ours by `qtrain compress`, with its own checkpoint beside the cell."""
    try:
        spec = _ours_spec(job, cell.seed, cell.bits, cell.budget)
    except BadInput:
        smallest, known = _ours_spec(job, cell.seed, cell.bits, None), _ours_known(job, cell.seed, epochs)
        return replace(cell, end=UNREACHED, file_bytes=bytes_bound(smallest, known)), None
    cell = _rated(cell, METHODS[OURS], spec.trained_numbers)
    settings, path = job.settings, job.cells.file_of(name)
    record = job.compress(
        CompressSettings(
            settings.model,
            settings.data,
            BudgetSettings(bytes=cell.budget, angle_bits=cell.bits, bare=True),
            replace(settings.fit, seed=cell.seed, epochs=epochs, lr=cell.lr),
            path,
            resume=True,
            force=True,
        ),
        lambda progress: None,
        lambda line: None,
    )
    container = read_container(path)
    done = _done(cell, container.data, record.design.trained_numbers, record.scores.validation)
    return replace(done, header_bytes=bytes_before_numbers(container)), container.data


def _ours_spec(job: _Job, seed: int, bits: int, budget: int | None) -> GeneratorSpec:
    """Ours within a budget; without one the smallest there is. Raises `BadInput` where none is so small."""
    layout = layout_of(job.loaded.module)
    wanted = BudgetSettings(bytes=budget, layers=None if budget else 1, angle_bits=bits, bare=True)
    known = _ours_known(job, seed, job.settings.fit.epochs)
    return plan_generator(layout, wanted, seed, lambda spec: bytes_bound(spec, known))


def _ours_known(job: _Job, seed: int, epochs: int) -> Known:
    fit = replace(job.settings.fit, seed=seed, epochs=epochs, device=str(job.device))
    return known_of(fit, job.loaded, job.rows(seed), bare=True)


def _ours_count(job: _Job, cell: Cell) -> int | None:
    """How many numbers ours has at this budget, with the width that it was tuned to; None: it has no file."""
    row = METHODS[OURS]
    first = job.settings.seeds[0]
    tuned = OURS in job.settings.methods and not job.settings.quick
    width = _tuned(job, row, cell.budget, first).bits if tuned else row.widths[0]
    try:
        return _ours_spec(job, cell.seed, width, cell.budget).trained_numbers
    except BadInput:
        return None


def _judged(job: _Job, cell: Cell, data: bytes, name: str) -> Cell:
    """The cell with its test figure: of the tensors that the finished file gives back."""
    rows = job.rows(cell.seed)
    module, state = _loaded_back(job, cell, data, name)
    outputs = predict(module, on_device(state, job.device), rows.test.inputs, rows.normalisation)
    scores = row_scores(outputs, rows.test.targets, rows.task)
    return replace(cell, test=float(scores.mean()), rows=pack_rows(scores.tolist()))


def _loaded_back(job: _Job, cell: Cell, data: bytes, name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    if cell.method == OURS:
        return job.loaded.module, regenerate(read_artifact(job.cells.file_of(name))).state
    method, plan, state = restored(data)
    return RECIPES[method].module(job.scene(cell.seed), plan), state


def _compared(job: _Job, cells: list[Cell]) -> Comparison:
    settings = job.settings
    data = job.rows(settings.seeds[0])
    taught = predict(job.loaded.module, job.teacher, data.test.inputs, data.normalisation)
    teacher = float(row_scores(taught, data.test.targets, data.task).mean())
    return Comparison(
        model=job.loaded.name,
        task=data.task,
        teacher=teacher,
        count=len(data.test),
        model_bytes=model_bytes_of(layout_of(job.loaded.module)),
        epochs=settings.fit.epochs,
        seeds=settings.seeds,
        budgets=settings.budgets,
        methods=tuple(row for name, row in METHODS.items() if name in settings.methods),
        cells=tuple(cells),
    )
