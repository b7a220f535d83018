"""How large a file will be, before anything is trained: an upper bound, by writing one in memory.

What a run will find is filled in as long as it can get: figures with seven significant digits, losses and
errors with the exponents of float32, kept tensors and codes that nothing compresses.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from qtrain_cli.artifact.container import MAX_FILE_BYTES, RUN_DIGITS
from qtrain_cli.artifact.description import (
    DIGEST_DIGITS,
    Description,
    Digest,
    Origin,
    tensor_of,
)
from qtrain_cli.artifact.example import MAX_EXAMPLE_DIMENSIONS, Example, NamedExamples
from qtrain_cli.artifact.extents import MOST_MODEL, coded_forms, raw_bytes
from qtrain_cli.artifact.formats import metadata
from qtrain_cli.artifact.numbers import forms_of, kept_bytes
from qtrain_cli.artifact.payload import kept_stream
from qtrain_cli.data.inputs import NamedInputs
from qtrain_cli.files.message import MESSAGE_SLACK
from qtrain_cli.methods.forms import Forms, Plan
from qtrain_cli.quantum.machine import LONGEST, of_processes
from qtrain_cli.results import Measured, Scores
from qtrain_cli.results.versions import recorded_versions
from qtrain_cli.settings.fit import PRECISIONS
from qtrain_cli.targets.change import Change
from qtrain_cli.targets.entries import DTYPE_BYTES, LayoutSpec
from qtrain_cli.tasks import TASKS

if TYPE_CHECKING:
    from torch import Tensor

    from qtrain_cli.data import Dataset
    from qtrain_cli.models import LoadedModel
    from qtrain_cli.settings import FitSettings

_LARGE = 10**9 - 1
#: No shape of so few elements has more digits.
_LONGEST = Example("BOOL", (10**8,) + (1,) * (MAX_EXAMPLE_DIMENSIONS - 1))
#: Bytes by which other digits than those filled in may deflate worse.
_MARGIN = 18
#: The task whose figures take most room: numbers of any size, and the interval of the last.
_WIDEST = max(TASKS.values(), key=lambda row: (row.stores_interval, row.most, len(row.metrics))).name


@dataclass(frozen=True)
class Known:
    """What is known of a run before it begins; the defaults are what takes most room."""

    model: str
    task: str = _WIDEST
    example: Example | NamedExamples = _LONGEST
    epochs: int = _LARGE
    seed: int = 2**31 - 1
    device: str = "cuda:99"
    trust: str = "trusted-pickle"
    bare: bool = False
    entry: str | None = None
    output: str | None = None
    skipped_rows: int | None = None
    precision: str = PRECISIONS[-1]
    change: Change | None = None
    processes: int = 1


def known_of(
    fit: FitSettings, loaded: LoadedModel, data: Dataset, bare: bool = False, change: Change | None = None
) -> Known:
    """What is known once model and data are loaded; `fit` with its device and epochs settled."""
    example = example_of(data)
    return Known(
        loaded.name, data.task, example, fit.epochs, fit.seed, fit.device, loaded.trust, bare, loaded.entry,
        loaded.output, data.skipped_rows, fit.precision, change, fit.processes,
    )  # fmt: skip


def example_of(data: Dataset) -> Example | NamedExamples:
    """Shape and dtype of one input as the model gets it, or of each of several."""
    sample = data.normalisation.whole(data.train.inputs[:1])
    if isinstance(sample, NamedInputs):
        return NamedExamples(tuple((name, _example(part)) for name, part in sample.parts.items()))
    return _example(sample)


def _example(sample: Tensor) -> Example:
    words = {torch.int64: "I64", torch.bool: "BOOL"}
    return Example(words.get(sample.dtype, "F32"), tuple(sample.shape[1:]))


def bytes_bound(method: str, plan: Plan, layout: LayoutSpec, known: Known, numbers_bits: float) -> int:
    """An upper bound in bytes of the finished file.

    Args:
        method: a row of the methods' table.
        plan: what it is at one size.
        layout: the tensors that it gives.
        known: what is known of the run.
        numbers_bits: what its groups take at most: ours with all that belongs to them
            (`generator.sizes`), a rival's without steps and ranges, which are added here.
    """
    digest = Digest("0" * DIGEST_DIGITS)
    origin = None if known.bare else Origin(_longest(known), "0" * RUN_DIGITS)
    description = Description(method, plan, layout, digest, known.example, origin, known.change)
    exact = known.bare and known.example is not _LONGEST
    numbers = math.ceil(numbers_bits / 8) + _heads(forms_of(method, plan, layout)) + (0 if exact else _MARGIN)
    return file_bytes(len(tensor_of(description, b"", b"")) + _kept_bytes(layout) + numbers)


def frame_bytes(description: Description, kept: Mapping[str, Tensor], budget: int = MAX_FILE_BYTES) -> int:
    """All bytes of a file of these kept tensors but those of its coded groups (`files.groups.group_bits`).

    The message's end and the byte that says what is shared count among them. `budget`: the whole file has no
    more bytes; the header's own numbers are as long.
    """
    forms = forms_of(description.method, description.plan, description.layout)
    tensor = len(tensor_of(description, kept_bytes(description.layout, kept), b"")) + raw_bytes(forms)
    coded = len(coded_forms(forms))
    return file_bytes(budget) - budget + tensor + (coded > 1) + (MESSAGE_SLACK if coded else 0)


def file_bytes(tensor: int) -> int:
    """Size of the file whose tensor has so many bytes."""
    header = (
        f'{{"__metadata__":{{"qtrain":"{metadata()}"}},'
        f'"q":{{"dtype":"U8","shape":[{tensor}],"data_offsets":[0,{tensor}]}}}}'
    )
    return 8 + -(-len(header) // 8) * 8 + tensor


def _heads(forms: Forms) -> int:
    """Steps, ranges and the message's end of groups whose own bits say nothing of them."""
    coded = list(coded_forms(forms).values())
    if not coded or all(form.bits for form in coded):
        return 0
    steps = sum(DTYPE_BYTES[form.dtype] for form in coded)
    return steps + MOST_MODEL + (len(coded) > 1) + MESSAGE_SLACK


