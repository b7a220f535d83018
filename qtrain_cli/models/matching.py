"""Fitting the tensors of a file to the names of an architecture.

The whole difference is found from names, shapes and dtypes alone, before any tensor is read: both sides may
live on the meta device. What is bridged without a question:

* other prefixes, and what wrappers put into names (`names`);
* a tied tensor that the file stores once, as safetensors files do;
* ``num_batches_tracked``, which BatchNorm has only had since PyTorch 0.4.1 and which weights do not need.

* weights in parts: pruned, weight or spectral norm, where the architecture has them whole (`folding`).

What the file holds beside the model (a loss's own weight, a counter of averages, indices) is left out, and
said; all else that is surplus with ``--ignore-unexpected``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from qtrain_cli.errors import BadInput, is_out_of_memory
from qtrain_cli.models.architecture import construct, construct_skeleton, find_factory
from qtrain_cli.models.folding import folded, in_parts
from qtrain_cli.models.foreign import not_whole
from qtrain_cli.models.names import AmbiguousNames, Partners, align, common_prefix
from qtrain_cli.models.reading import said_left_out
from qtrain_cli.settings import ModelSettings

#: How many names of a kind a message lists.
_LISTED = 6


@dataclass(frozen=True)
class Fitted:
    """The module with the file's tensors; `notes` say what of the file is none of the module's, or was made
    whole."""

    module: nn.Module
    notes: tuple[str, ...]


def fit_to_architecture(
    settings: ModelSettings, outline: Mapping[str, Tensor], read: Callable[[], Mapping[str, Tensor]]
) -> Fitted:
    """The module of ``--arch`` with the file's tensors, on the CPU.

    Args:
        settings: the file and the architecture.
        outline: the file's tensors, on the meta device if possible.
        read: reads their numbers; called only once everything is known to fit.

    Raises:
        BadInput: no ``--arch``, one that cannot be built, or weights that do not fit it.
    """
    name, arch = settings.path.name, settings.arch
    partial = not_whole(name, outline)
    if arch is None and partial:
        raise BadInput(f"'{name}' is {partial[0]}", partial[1])
    if arch is None:
        numbers = sum(tensor.numel() for tensor in outline.values())
        raise BadInput(
            f"'{name}' holds weights only ({len(outline)} tensors, {numbers:,} numbers), no architecture",
            "name it: --arch package.module:Class or --arch file.py:Class",
        )
    factory = find_factory(arch)
    skeleton = construct_skeleton(factory, arch, settings.arch_args)
    try:
        found, notes = _matched(skeleton, outline, settings)
    except BadInput as error:
        if partial:
            raise BadInput(f"'{name}' is {partial[0]}", partial[1]) from None
        if not any(map(is_parametrized, skeleton.modules())):
            raise
        # They may register other tensors on the meta device, as orthogonal parametrisations do.
        module = construct(factory, arch, settings.arch_args, "cpu")
        if _expected_tensors(module).keys() == _expected_tensors(skeleton).keys():
            raise error from None
        found, notes = _matched(module, outline, settings)
    else:
        module = construct(factory, arch, settings.arch_args, "cpu")
    filled = fill_module(module, found.plan, folded(read(), _expected_tensors(module)).tensors)
    return Fitted(filled, (*notes, *said_left_out(found.left_out)))


def _matched(
    skeleton: nn.Module, outline: Mapping[str, Tensor], settings: ModelSettings
) -> tuple[Partners, tuple[str, ...]]:
    """The partners of the file's tensors, once they are whole, and what that took. Raises `BadInput`."""
    whole = folded(outline, _expected_tensors(skeleton))
    where = f"'{settings.path.name}' does not fit --arch {settings.arch}"
    return match_names(skeleton, whole.tensors, where, settings.ignore_unexpected), whole.notes


