"""Which form changes to a base take, where nobody says: the one that learns better in a short training.

    candidates --a generator each, a few steps--> validation figures --> target, tensors

What the candidates are follows from the model (`targets.changes.candidates`); where there is one, nothing is
tried. All of it is counted and seeded: the same choice each time, also by whoever goes on with a run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from qtrain_cli.artifact.size import known_of
from qtrain_cli.data import Dataset
from qtrain_cli.data.splits import TrainSplit
from qtrain_cli.errors import Interrupted
from qtrain_cli.methods.generator.plan import plan_of
from qtrain_cli.methods.generator.planning import plan_generator
from qtrain_cli.methods.table import OURS
from qtrain_cli.runs.beginning import Begun
from qtrain_cli.runs.grounds import BaseModel
from qtrain_cli.runs.making import Log, Work, answers_of, make, scene_of
from qtrain_cli.runs.sizing import Measure
from qtrain_cli.settings import BudgetSettings, FitSettings, ModelSettings
from qtrain_cli.targets.change import Wanted
from qtrain_cli.targets.changes import candidates, settled_target
from qtrain_cli.training.recovery import Recovery

#: Steps of a candidate's training: a few seconds to half a minute of a transformer of 22 million weights.
STEPS = 120

Chosen = tuple[BaseModel, tuple[str, ...]]


def chosen_target(
    begun: Begun, budget: BudgetSettings, model: ModelSettings, by_row: bool, log: Log
) -> tuple[BaseModel | None, tuple[str, ...]]:
    """The base with what is wanted of it, and `--targets`.

    Args:
        begun: model, data, fit, and the base with what was asked for.
        budget: of the file, and the tensors that were named.
        model: how the model is read.
        by_row: whether training takes rows of the data as they are, so that some can be tried.
        log: gets a line where something was tried.

    Raises:
        Interrupted: while it was trying.
    """
    base, module = begun.base, begun.loaded.module
    if base is None or base.wanted is not None or budget.targets or not by_row:
        return base, budget.targets
    open_ones = candidates(module)
    if len(open_ones) < 2:
        return base, budget.targets
    scored = [_score(begun, budget, model, base, *one) for one in open_ones]
    objective = begun.data.objective(begun.fit.distill, begun.fit.temperature)
    best = 0
    for place, score in enumerate(scored):
        best = place if objective.better(score, scored[best]) else best
    words = [_in_words(module, *one) for one in open_ones]
    told = ", ".join(f"{word} {score:.4f}" for word, score in zip(words, scored, strict=True))
    log(f"target: {words[best]} (validation {objective.word} after {STEPS} steps: {told})")
    wanted, targets = open_ones[best]
    return replace(base, wanted=wanted), targets


def _score(
    begun: Begun, budget: BudgetSettings, model: ModelSettings, base: BaseModel, wanted: Wanted,
    targets: Sequence[str],
) -> float:  # fmt: skip
    """What validation says of one of them."""
    fit, data, loaded = replace(begun.fit, epochs=1), _few(begun.data, begun.fit), begun.loaded
    patterns = (tuple(targets), budget.ignore)
    scene = scene_of(loaded, data, fit, patterns, model, replace(base, wanted=wanted))
    sizes = Measure(OURS, scene, known_of(fit, loaded, data, budget.bare, scene.change))
    change = scene.ground is not None
    spec = plan_generator(
        scene.layout,
        budget,
        fit.seed,
        lambda plan: sizes.bytes(plan_of(plan), budget.bits(change)),
        change,
    )
    fit = fit.for_numbers(spec.trained_numbers, change)
    work = Work(OURS, sizes.sized(plan_of(spec)), scene, data, fit, answers_of(scene, data))
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = make(work, Recovery(Path(folder) / "trial.ckpt", {}, False), _quiet, _quiet)
        except Interrupted:
            raise Interrupted("stopped while the target was being chosen", "run it again") from None
    return 0.0 if made.score is None else made.score


def _few(data: Dataset, fit: FitSettings) -> Dataset:
    """The rows of so many steps, drawn by the seed."""
    count = min(len(data.train), STEPS * max(1, fit.batch_size))
    drawn = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(fit.seed))[:count]
    rows = drawn.sort().values
    return replace(data, train=TrainSplit(data.train.inputs[rows], data.train.targets[rows]))


def _in_words(module: torch.nn.Module, wanted: Wanted, targets: Sequence[str]) -> str:
    wanted, targets = settled_target(wanted, module, targets)
    rank = f" of rank {wanted.rank}" if wanted.rank else ""
    return f"{wanted.kind}{rank} of {' and '.join(targets)}" if targets else f"{wanted.kind}{rank}"


def _quiet(anything: object) -> None:
    """Nobody looks on."""
