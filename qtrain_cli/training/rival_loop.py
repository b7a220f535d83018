"""One loop for all rivals: train, round in the loop, keep the best file by validation.

    numbers --mask, rounding--> decode --> tensors --functional call--> outputs --objective--> loss

The descent of `fit` or plain Adam, whichever was better for the method, and the same rows, order of rows,
teacher and number of epochs. In the last part of training (`Recipe.rounding`) the numbers are on the grid
that fits the budget, found anew at each epoch, with straight-through gradients. After every such epoch the
very file that would be written is scored on the validation rows, and so is the last one's with running
statistics estimated anew; the best one is the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from qtrain_cli.artifact.packed import Group, Packed, frame_bytes, write_packed
from qtrain_cli.data import Normalisation, TrainSplit, ValidationSplit
from qtrain_cli.errors import RunFailed
from qtrain_cli.methods.grids import coded, decoded, fit_steps, rounded
from qtrain_cli.methods.method import Choice, Plan, Recipe, Scene, Shapes, count_of
from qtrain_cli.models.call import call_model, predict
from qtrain_cli.targets.entries import LayoutSpec
from qtrain_cli.targets.layout import complete, kept_tensors, layout_of
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training.descent import start_descent
from qtrain_cli.training.devices import on_device
from qtrain_cli.training.epochs import Batches
from qtrain_cli.training.statistics import has_statistics, re_estimated

#: About what a group's step and range take.
_GROUP_BYTES = 4


@dataclass(frozen=True)
class Lesson:
    """What everyone learns from; `taught` are the teacher's outputs on the training rows."""

    train: TrainSplit
    validation: ValidationSplit
    prepare: Normalisation
    objective: Objective
    taught: Tensor
    epochs: int
    batch_size: int


@dataclass(frozen=True)
class Sized:
    """A method at one size: its plan, the module whose tensors it gives, their layout, its groups."""

    recipe: Recipe
    plan: Plan
    module: nn.Module
    layout: LayoutSpec
    shapes: Shapes
    bytes: int

    @property
    def numbers(self) -> int:
        """How many numbers are trained."""
        return count_of(self.shapes)


@dataclass(frozen=True)
class Trained:
    """A finished file, its validation score, and how many numbers are in it."""

    data: bytes
    score: float
    numbers: int


def sized(recipe: Recipe, scene: Scene, size: int, width: float) -> Sized:
    """The method at `size`; `bytes` is what its file takes at `width` bits a number. Raises `Unsuited`."""
    plan = recipe.plan(scene, size)
    module = recipe.module(scene, plan)
    layout = scene.layout if module is scene.module else layout_of(module)
    shapes = recipe.shapes(layout, plan)
    whole = frame_bytes(recipe.name, plan, layout, None)
    whole += math.ceil(recipe.bits(scene, plan, shapes, width) / 8) + _GROUP_BYTES * len(shapes)
    return Sized(recipe, plan, module, layout, shapes, whole)


def fitting(recipe: Recipe, scene: Scene, width: float, budget: int, most: int | None = None) -> Sized:
    """The largest size whose file fits `budget` bytes, by bisection; the smallest when none does.

    Args:
        recipe: what the method does.
        scene: the model.
        width: bits of a number.
        budget: of the whole file.
        most: no larger size than this.
    """
    low, high = 1, min(recipe.largest(scene), most or 2**62)
    best = sized(recipe, scene, low, width)
    while low < high and best.bytes <= budget:
        middle = (low + high + 1) // 2
        found = sized(recipe, scene, middle, width)
        if found.bytes <= budget:
            low, best = middle, found
        else:
            high = middle - 1
    return best


