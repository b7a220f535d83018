"""One cell of a comparison: a method at a budget with a seed, trained, written, loaded back and tested.

Every method goes the same way, ours too: sized in bytes (`sizing`), made (`making`), its file read back, its
tensors judged on the test rows. A cell that is in the state folder already is not made again, and one that
was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from qtrain_cli.artifact.container import container_of
from qtrain_cli.artifact.description import bytes_before_numbers
from qtrain_cli.artifact.numbers import Artifact, Coded, StoredNumbers, decode_artifact, encode_artifact
from qtrain_cli.artifact.size import known_of
from qtrain_cli.data import Dataset
from qtrain_cli.errors import BadInput
from qtrain_cli.methods.generator.plan import spec_of
from qtrain_cli.methods.generator.scrambling import check_start, start_variance
from qtrain_cli.methods.method import Choice, Scene, Unsuited
from qtrain_cli.methods.table import OURS, contender, method_of
from qtrain_cli.models import LoadedModel
from qtrain_cli.models.call import outputs_of
from qtrain_cli.results.comparison import DONE, FAILED, UNREACHED, UNSUITED, Cell, Contender, pack_rows
from qtrain_cli.results.rehearsal import TimedPart
from qtrain_cli.runs.cell_folder import CellFolder
from qtrain_cli.runs.examination import Examined
from qtrain_cli.runs.fresh import Fresh
from qtrain_cli.runs.grounds import BaseModel, on_cpu
from qtrain_cli.runs.identity import (
    Identity,
    data_identity,
    layout_identity,
    model_identity,
    run_identity,
)
from qtrain_cli.runs.making import Log, Made, Work, answers_of, finished_by, make, scene_of
from qtrain_cli.runs.materials import Materials
from qtrain_cli.runs.regenerate import regenerate
from qtrain_cli.runs.rehearsing import rehearsed_work
from qtrain_cli.runs.sizing import Measure
from qtrain_cli.runs.whole import WholeRun
from qtrain_cli.settings import CompareSettings, own_rate
from qtrain_cli.targets.change import DELTA, parse_target
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training.course import Teach
from qtrain_cli.training.descent import seed_generators
from qtrain_cli.training.devices import moved_to
from qtrain_cli.training.generated import Sized
from qtrain_cli.training.loop import Show
from qtrain_cli.training.ranks import present
from qtrain_cli.training.recovery import Diverged, Elsewhere, Recovery, checkpoint_path

#: `--targets` of a rival that changes all there is.
EVERYTHING = "*"
#: What a rival's file takes is foretold about: one that seems so much too large is tried all the same.
_NEARLY = 1.05


@dataclass
class Bench:
    """What the cells of one comparison share. What belongs to a seed is made when it is first asked for.
    `looked_at` are the budgets at which the start of ours was."""

    settings: CompareSettings
    loaded: LoadedModel
    cells: CellFolder
    log: Log
    examined: Examined
    materials: Materials
    fresh: Fresh = field(default_factory=lambda: Fresh(None))
    data: dict[int, Dataset] = field(default_factory=dict)
    scenes: dict[tuple[int, str], Scene] = field(default_factory=dict)
    answers: dict[int, Teach] = field(default_factory=dict)
    base: BaseModel | None = None
    whole: WholeRun = field(default_factory=WholeRun)
    looked_at: set[int] = field(default_factory=set)

    def rows(self, seed: int) -> Dataset:
        """The data, with the validation rows that this seed sets apart."""
        if seed not in self.data:
            self.data[seed] = self.examined.of(self.materials.rows(seed))
        return self.data[seed]

    def objective(self, seed: int) -> Objective:
        """What is learned and scored."""
        fit = self.settings.fit
        return self.rows(seed).objective(fit.distill, fit.temperature, fit.temperature_end)

    def scene(self, seed: int, target: str = "") -> Scene:
        """The model for the methods; of changes in the form of another `--target` than was asked for, where
        one is named: every tensor then, or the factors of those matrices that it takes by itself."""
        if (seed, target) not in self.scenes:
            fit = replace(self.settings.fit, seed=seed)
            seed_generators(seed)  # a model may draw in evaluation too
            settings, base = self.settings, self.base
            patterns = (settings.targets, settings.ignore)
            if target and base is not None:
                base = replace(base, wanted=parse_target(target))
                patterns = ((EVERYTHING,) if target == DELTA else (), ())
            scene = scene_of(self.loaded, self.rows(seed), fit, patterns, settings.model, base)
            # One copy of the teacher serves every form of changes.
            self.scenes[seed, target] = replace(scene, teacher=self.scene(seed).teacher) if target else scene
        return self.scenes[seed, target]

    def taught(self, seed: int) -> Teach:
        """The teacher's outputs, computed once."""
        if seed not in self.answers:
            seed_generators(seed)
            by_row = self.materials.by_row(self.settings.fit)
            self.answers[seed] = answers_of(self.scene(seed), self.rows(seed), by_row)
        return self.answers[seed]

    def sizes(self, row: Contender, seed: int, epochs: int) -> Measure:
        """What sizes a method's files."""
        fit = replace(self.settings.fit, seed=seed, epochs=epochs)
        try:
            scene = self.scene(seed, row.target)
        except BadInput as error:
            if not row.target:
                raise
            raise Unsuited(error.message) from error
        return Measure(row.name, scene, known_of(fit, self.loaded, self.rows(seed), True, scene.change))


