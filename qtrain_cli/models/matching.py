"""Fitting the tensors of a file to the names of an architecture.

The whole difference is found from names, shapes and dtypes alone, before any tensor is read: both sides may
live on the meta device. What is bridged without a question:

* a wrapper's prefix that all names carry: ``module.`` (DataParallel), ``_orig_mod.`` (torch.compile),
  ``model.`` and ``net.`` (training frameworks);
* a tied tensor that the file stores once, as safetensors files do;
* ``num_batches_tracked``, which BatchNorm has only had since PyTorch 0.4.1 and which weights do not need.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput, first_line
from qtrain_cli.models.architecture import construct, construct_skeleton, find_factory
from qtrain_cli.settings import ModelSettings

WRAPPER_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
_OPTIONAL_SUFFIX = "num_batches_tracked"


def fit_to_architecture(
    settings: ModelSettings, outline: Mapping[str, Tensor], read: Callable[[], Mapping[str, Tensor]]
) -> nn.Module:
    """The module of ``--arch`` with the file's tensors, on the CPU.

    Args:
        settings: the file and the architecture.
        outline: the file's tensors, on the meta device if possible.
        read: reads their numbers; called only once everything is known to fit.

    Raises:
        BadInput: no ``--arch``, one that cannot be built, or weights that do not fit it.
    """
    name, arch = settings.path.name, settings.arch
    if arch is None:
        numbers = sum(tensor.numel() for tensor in outline.values())
        raise BadInput(
            f"'{name}' holds weights only ({len(outline)} tensors, {numbers:,} numbers), no architecture",
            "name it: --arch package.module:Class or --arch file.py:Class",
        )
    factory = find_factory(arch)
    skeleton = construct_skeleton(factory, arch, settings.arch_args)
    plan = match_names(skeleton, outline, f"'{name}' does not fit --arch {arch}")
    return fill_module(construct(factory, arch, settings.arch_args, "cpu"), plan, read())


def match_names(skeleton: nn.Module, tensors: Mapping[str, Tensor], where: str) -> dict[str, str]:
    """Which tensor of the file fills which tensor of the model: model's name -> file's name.

    Args:
        skeleton: the architecture, on any device.
        tensors: the file's tensors, on any device.
        where: what is compared, for the message: ``'x.pt' does not fit net.py:Net``.

    Raises:
        BadInput: the whole difference: every missing and unexpected name, every other shape or kind.
    """
    expected = _expected_tensors(skeleton)
    plain = strip_prefixes(tensors, expected)
    plan = {name: plain[name] for name in expected if name in plain}
    plan |= _tied_fillings(skeleton, plan)
    missing = [name for name in expected if name not in plan and not name.endswith(_OPTIONAL_SUFFIX)]
    parts = [
        _listed("missing", missing),
        _listed("unexpected", [name for name in plain if name not in expected]),
        _listed("of another shape", _shape_differences(plan, expected, tensors)),
        _listed("of another kind", _kind_differences(plan, expected, tensors)),
    ]
    if any(parts):
        raise BadInput(
            f"{where}: {'; '.join(filter(None, parts))}",
            "check --arch and --arch-args; --weights picks another entry of a checkpoint",
        )
    return plan


def fill_module(module: nn.Module, plan: Mapping[str, str], tensors: Mapping[str, Tensor]) -> nn.Module:
    """Copy the file's tensors into `module` as `plan` says. Raises `BadInput` if tied tensors disagree."""
    for names in _tied_groups(module):
        files = {plan[name] for name in names if name in plan}
        if any(not torch.equal(tensors[a], tensors[b]) for a in files for b in files if a < b):
            raise BadInput(f"{', '.join(names)} are one tensor in the model and differ in the file")
    try:
        module.load_state_dict({name: tensors[file] for name, file in plan.items()}, strict=False)
    except RuntimeError as error:
        raise BadInput(f"the model does not take the file's tensors: {first_line(error)}") from error
    return module


def strip_prefixes(names: Iterable[str], expected: Collection[str]) -> dict[str, str]:
    """Names without the wrapper's prefixes, where all carry them and no expected one does -> file's names."""
    plain = {name: name for name in names}
    while plain:
        prefix = next(
            (p for p in WRAPPER_PREFIXES if _all_start(plain, p) and not _any_starts(expected, p)), None
        )
        if prefix is None:
            break
        plain = {name.removeprefix(prefix): file for name, file in plain.items()}
    return plain


def _all_start(names: Iterable[str], prefix: str) -> bool:
    return all(name.startswith(prefix) and name != prefix for name in names)


def _any_starts(names: Iterable[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)


def _expected_tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def _tied_groups(module: nn.Module) -> list[list[str]]:
    """Names that mean one and the same parameter or buffer."""
    groups: dict[int, list[str]] = {}
    for named in (module.named_parameters, module.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            groups.setdefault(id(tensor), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _tied_fillings(module: nn.Module, plan: Mapping[str, str]) -> dict[str, str]:
    """For each name the file lacks: the file's tensor of a name it is tied to."""
    fillings: dict[str, str] = {}
    for names in _tied_groups(module):
        present = [plan[name] for name in names if name in plan]
        if present:
            fillings |= {name: present[0] for name in names if name not in plan}
    return fillings


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
    return f"{len(items)} {title} ({', '.join(items)})" if items else ""
