"""Inputs that a model can be asked with, where only dtypes and shapes are known.

Numbers that are whole may be places in a table, masks, lengths; zeros for all of them are padding, and what a
model makes of padding alone says nothing. So each such part that holds nothing but zeros is tried out:

    tokens       random places in one of the model's tables, the largest first; never 0, which may be padding
    mask         all is there but the last place of the second row; of a mask of padding the other way round
    lengths      (N,): one less than the whole length, and the whole
    places       0, 1, 2, ...

The names of parts say what is tried first. The first choice that the model runs on, with finite outputs, is
taken. Where not even dtypes are known, random numbers are tried too (`made_inputs`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import torch
from torch import Tensor, nn

from qtrain_cli.data.inputs import Inputs, NamedInputs, tensors_in
from qtrain_cli.errors import BadInput

PROBE_SEED = 0
#: Choices that are tried at most.
_MOST = 256
#: What a name says of a part, in this order.
_TOLD = (
    (("pad",), "padding"), (("mask",), "mask"), (("len",), "lengths"), (("position",), "places"),
    (("type", "segment"), "types"), (("ids", "token", "word", "input"), "tokens"),
)  # fmt: skip

Run = Callable[[nn.Module, Inputs], Tensor]
#: Of one input, or of each name.
RowShapes = tuple[int, ...] | Mapping[str, tuple[int, ...]]


def readable(inputs: Inputs, module: nn.Module, run: Run) -> Inputs:
    """The inputs, those parts filled that hold nothing but zeros where they are no floats.

    Raises:
        BadInput: as `run` does, if the module runs on none of what was tried.
    """
    try:
        return _first_that_runs(_choices(inputs, module), module, run)
    except BadInput:
        run(module, inputs)
    return inputs


def made_inputs(shapes: RowShapes, rows: int, module: nn.Module, run: Run) -> Inputs:
    """So many rows of inputs of these shapes that the module runs on: numbers from 0 to 1, or whole ones.

    Raises:
        BadInput: as `run` does with numbers, if the module runs on none of what was tried.
    """
    if not isinstance(shapes, Mapping):
        numbers = torch.rand(rows, *shapes)
        try:
            run(module, numbers[:2])
            return numbers
        except BadInput:
            with suppress(BadInput):
                if _tables(module):
                    return readable(torch.zeros(rows, *shapes, dtype=torch.int64), module, run)
            raise
    blank = {name: torch.zeros(rows, *shape, dtype=torch.int64) for name, shape in shapes.items()}
    return _first_that_runs(_choices(NamedInputs(blank), module, floats=True), module, run)


def _first_that_runs(choices: Iterator[Inputs], module: nn.Module, run: Run) -> Inputs:
    """The first that the module runs on. Raises what the first of them raised, if it runs on none."""
    failed = None
    for choice in itertools.islice(choices, _MOST):
        try:
            if bool(run(module, choice).isfinite().all()):
                return choice
        except BadInput as error:
            failed = failed or error
    raise failed or BadInput(
        "the model's outputs are not finite on any inputs that were tried",
        "check the model's weights with `qtrain inspect`, or give inputs that it takes with --data",
    )


def _choices(inputs: Inputs, module: nn.Module, floats: bool = False) -> Iterator[Inputs]:
    if not isinstance(inputs, NamedInputs):
        if not _tables(module):
            yield inputs
        yield from _fillings("tokens", inputs, inputs, module)
        return
    each = (_fillings(name, part, inputs, module, floats) for name, part in inputs.parts.items())
    for parts in itertools.product(*map(list, each)):
        yield NamedInputs(dict(zip(inputs.parts, parts, strict=True)))


def _fillings(
    name: str, part: Tensor, inputs: Inputs, module: nn.Module, floats: bool = False
) -> Iterator[Tensor]:
    """What a part may be, the likeliest first."""
    if part.is_floating_point() or bool(part.any()):
        yield part
        return
    ways = list(_ways(part, inputs, module))
    if floats:
        ways = [("numbers", torch.rand(part.shape)), *ways, *_ways(part.bool(), inputs, module)]
    told = next((kind for words, kind in _TOLD if any(word in name.lower() for word in words)), "")
    yield from (filled for kind, filled in sorted(ways, key=lambda way: way[0] != told))


def _ways(part: Tensor, inputs: Inputs, module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    ones, length = torch.ones_like(part), _length(inputs)
    seen = ones.clone()
    if part.dim() > 1:
        seen[-1, ..., -1] = 0
    if part.dtype == torch.bool:
        yield from (("mask", seen), ("padding", ~seen), ("zeros", part))
        return
    if part.dim() == 1:
        yield "lengths", (length - (torch.arange(len(part)) + 1) % 2).clamp(min=1).to(part.dtype)
    generator = torch.Generator().manual_seed(PROBE_SEED)
    for count in sorted(_tables(module), reverse=True):  # the largest that every token is in: the vocabulary
        drawn = torch.randint(min(1, count - 1), count, part.shape, generator=generator).to(part.dtype)
        yield "tokens", drawn
        yield "tokens", drawn[:1].expand(drawn.shape).clone()  # as many of each, where a model counts some
    yield "mask", seen
    yield "padding", 1 - seen
    yield "types", part
    if part.dim() > 1:
        yield "places", torch.arange(part.shape[-1]).to(part.dtype).expand(part.shape).clone()


def _tables(module: nn.Module) -> set[int]:
    return {part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding)}


def _length(inputs: Inputs) -> int:
    """How many places a row has: the second size of the parts that have one."""
    return min((part.shape[1] for part in tensors_in(inputs) if part.dim() > 1), default=1)