class Lap:
    """One training of one method at one size; `run` gives its best file."""

    def __init__(self, chosen: Sized, scene: Scene, lesson: Lesson, choice: Choice, budget: int) -> None:
        self.chosen, self.scene, self.lesson, self.budget = chosen, scene, lesson, budget
        recipe, plan = chosen.recipe, chosen.plan
        self.limit = recipe.limit(plan)
        self.batches = Batches(len(lesson.train), lesson.batch_size, scene.seed)
        torch.manual_seed(scene.seed)
        begin = recipe.start(scene, plan)
        self.numbers = {name: t.to(scene.device).clone().requires_grad_() for name, t in begin.items()}
        own = scene.teacher if chosen.module is scene.module else chosen.module.state_dict()
        self.kept = kept_tensors(chosen.layout, on_device(own, scene.device))
        names = {name for name, _ in chosen.module.named_buffers()}
        self.buffers = {name: tensor.clone() for name, tensor in self.kept.items() if name in names}
        self.decode = recipe.decode(chosen.layout, plan, scene.device)
        steps = self.batches.per_epoch * lesson.epochs
        trained = tuple(self.numbers.values())
        self.descent = start_descent(trained, choice.lr, steps, whitened=recipe.whitened)
        self.masks: dict[str, Tensor] = {}

    def run(self) -> Trained | None:
        """The best file by validation; None when no file of this size meets the budget.

        Raises:
            RunFailed: the loss stopped being finite.
        """
        best: Trained | None = None
        epochs = self.lesson.epochs
        first = min(epochs - 1, round(epochs * (1 - self.chosen.recipe.rounding)))
        for epoch in range(epochs):
            if self.chosen.recipe.mask:
                self.masks = self.chosen.recipe.mask(self.chosen.plan, self.numbers, epoch / epochs)
            steps = self.steps() if epoch >= first else None
            for step in range(self.batches.per_epoch):
                self.step(self.batches.at(epoch * self.batches.per_epoch + step), steps)
            best = self.better(self.finished(), best) if epoch >= first else best
        if has_statistics(self.chosen.module):
            self.buffers |= self.statistics()
            best = self.better(self.finished(), best)
        return best

    def better(self, found: Trained | None, best: Trained | None) -> Trained | None:
        """The better one of two files by validation, the second if they are equal."""
        if found is None or (best and not self.lesson.objective.better(found.score, best.score)):
            return best
        return found

    def statistics(self) -> dict[str, Tensor]:
        """Running statistics, estimated anew for the numbers as a file would have them."""
        with torch.no_grad():
            generated = self.decode(rounded(self.masked(), self.steps(), self.limit))
        state = complete(self.chosen.layout, generated, self.kept | self.buffers)
        lesson = self.lesson
        inputs, size = lesson.train.inputs, lesson.batch_size
        return re_estimated(self.chosen.module, state, inputs, lesson.prepare, size)

    def step(self, rows: Tensor, steps: dict[str, float] | None) -> None:
        """One step of the optimiser on one batch."""
        lesson, device, module = self.lesson, self.scene.device, self.chosen.module
        inputs = lesson.prepare(lesson.train.inputs[rows].to(device))
        numbers = self.masked()
        generated = self.decode(rounded(numbers, steps, self.limit) if steps else numbers)
        state = complete(self.chosen.layout, generated, self.kept | self.buffers)
        module.train()
        outputs = call_model(module, state, inputs)
        loss = lesson.objective.loss(
            outputs, lesson.train.targets[rows].to(device), lesson.taught[rows].to(device)
        )
        if not bool(loss.isfinite()):
            raise RunFailed(f"the loss of '{self.chosen.recipe.name}' is not finite")
        self.descent.optimizer.zero_grad()
        loss.backward()
        self.descent.step()
        self.buffers = {name: state[name].detach() for name in self.buffers}

    def masked(self) -> dict[str, Tensor]:
        """The numbers with the pruned ones at zero."""
        return {n: t * self.masks[n] if self.masks else t for n, t in self.numbers.items()}

    def steps(self) -> dict[str, float]:
        """The grid that fits the budget now."""
        chosen = self.chosen
        kept = self.kept | self.buffers
        frame = frame_bytes(chosen.recipe.name, chosen.plan, chosen.layout, kept)
        return fit_steps(self.masked(), self.limit, 8 * (self.budget - frame))[0]

    def finished(self) -> Trained | None:
        """The present numbers as a file, decoded again and scored; None when it exceeds the budget."""
        steps, chosen = self.steps(), self.chosen
        codes = coded(self.masked(), steps, self.limit)
        groups = tuple(Group(codes[name], steps[name]) for name in codes)
        packed = Packed(chosen.recipe.name, chosen.plan, chosen.layout, groups, self.kept | self.buffers)
        data = write_packed(packed)
        if len(data) > self.budget:
            return None
        values = {name: t.view(chosen.shapes[name]) for name, t in decoded(codes, steps).items()}
        kept = {name: _as_stored(tensor) for name, tensor in (self.kept | self.buffers).items()}
        with torch.no_grad():
            generated = self.decode({name: value.to(self.scene.device) for name, value in values.items()})
        state = complete(chosen.layout, generated, kept)
        lesson = self.lesson
        outputs = predict(chosen.module, state, lesson.validation.inputs, lesson.prepare)
        score = lesson.objective.score(outputs, lesson.validation.targets)
        # A pruned number is a position that is not stored as one.
        count = np.count_nonzero if self.masks else np.size
        return Trained(data, score, sum(int(count(part)) for part in codes.values()))


def _as_stored(tensor: Tensor) -> Tensor:
    """Kept floats as the file has them: by way of float16."""
    return tensor.half().to(tensor.dtype) if tensor.dtype in (torch.float32, torch.float64) else tensor
