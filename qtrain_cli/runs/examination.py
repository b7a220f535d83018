"""A model is measured before anything is trained by it: what its outputs are, and whether they are worth
anything.

    validation rows, train rows beside them up to MOST_ROWS --model--> outputs --recognition--> task and loss
                                                                       --chance-->  go on, or the reasons

No test row is looked at. A model at chance is not yet a wrong one: it may be fed otherwise than it was
trained, so that other normalisations and other names of the labels are tried, and the one under which it is
good is said. One above chance may have some of its labels in another order: that is said and no error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from qtrain_cli.data import Dataset, Normalisation
from qtrain_cli.data.inputs import Inputs, joined_rows
from qtrain_cli.data.splits import OUTPUTS_AT_ONCE
from qtrain_cli.errors import BadInput
from qtrain_cli.models.call import predict
from qtrain_cli.runs.making import Log
from qtrain_cli.tasks import TASKS
from qtrain_cli.tasks.chance import at_chance, misnamed, renamed
from qtrain_cli.tasks.objective import check_outputs, require_finite
from qtrain_cli.tasks.recognition import Asked, Reading, reading_of

MOST_ROWS = 1000
#: Numbers of outputs that are held as targets, 1 GB in float32.
MOST_OUTPUTS = 2**28
#: Short rows of texts that are tried with and without padding, and by how much outputs may differ then, of
#: the largest of them: they are summed in another order.
_SHORT_ROWS, _SAME = 4, 1e-3
#: A normalisation of more numbers, or an order of more labels, is not written out.
MOST_WRITTEN = 12
#: Of the way from blind answers to perfect ones: above this a model is clearly fed as it was trained.
CLEAR = 0.4
#: Inputs as the data have them, and how they are prepared -> outputs (N, ...) on the CPU.
Ask = Callable[[Inputs, Normalisation], Tensor]


@dataclass(frozen=True)
class Examined:
    """What was found of a model on some data, which holds for its other splits of them too."""

    ask: Ask
    reading: Reading
    tokens: bool
    numbers: int
    trims: bool = False

    def of(self, data: Dataset) -> Dataset:
        """The data as this model takes them, for the task that its outputs tell."""
        read = data.for_lookups(self.tokens).trimmed(self.trims).read_as(self.reading)
        read = replace(read, output_numbers=self.numbers)
        return self._with_outputs(read) if read.row.own_outputs else read

    def _with_outputs(self, read: Dataset) -> Dataset:
        """The data with this model's outputs for targets. Raises `BadInput` where those fit in no memory."""
        rows = sum(len(split) for split in (read.train, read.validation, read.test))
        if rows * self.numbers > MOST_OUTPUTS:
            raise BadInput(
                f"{rows:,} rows of {self.numbers:,} outputs are too many to be targets",
                f"allowed: {MOST_OUTPUTS:,} numbers; give fewer rows",
            )
        return read.taught(lambda inputs: self.ask(inputs, read.normalisation))


@dataclass(frozen=True)
class _Sample:
    """Rows that a model is measured on, with the data that they are of, as the model takes them."""

    data: Dataset
    inputs: Inputs
    targets: Tensor
    outputs: Tensor


def examine(ask: Ask, data: Dataset, looks_up: bool, teacher_any: bool, log: Log) -> Examined:
    """Measures a model.

    Args:
        ask: the model.
        data: as they were read.
        looks_up: whether whole numbers may be places in a table of the model.
        teacher_any: whether a model at chance is a matter of a line, not of an error.
        log: called with one line.

    Raises:
        BadInput: it does not take the rows, its outputs do not fit the targets, or it is at chance.
    """
    examined, inputs, targets, outputs = _looked_at(ask, data, looks_up, log)
    reading = examined.reading
    if TASKS[reading.task].own_outputs:
        log(f"{reading.task}: {reading.said}")
        return examined
    sample = _Sample(examined.of(data), inputs, reading.targets(targets), outputs)
    row = sample.data.row
    check_outputs(sample.data.task, outputs, sample.targets, sample.data.classes)
    trivial = _trivial(sample)
    figure = row.show(row.figure_of(row.counts(outputs, sample.targets)))
    said = f"; {reading.said}" if reading.said else ""
    without = f" ({row.trivial_said} {row.show(trivial)})" if trivial is not None else ""
    rows = f"{len(inputs):,} rows of train and validation"
    log(f"the model itself: {row.word} {figure}{without} on {rows}{said}")
    blind = at_chance(row, outputs, sample.targets, trivial)
    if blind is not None and teacher_any:
        log(f"it is no better than chance ({row.show(blind)}), and goes on by --teacher-any")
    elif blind is not None:
        raise BadInput(
            f"the model's {row.word} on these data is {figure} ({len(inputs):,} rows), and answers that know"
            f" nothing have {row.show(blind)}: it is no better than chance",
            _reasons(ask, sample) + "; --teacher-any goes on all the same",
        )
    else:
        _note_order(sample, log)
    return examined


