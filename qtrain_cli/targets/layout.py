"""Which generated number becomes which entry of which named tensor.

The tensors of a model's state dictionary, in its own order, are generated (weights selected by `--targets`
and `--ignore`), kept (everything else, buffers included) or tied (the same tensor under a second name).
Generated tensors take the numbers 0..m-1 in that order, row-major. What the model's classes keep constant
stays so: a frozen parameter is kept, unless all are or `--targets` names it, and the padding row of an
embedding takes nothing from the numbers that would be its own. How kept tensors are stored depends on their
values (`kept`).

The fan-in that sets a weight's scale is the number of inputs that one output sums over; biases share the
fan-in of their weight, and a one-dimensional `weight` is the scale of a normalisation layer: its
centre is 1 and its fan-in the number of channels. Layers are told apart by shape and name, because the
modules of a `.pt2` archive have lost their classes; where a class says more (transposed convolutions, PReLU,
normalisation over several axes) it is heard, so that such a layer may start at another scale from an archive.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput, UsageError, suggestion
from qtrain_cli.targets.entries import (
    FLOAT_DTYPES,
    GENERATED,
    HALF,
    KEPT,
    RUNNING,
    TIED,
    LayoutSpec,
    TensorEntry,
)
from qtrain_cli.targets.padding import constant_rows

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_HALF = (torch.float16, torch.bfloat16)
#: What becomes of a tensor of another kind.
CONVERT = "convert it to one of them with .to(...), and save the file again"
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_PRELU_START = 0.25
_SCALED_OVER_AXES = (nn.LayerNorm, nn.RMSNorm)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def layout_of(module: nn.Module, targets: Sequence[str] = (), ignore: Sequence[str] = ()) -> LayoutSpec:
    """The layout of a model's state dictionary.

    Args:
        module: the model; its values are not read, so it may live on the meta device.
        targets: patterns of tensors to generate (exact name of a tensor or module, glob, or ``re:...``);
            none means all floating-point parameters that are not frozen. A pattern takes a frozen one where
            it is its exact name, or matches no other. A tied tensor goes by any of its names.
        ignore: patterns of tensors to keep as they are.

    Raises:
        UsageError: a pattern that matches nothing, or is no regular expression.
        BadInput: a tensor of a dtype that no artifact can hold.
    """
    tensors = module.state_dict(keep_vars=True)
    parameters = [name for name, tensor in tensors.items() if isinstance(tensor, nn.Parameter)]
    frozen = _frozen(tensors)
    wanted = _select(targets, parameters, "--targets", frozen) if targets else set(parameters) - frozen
    unwanted = _select(ignore, list(tensors), "--ignore")  # a buffer is kept anyway, and may be named
    sources, rows = sources_of(tensors), constant_rows(module)
    chosen = {sources[name] for name in wanted} - {sources[name] for name in unwanted}
    entries = [
        _entry(module, name, tensor, sources[name], name in chosen) for name, tensor in tensors.items()
    ]
    return LayoutSpec(
        tuple(
            replace(entry, row=rows.get(entry.name, -1)) if entry.role == GENERATED else entry
            for entry in entries
        )
    )


def _frozen(tensors: Mapping[str, Tensor]) -> set[str]:
    """Parameters that are not trained, none where all are: then it says how the model was saved."""
    weights = {
        name: tensor.requires_grad
        for name, tensor in tensors.items()
        if isinstance(tensor, nn.Parameter) and tensor.is_floating_point()
    }
    return {name for name, trained in weights.items() if not trained} if any(weights.values()) else set()


def sources_of(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Each name with the first name of the same tensor."""
    first: dict[int, str] = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise BadInput(
                f"'{name}' of the state dictionary is a {type(tensor).__name__}, not a tensor",
                "keep only tensors in the state dictionary",
            )
        first.setdefault(id(tensor), name)
    return {name: first[id(tensor)] for name, tensor in tensors.items()}


def _entry(module: nn.Module, name: str, tensor: Tensor, source: str, chosen: bool) -> TensorEntry:
    dtype = _NAMES.get(tensor.dtype)
    if dtype is None:
        raise BadInput(f"tensor '{name}' is {tensor.dtype}; allowed: {', '.join(DTYPES)}", CONVERT)
    shape = tuple(tensor.shape)
    if source != name:
        return TensorEntry(name, shape, dtype, TIED, source=source)
    if not chosen or dtype not in FLOAT_DTYPES or not tensor.numel():
        narrow = name.rpartition(".")[2] in RUNNING and dtype in ("F32", "F64") and tensor.numel()
        return TensorEntry(name, shape, dtype, KEPT, stored=HALF if narrow else "")
    fan_in, centre = _scale_of(module, name, shape)
    return TensorEntry(name, shape, dtype, GENERATED, fan_in, centre)