def _longest(known: Known) -> Measured:
    draw = random.Random(0)
    return Measured(
        model=known.model,
        scores=_longest_scores(known.task, draw),
        train_loss=_small(draw),
        test_loss=_small(draw),
        epochs=known.epochs,
        seed=known.seed,
        device=known.device,
        versions=recorded_versions() | LONGEST | of_processes(known.processes),
        data_sha256="0" * 64,
        model_sha256="0" * 64,
        trust=known.trust,
        weights_entry=known.entry,
        output=known.output,
        skipped_rows=known.skipped_rows,
        precision=known.precision,
    )


def _longest_scores(task: str, draw: random.Random) -> Scores:
    row = TASKS[task]

    def figure() -> float:
        return draw.randrange(10**6, 10**7) / 10**7 if row.bounded else _small(draw)

    ends = (_small(draw), _small(draw)) if row.stores_interval else None
    interval = ends and (ends[0], 1 - ends[1] if row.bounded else 1 + ends[1])
    splits = (figure(), figure(), figure() if row.bounded else 2e-06)
    metrics = {metric.name: -_small(draw) for metric in row.metrics}
    return Scores(task, *splits, _LARGE, figure(), figure(), interval, figure(), metrics)


def _small(draw: random.Random) -> float:
    """Seven digits and an exponent."""
    return draw.randrange(10**6, 10**7) * 1e-13


@lru_cache(maxsize=4)
def _kept_bytes(layout: LayoutSpec) -> int:
    """What the kept tensors take: random bytes, but that counters of batches stay below 2**32.

    It is the same for every generator of a layout, of which a plan tries many. Short streams have deflate's
    fixed code, in which half of all bytes take 9 bits, and a counter's zeros 25 at most; a stream that this
    makes longer by 4 bytes or more is stored instead, with 5 bytes in front.
    """
    draw, entries = random.Random(0), layout.stored
    zeros = [4 if (entry.dtype, entry.count) == ("I64", 1) else 0 for entry in entries]
    kept = b"".join(
        draw.randbytes(entry.stored_bytes - zero) + bytes(zero)
        for entry, zero in zip(entries, zeros, strict=True)
    )
    fixed = -(-(10 + 9 * (len(kept) - sum(zeros)) + 25 * (sum(zeros) // 4)) // 8)
    longest = fixed if fixed < len(kept) + 4 else len(kept) + 5
    return max(len(kept_stream(kept)), longest) if kept else 0