@dataclass(frozen=True)
class Trial:
    """What one cell is: a method at a budget with a seed, its rate and bits, epochs, and what it is for.

    `most` is a bound of its size beside the budget's own: a control has no more numbers than ours.
    """

    row: Contender
    budget: int
    seed: int
    choice: Choice
    epochs: int
    tuning: bool = False
    most: int | None = None

    @property
    def name(self) -> str:
        """Of its files."""
        choice = self.choice
        tail = f"lr{choice.lr:g}-b{choice.bits}-e{self.epochs}" + "-t" * self.tuning
        return f"{self.row.name}-{self.budget}-s{self.seed}-{tail}"

    @property
    def said(self) -> str:
        """For people."""
        tuning = f", tuning rate {self.choice.lr:g}" if self.tuning else ""
        return f"{self.budget:,} bytes {self.row.name}, seed {self.seed}{tuning}"


def rehearsed_trial(bench: Bench, trial: Trial, trainings: int) -> TimedPart | None:
    """Some steps of a cell, timed; None where the method does not serve or has no file so small."""
    try:
        chosen = _chosen(bench, trial)
    except Unsuited:
        return None
    if isinstance(chosen, int):
        return None
    work = _work(bench, trial, chosen, own_rate(chosen.numbers, change=bench.base is not None))
    return rehearsed_work(work, trial.row.name, trainings, trial.budget)


def run_trial(bench: Bench, trial: Trial) -> Cell:
    """One cell, from the state folder when it is there; test rows are used only when it is not for tuning.

    Raises:
        Interrupted, RunFailed, BadInput: as `making.make`, but for a loss or gradient that is not finite.
    """
    done = present().led(lambda: _kept(bench, trial))
    if done:
        bench.whole.finish(trial.epochs, trained=False)
        return done
    started = time.monotonic()
    choice = trial.choice
    cell = Cell(trial.row.name, trial.budget, trial.seed, FAILED, lr=choice.lr, bits=choice.bits)
    try:
        cell, data = _trained(bench, trial, cell)
    except Unsuited as error:
        return replace(cell, end=UNSUITED, note=error.message)
    except Diverged as error:
        cell, data = replace(cell, note=error.message), None
    cell = present().led(partial(_ended, bench, trial, cell, data, started))
    bench.whole.finish(trial.epochs, trained=cell.end != UNREACHED)
    return cell


def _checkpoint(bench: Bench, trial: Trial) -> Path:
    return checkpoint_path(bench.cells.file_of(trial.name))


def _kept(bench: Bench, trial: Trial) -> Cell | None:
    """A cell that is there already."""
    done = bench.cells.load(trial.name)
    if done:
        _checkpoint(bench, trial).unlink(missing_ok=True)  # of a run that was killed between the two
    return done


def _ended(bench: Bench, trial: Trial, cell: Cell, data: bytes | None, started: float) -> Cell:
    """The cell with its test figure, once it is in the state folder."""
    if cell.end == DONE and data is not None and not trial.tuning:
        cell = _judged(bench, trial, cell, data)
    cell = replace(cell, seconds=time.monotonic() - started)
    bench.cells.save(trial.name, cell, data)
    _checkpoint(bench, trial).unlink(missing_ok=True)
    return cell


def _trained(bench: Bench, trial: Trial, cell: Cell) -> tuple[Cell, bytes | None]:
    """A cell without its test figure, and its file; no file where none of the method meets the budget."""
    chosen = _chosen(bench, trial)
    if isinstance(chosen, int):
        return replace(cell, end=UNREACHED, file_bytes=chosen), None
    changes = bench.base is not None
    rate = cell.lr * own_rate(chosen.numbers, change=changes) if trial.row.relative_rates else cell.lr
    work = _work(bench, trial, chosen, rate)
    _say_of_start(bench, trial, work)
    made = _made(bench, work, _checkpoint(bench, trial), bench.whole.of_part(trial.said, trial.epochs))
    data = _file_of(work, made.numbers)
    if len(data) > trial.budget:
        return replace(cell, lr=rate, end=UNREACHED, file_bytes=len(data)), None
    done = replace(
        cell,
        end=DONE,
        lr=rate,
        file_bytes=len(data),
        file_sha256=hashlib.sha256(data).hexdigest(),
        header_bytes=bytes_before_numbers(container_of(bench.cells.file_of(trial.name), data)),
        numbers=_count(chosen, made.numbers),
        validation=made.score,
    )
    return done, data