def look_at(ask: Ask, data: Dataset, looks_up: bool, log: Log, says: bool) -> Examined:
    """The same of a model that is yet to learn the task: how it takes rows, and that its outputs fit them.

    `says`: its outputs tell something of the task, which those of a head of zeros do not.
    """
    examined, _, targets, outputs = _looked_at(ask, data, looks_up, log, says)
    read = examined.of(data)
    check_outputs(read.task, outputs, examined.reading.targets(targets), read.classes)
    return examined


def _looked_at(
    ask: Ask, data: Dataset, looks_up: bool, log: Log, says: bool = True
) -> tuple[Examined, Inputs, Tensor, Tensor]:
    """What was found, with the rows, their targets and outputs that it was found by."""
    tokens, numbers = _first_look(ask, data, looks_up)
    inputs, targets = rows_to_look_at(data, max(1, min(MOST_ROWS, OUTPUTS_AT_ONCE // numbers)))
    given = data.for_lookups(tokens)
    trims = not data.row.places and _takes_any_length(ask, given, log)
    given = given.trimmed(trims)
    outputs = ask(inputs, given.normalisation)
    require_finite(outputs)
    beside = Asked(data.asked.family, inputs if says and isinstance(inputs, Tensor) else None, data.labels)
    reading = reading_of(data.task, outputs if says else None, targets, data.every_target, beside)
    return Examined(ask, reading, tokens, numbers, trims), inputs, targets, outputs


def _trivial(sample: _Sample) -> float | None:
    """What answers that look at nothing have on these rows."""
    objective, train = sample.data.objective(), sample.data.train.targets
    return objective.trivial(train, sample.targets, tuple(sample.outputs.shape[1:]))


def asked(module: nn.Module, state: Mapping[str, Tensor]) -> Ask:
    """A module with these tensors, on their device."""
    return lambda inputs, prepare: predict(module, state, inputs, prepare)


def examine_nobody(data: Dataset) -> Dataset:
    """The data for a student that learns from labels alone: only they say what the task is."""
    beside = Asked(data.asked.family, None, data.labels)
    return data.read_as(reading_of(data.task, None, data.train.targets, data.every_target, beside))


def rows_to_look_at(data: Dataset, left: int) -> tuple[Inputs, Tensor]:
    """Rows all over validation, and over train as far as those are few."""
    inputs, targets = [], []
    for split in (data.validation, data.train):
        count = min(left, len(split))
        places = torch.arange(count) * len(split) // max(1, count)
        inputs.append(split.inputs[places])
        targets.append(split.targets[places])
        left -= count
    return joined_rows(inputs), torch.cat(targets)


def _first_look(ask: Ask, data: Dataset, looks_up: bool) -> tuple[bool, int]:
    """Whether whole numbers go in whole, and how many numbers the outputs for one input are.

    A model with a table may have it for something else than its inputs.
    """
    given, few = data.for_lookups(looks_up), data.train.inputs[:2]
    tokens = given.normalisation.tokens
    try:
        outputs = ask(few, given.normalisation)
    except BadInput as whole:
        try:
            outputs, tokens = ask(few, data.normalisation), False
        except BadInput:
            raise whole from None
    return tokens, max(1, outputs[0].numel())


def _takes_any_length(ask: Ask, data: Dataset, log: Log) -> bool:
    """Whether rows of texts may end with the longest of their batch: the model says the same of short rows
    whether they are filled up or not. What it says must not depend on how long others are."""
    trimming = data.trimmed(True).normalisation
    lengths = trimming.lengths(data.train.inputs)
    if lengths is None:
        return False
    few = data.train.inputs[lengths.argsort(stable=True)[:_SHORT_ROWS]]
    full = ask(few, data.normalisation)
    try:
        cut = ask(few, trimming)
    except BadInput:
        log("the model takes rows of one length only: all are filled up to the longest")
        return False
    if cut.shape != full.shape:
        return False
    scale = float(full.abs().max())
    same = torch.allclose(cut, full, rtol=0, atol=_SAME * scale)
    if not same:
        log(
            "the model's outputs depend on how far rows are filled up (it has no mask for the number"
            f" {data.padding}): all are filled up to the longest, as they will have to be wherever it is used"
        )
    return same


def _reasons(ask: Ask, sample: _Sample) -> str:
    """What makes the model good, if anything that was tried does; else what it may be."""
    row, data = sample.data.row, sample.data
    order = data.classes and renamed(row, sample.outputs, sample.targets, data.classes)
    if order:
        return (
            "the labels are in another order than its outputs; it is good with them renamed"
            + _classes_option(data, order)
        )
    return _better_fed(ask, sample) or (
        "check --mean and --std, whether it was trained on pixels of 0 to 255 or 0 to 1, the order of the"
        " labels (--classes), and that these are its trained weights"
    )


def _classes_option(data: Dataset, order: Sequence[int]) -> str:
    names = [data.labels[label] if label < len(data.labels) else str(label) for label in order]
    return f": --classes {','.join(names)}" if len(names) <= MOST_WRITTEN else ", with --classes"


def _note_order(sample: _Sample, log: Log) -> None:
    """A line, where the labels are partly in another order than the outputs."""
    row, data = sample.data.row, sample.data
    found = data.classes and misnamed(row, sample.outputs, sample.targets, data.classes)
    if found:
        order, share = found
        moved = sum(label != output for output, label in enumerate(order))
        log(
            f"some labels may be in another order than its outputs: with {moved} of them renamed it has"
            f" {row.show(share)}{_classes_option(data, order)}"
        )


def _better_fed(ask: Ask, sample: _Sample) -> str:
    """The other way of preparing inputs under which the model is best, if it is clearly above chance so."""
    row, trivial, found = sample.data.row, _trivial(sample), list[tuple[float, str]]()
    for prepare, said in _normalisations(sample):
        try:
            outputs = ask(sample.inputs, prepare)
        except BadInput:
            continue
        blind = at_chance(row, outputs, sample.targets, trivial, CLEAR)
        if bool(outputs.isfinite().all()) and blind is None:
            found.append((row.figure_of(row.counts(outputs, sample.targets)), said))
    if not found:
        return ""
    figure, said = max(found, key=lambda one: row.gain(one[0], 0.0))
    return f"{said} it has {row.show(figure)}"


def _normalisations(sample: _Sample) -> Iterator[tuple[Normalisation, str]]:
    """Other ways in which the inputs may have been prepared, each with how it is said."""
    used, inputs = sample.data.normalisation, sample.inputs
    if used.tokens or not isinstance(inputs, Tensor):
        return
    if used.mean:
        yield replace(used, mean=(), std=()), "without --mean and --std"
    plain = Normalisation()(inputs)
    if inputs.dtype == torch.uint8:
        yield Normalisation((0.0,), (1 / 255,)), "with pixels of 0 to 255 (--mean 0 --std 0.00392157)"
    elif float(plain.max()) > 1:
        yield Normalisation((0.0,), (255.0,)), "with inputs divided by 255 (--mean 0 --std 255)"
    several = 1 < plain.shape[1] <= MOST_WRITTEN or plain.dim() == 2
    axes = tuple(axis for axis in range(plain.dim()) if axis != 1) if several else tuple(range(plain.dim()))
    mean, std = plain.mean(axes).reshape(-1), plain.std(axes).reshape(-1)
    if bool((std > 0).all()):
        found = Normalisation(tuple(mean.tolist()), tuple(std.tolist()))
        options = f"--mean {_listed(found.mean)} --std {_listed(found.std)}"
        short = len(found.mean) <= MOST_WRITTEN
        yield found, f"with standardised inputs ({options if short else '--mean and --std of each column'})"


def _listed(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{number:.4g}" for number in numbers)