def _scale_of(module: nn.Module, name: str, shape: tuple[int, ...]) -> tuple[int, float]:
    """Fan-in and centre of one tensor, by the kind of layer that owns it."""
    path, _, local = name.rpartition(".")
    owner = module.get_submodule(path)
    size = max(1, math.prod(shape))
    if isinstance(owner, _SCALED_OVER_AXES):
        return size, 1.0 if local == "weight" else 0.0
    if len(shape) >= 2:
        if isinstance(owner, _TRANSPOSED):
            return max(1, shape[0] // owner.groups * math.prod(shape[2:])), 0.0
        return max(1, math.prod(shape[1:])), 0.0
    if isinstance(owner, nn.PReLU):
        return size, _PRELU_START
    if local == "weight":
        return size, 1.0
    weight = getattr(owner, local.replace("bias", "weight"), None)
    if local != local.replace("bias", "weight") and isinstance(weight, Tensor) and weight.dim() >= 2:
        return _scale_of(module, f"{path}.weight" if path else "weight", tuple(weight.shape))[0], 0.0
    return size, 0.0


def _select(
    patterns: Iterable[str], names: list[str], option: str, frozen: Set[str] = frozenset()
) -> set[str]:
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if matches_pattern(pattern, name, option)}
        if not found:
            kind = "parameter" if option == "--targets" else "tensor"
            raise UsageError(f"{option} '{pattern}' matches no {kind}", suggestion(pattern, names))
        chosen |= found - (frozen - {pattern}) or found
    return chosen


def matches_pattern(pattern: str, name: str, option: str) -> bool:
    if pattern.startswith("re:"):
        try:
            return re.search(pattern[3:], name) is not None
        except re.error as error:
            raise UsageError(
                f"{option} '{pattern}' is not a regular expression: {error}",
                "write e.g. re:^conv[12]\\.weight$",
            ) from None
    return name == pattern or name.startswith(f"{pattern}.") or fnmatch.fnmatchcase(name, pattern)


def split(layout: LayoutSpec, weights: Tensor) -> dict[str, Tensor]:
    """The generated tensors, named and shaped, in their own dtypes: (m,) -> {name: tensor}.

    Differentiable. Raises `BadInput` when there are not exactly m weights.
    """
    if weights.shape != (layout.generated,):
        raise BadInput(f"{tuple(weights.shape)} weights for a layout of {layout.generated}")
    entries = layout.of_role(GENERATED)
    parts = weights.split([entry.count for entry in entries])
    return {
        entry.name: in_dtype(part.view(entry.shape), DTYPES[entry.dtype])
        for entry, part in zip(entries, parts, strict=True)
    }


def in_dtype(weights: Tensor, dtype: torch.dtype) -> Tensor:
    """Half precision by way of float32, as torch does it on most machines, so that all agree on the bits."""
    return weights.float().to(dtype) if dtype in _HALF else weights.to(dtype)


def join(layout: LayoutSpec, state: Mapping[str, Tensor]) -> Tensor:
    """The inverse of `split`: a state dictionary's generated tensors as one float64 vector (m,)."""
    return torch.cat([state[entry.name].detach().double().flatten() for entry in layout.of_role(GENERATED)])


def complete(
    layout: LayoutSpec, generated: Mapping[str, Tensor], kept: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The whole state dictionary in the model's own order; tied names share one tensor."""
    made = with_rows(layout, generated, kept)
    state = {entry.name: kept[entry.name] for entry in layout.of_role(KEPT)} | made
    return {entry.name: state[entry.source or entry.name] for entry in layout.entries}


def with_rows(
    layout: LayoutSpec, generated: Mapping[str, Tensor], kept: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Generated tensors with their constant rows in place, where no gradient goes."""
    return {entry.name: with_row(entry, generated[entry.name], kept) for entry in layout.of_role(GENERATED)}


def with_row(entry: TensorEntry, tensor: Tensor, kept: Mapping[str, Tensor]) -> Tensor:
    """A generated tensor with its constant row in place, if it has one."""
    if entry.row < 0:
        return tensor
    place = torch.tensor([entry.row], device=tensor.device)
    row = kept[entry.name][None].to(tensor) if entry.stored else tensor.new_zeros(1, entry.shape[1])
    return tensor.index_copy(0, place, row)


def kept_tensors(layout: LayoutSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state dictionary that are stored, and the rows."""
    kept = {entry.name: state[entry.name].detach() for entry in layout.stored}
    return kept | {entry.name: kept[entry.name][entry.row] for entry in layout.stored if entry.row >= 0}
