"""Which form changes to a base take, where nobody says: the one that learns better in a short training.

    candidates --a generator each, a few steps--> validation figures --> target, tensors

What the candidates are follows from the model (`targets.changes.candidates`); where there is one, nothing is
tried. All of it is counted and seeded: the same choice each time, also by whoever goes on with a run.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from qtrain_cli.artifact.size import known_of
from qtrain_cli.data import Dataset
from qtrain_cli.data.splits import TrainSplit
from qtrain_cli.errors import BadInput, Interrupted, QtrainError, RunFailed, UsageError
from qtrain_cli.methods.generator.plan import plan_of
from qtrain_cli.methods.table import OURS
from qtrain_cli.runs.beginning import Begun
from qtrain_cli.runs.grounds import BaseModel
from qtrain_cli.runs.making import Log, Work, answers_of, make, scene_of
from qtrain_cli.runs.materials import Materials
from qtrain_cli.runs.sizing import Measure, planned_ours
from qtrain_cli.settings import BudgetSettings, FitSettings, GradientSettings, ModelSettings
from qtrain_cli.targets.change import Wanted
from qtrain_cli.targets.changes import candidates, settled_target
from qtrain_cli.training.recovery import Recovery

#: Steps of a candidate's training: a few seconds to half a minute of a transformer of 22 million weights.
STEPS = 120

Candidate = tuple[Wanted, tuple[str, ...]]


@dataclass(frozen=True)
class Tryout:
    """Whether candidates are tried (`wanted`), at compress's own rate or the fit's; `known` is the kind that
    was chosen before, in a run that is gone on with."""

    wanted: bool
    own_rate: bool = True
    known: str = ""


def tryout_of(materials: Materials, fit: FitSettings, own_rate: bool = True, known: str = "") -> Tryout:
    """Nothing is tried where training takes other rows than those of the data as they are, or where circuits
    are measured, for what that costs."""
    return Tryout(materials.by_row(fit) and fit.gradient == GradientSettings(), own_rate, known)


def said_of_candidates(module: nn.Module) -> str:
    """What a plan, which has no data, says of a choice that is still open; "" where there is none."""
    first, *others = (_in_words(module, one) for one in candidates(module))
    return f"target: {first}; compress tries {' and '.join(others)} too" if others else ""


def chosen_target(
    begun: Begun, budget: BudgetSettings, model: ModelSettings, tryout: Tryout, log: Log
) -> tuple[BaseModel | None, tuple[str, ...]]:
    """The base with what is wanted of it, and `--targets`.

    Args:
        begun: model, data, fit, and the base with what was asked for.
        budget: of the file, and the tensors that were named.
        model: how the model is read.
        tryout: whether and how candidates are tried.
        log: gets a line where something was tried.

    Raises:
        Interrupted: while it was trying. BadInput, UsageError, RunFailed: no candidate can be trained.
    """
    base, module = begun.base, begun.loaded.module
    if base is None or base.wanted is not None or budget.targets:
        return base, budget.targets
    open_ones = candidates(module)
    known = [one for one in open_ones if one[0].kind == tryout.known]
    if known or len(open_ones) < 2 or not tryout.wanted:
        return _taken(base, *(known or open_ones)[0])
    if not len(begun.data.validation):
        raise UsageError("no rows are set apart to choose a target by", "give --target, or --validation 0.1")
    scored, failed = list[tuple[float, Candidate]](), list[QtrainError]()
    for one in open_ones:
        try:
            scored.append((_score(begun, budget, model, base, one, tryout), one))
        except (BadInput, UsageError, RunFailed) as error:
            failed.append(error)
            log(f"target: {_in_words(module, one)} cannot be trained: {error.message}")
    if not scored:
        raise failed[0]
    objective = begun.data.objective(begun.fit.distill, begun.fit.temperature)
    best = scored[0]
    for row in scored[1:]:
        best = row if objective.better(row[0], best[0]) else best
    told = ", ".join(f"{_in_words(module, one)} {score:.4f}" for score, one in scored)
    log(f"target: {_in_words(module, best[1])} (validation {objective.word} after {STEPS} steps: {told})")
    return _taken(base, *best[1])


def _taken(base: BaseModel, wanted: Wanted, targets: tuple[str, ...]) -> tuple[BaseModel, tuple[str, ...]]:
    return replace(base, wanted=wanted), targets


def _score(
    begun: Begun,
    budget: BudgetSettings,
    model: ModelSettings,
    base: BaseModel,
    one: Candidate,
    tryout: Tryout,
) -> float:
    """What validation says of one of them."""
    fit, data, loaded = replace(begun.fit, epochs=1), _few(begun.data, begun.fit), begun.loaded
    wanted, targets = one
    patterns = (targets, budget.ignore)
    scene = scene_of(loaded, data, fit, patterns, model, replace(base, wanted=wanted))
    sizes = Measure(OURS, scene, known_of(fit, loaded, data, budget.bare, scene.change))
    spec = planned_ours(sizes, budget)
    fit = fit.for_numbers(spec.trained_numbers, True) if tryout.own_rate else fit
    work = Work(OURS, sizes.sized(plan_of(spec)), scene, data, fit, answers_of(scene, data))
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = make(work, Recovery(Path(folder) / "trial.ckpt", {}, False), _quiet, _quiet)
        except Interrupted:
            raise Interrupted("stopped while the target was being chosen", "run it again") from None
    if made.score is None:  # 0 would be the best loss there is
        raise RunFailed("its validation figure is not finite", "name another --target or a lower --lr")
    return made.score


def _few(data: Dataset, fit: FitSettings) -> Dataset:
    """The rows of so many steps, drawn by the seed."""
    count = min(len(data.train), STEPS * max(1, fit.batch_size))
    drawn = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(fit.seed))[:count]
    rows = drawn.sort().values
    return replace(data, train=TrainSplit(data.train.inputs[rows], data.train.targets[rows]))


def _in_words(module: nn.Module, one: Candidate) -> str:
    wanted, targets = settled_target(one[0], module, one[1])
    rank = f" of rank {wanted.rank}" if wanted.rank else ""
    return f"{wanted.kind}{rank} of {' and '.join(targets)}" if targets else f"{wanted.kind}{rank}"


def _quiet(anything: object) -> None:
    """Nobody looks on."""