def _say_of_start(bench: Bench, trial: Trial, work: Work) -> None:
    """A line on outcomes of ours that are not spread at the start, as `compress` has it: once a budget,
    before the first training there, be it to tune. Raises `BadInput` where it does."""
    if trial.row.name != OURS or work.scene.ground or trial.budget in bench.looked_at:
        return
    bench.looked_at.add(trial.budget)
    spec = spec_of(work.chosen.layout, work.chosen.plan)
    said = check_start(spec, start_variance(spec, work.scene.device))
    if said:
        bench.log(f"{trial.budget:,} bytes  {OURS}: {said}")


def _made(bench: Bench, work: Work, checkpoint: Path, show: Show) -> Made:
    """The trained numbers; a cell that was begun on another machine is begun anew on this one."""
    recovery = Recovery(checkpoint, _identity(bench, work), resume=True)
    try:
        return make(work, recovery, show, lambda line: None)
    except Elsewhere as error:
        bench.log(f"{error.message}; this cell begins anew")
        present().led(lambda: checkpoint.unlink(missing_ok=True))
        return make(work, recovery, show, lambda line: None)


def _chosen(bench: Bench, trial: Trial) -> Sized | int:
    """The method at the size that fits, or the bytes of its smallest file where none does."""
    sizes, width = bench.sizes(trial.row, trial.seed, trial.epochs), trial.choice.bits
    try:
        plan = sizes.fitting(width, trial.budget, trial.most)
    except Unsuited:
        raise
    except BadInput:
        return sizes.bytes(sizes.method.plan(sizes.scene, 1), width)
    if sizes.bytes(plan, width) <= _NEARLY * trial.budget:
        return sizes.sized(plan)
    return sizes.bytes(sizes.method.plan(sizes.scene, 1), min(trial.row.widths))


def _work(bench: Bench, trial: Trial, chosen: Sized, rate: float) -> Work:
    fit = replace(bench.settings.fit, seed=trial.seed, epochs=trial.epochs, lr=rate)
    rows, scene = bench.rows(trial.seed), bench.scene(trial.seed, trial.row.target)
    bound = None if chosen.method.planned else trial.budget
    taught = bench.taught(trial.seed)
    given = bench.materials
    return Work(trial.row.name, chosen, scene, rows, fit, taught, bound, given.batches, given.own)


def _identity(bench: Bench, work: Work) -> Identity:
    """Of the cell's checkpoint: everything that it depends on."""
    settings, chosen = bench.settings, work.chosen
    own = {"method": work.name, "plan": chosen.plan, "layout": layout_identity(chosen.layout)}
    model = model_identity(settings.model, bench.loaded.sha256)
    return run_identity(
        model, data_identity(settings.data, work.data), work.fit, {**own, "budget": work.budget}
    )


def _file_of(work: Work, numbers: StoredNumbers) -> bytes:
    """The finished bare file."""
    _, digest = finished_by(work, numbers)
    description = replace(work.described(numbers), digest=digest)
    return encode_artifact(Artifact(description, numbers))


def _count(chosen: Sized, numbers: StoredNumbers) -> int:
    """How many numbers are stored; a pruned one is a position that is not."""
    if chosen.method.mask is None:
        return chosen.numbers
    parts = (group for group in numbers.groups.values() if isinstance(group, Coded))
    return sum(int(part.codes.count_nonzero()) for part in parts)


def _judged(bench: Bench, trial: Trial, cell: Cell, data: bytes) -> Cell:
    """The cell with its test figure: of the tensors that the finished file gives back."""
    rows, scene = bench.rows(trial.seed), bench.scene(trial.seed, trial.row.target)
    artifact = decode_artifact(container_of(bench.cells.file_of(trial.name), data), own=True)
    module = method_of(artifact.description.method).module(scene, artifact.description.plan)
    if module is scene.module and bench.fresh.module is not None:
        module = bench.fresh.module  # as in `compress`: what a user of the file has
    state = moved_to(regenerate(artifact, module, on_cpu(scene.ground)).state, scene.device)
    seed_generators(trial.seed)
    objective = bench.objective(trial.seed)
    found = outputs_of(module, state, rows.test.inputs, rows.normalisation)
    counts = objective.counts_of(found, rows.test.targets)
    scores = objective.row.row_scores(counts).tolist()
    return replace(cell, test=objective.row.figure_of(counts), rows=pack_rows(scores))


def ours_count(bench: Bench, trial: Trial) -> int | None:
    """How many numbers ours has at a trial's budget with its bits; None: it has no file so small."""
    chosen = _chosen(bench, replace(trial, row=contender(OURS, bench.base is not None), most=None))
    return None if isinstance(chosen, int) else chosen.numbers