def match_names(
    skeleton: nn.Module, tensors: Mapping[str, Tensor], where: str, ignore: bool = False
) -> Partners:
    """Which tensor of the file fills which tensor of the model.

    Args:
        skeleton: the architecture, on any device.
        tensors: the file's tensors, on any device.
        where: what is compared, for the message: ``'x.pt' does not fit net.py:Net``.
        ignore: leave out whatever the model has no name for.

    Raises:
        BadInput: the difference (missing and unexpected names, other shapes or kinds), or names that fit in
            several ways.
    """
    expected = _expected_tensors(skeleton)
    try:
        found = align(tensors, expected, _tied_groups(skeleton))
    except AmbiguousNames as error:
        raise BadInput(
            f"{where} in one way only: its tensors fit under {_quoted(error.prefixes)}",
            f"pick one: --weights {error.prefixes[0] or error.prefixes[-1]}",
        ) from None
    if ignore and found.complete:
        left_out = (*found.left_out, *found.unexpected)
        found = replace(found, unexpected=(), left_out=left_out)
    parts = [
        _listed("missing", found.missing),
        _listed("unexpected", found.unexpected),
        _listed("of another shape", _shape_differences(found.plan, expected, tensors)),
        _listed("of another kind", _kind_differences(found.plan, expected, tensors)),
    ]
    if any(parts):
        raise BadInput(f"{where}: {'; '.join(filter(None, parts))}", _advice(found))
    return found


def _advice(found: Partners) -> str:
    """Where every tensor of the model has its partner, what else is in the file is what is in the way."""
    taken = common_prefix(found.plan.values())
    if found.complete and found.unexpected and taken:
        other = f"take what is under one name: --weights {taken}"
        return f"if the rest is not wanted, {other}; or leave it out: --ignore-unexpected"
    if found.complete and found.unexpected:
        return "if the rest is no part of the model, leave it out: --ignore-unexpected; else check --arch"
    if in_parts(found.unexpected):
        return "its weights are parametrised: give an --arch that registers the same parametrisations"
    return "check --arch and --arch-args; --weights picks another entry of a checkpoint"


def _quoted(prefixes: Collection[str]) -> str:
    return " and under ".join(f"'{prefix or '(no prefix)'}'" for prefix in prefixes)


def fill_module(module: nn.Module, plan: Mapping[str, str], tensors: Mapping[str, Tensor]) -> nn.Module:
    """Copy the file's tensors into `module` as `plan` says. Raises `BadInput` if tied tensors disagree."""
    for names in _tied_groups(module):
        files = {plan[name] for name in names if name in plan}
        if any(not torch.equal(tensors[a], tensors[b]) for a in files for b in files if a < b):
            raise BadInput(
                f"{', '.join(names)} are one tensor in the model and differ in the file",
                "save the state dictionary of the tied model, or name an --arch without the tie",
            )
    try:
        module.load_state_dict({name: tensors[file] for name, file in plan.items()}, strict=False)
    except Exception as error:  # the module's own hooks may raise anything
        if is_out_of_memory(error):
            raise
        shown = " ".join(str(error).split())[:300]
        raise BadInput(
            f"the model does not take the file's tensors: {shown}", "check --arch and --arch-args"
        ) from error
    return module


def _expected_tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def _tied_groups(module: nn.Module) -> list[list[str]]:
    """Names that mean one and the same parameter or buffer."""
    groups: dict[int, list[str]] = {}
    for named in (module.named_parameters, module.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            groups.setdefault(id(tensor), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _shape_differences(
    plan: Mapping[str, str], expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> list[str]:
    return [
        f"{name} is {list(tensors[file].shape)} in the file and {list(expected[name].shape)} in the model"
        for name, file in plan.items()
        if tensors[file].shape != expected[name].shape
    ]


def _kind_differences(
    plan: Mapping[str, str], expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> list[str]:
    """Copying integers (a quantised file, say) into floats would be silent nonsense."""
    return [
        f"{name} is {tensors[file].dtype} in the file and {expected[name].dtype} in the model"
        for name, file in plan.items()
        if tensors[file].is_floating_point() != expected[name].is_floating_point()
    ]


def _listed(title: str, items: Collection[str]) -> str:
    more = f", and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return f"{len(items)} {title} ({', '.join(list(items)[:_LISTED])}{more})" if items else ""
