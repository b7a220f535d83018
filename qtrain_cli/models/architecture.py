"""``--arch``: from ``package.module:Class`` or ``file.py:Class`` to a module, real or on the meta device.

Naming an architecture means running its code: it is the user's own, or a package they installed. Whatever
goes wrong in there becomes one line. The name may also be that of a function that returns a module.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from qtrain_cli.errors import BadInput, first_line, suggestion


def build_architecture(arch: str, arch_args: Mapping[str, Any], seed: int = 0) -> nn.Module:
    """The module that `arch` names, built on the CPU with its own initial weights, drawn from `seed`.

    Raises:
        BadInput: no such file, module or name in it, or its constructor fails or returns something else.
    """
    return construct(find_factory(arch), arch, arch_args, "cpu", seed)


def find_factory(arch: str) -> Callable[..., Any]:
    """The class or function that `arch` names. Imports its module. Raises `BadInput`."""
    source, _, name = arch.rpartition(":")
    with _own_randomness():
        module = _import_file(Path(source)) if source.endswith(".py") else _import_module(source)
    factory = getattr(module, name, None)
    if factory is None:
        raise BadInput(f"'{source}' has no '{name}'", suggestion(name, _factory_names(module)))
    if isinstance(factory, nn.Module) or not callable(factory):
        raise BadInput(f"--arch {arch} is no class and no function", "name what builds the model")
    return factory


def construct(
    factory: Callable[..., Any], arch: str, arch_args: Mapping[str, Any], device: str, seed: int = 0
) -> nn.Module:
    """Build the module on `device`; the same call gives the same initial weights. Raises `BadInput`."""
    try:
        with _own_randomness(seed), torch.device(device):
            module = factory(**arch_args)
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"--arch {arch} cannot be built: {type(error).__name__}: {first_line(error)}",
            """give its arguments as JSON, e.g. --arch-args '{"width": 8}'""",
        ) from error
    if not isinstance(module, nn.Module):
        raise BadInput(f"--arch {arch} returns a {type(module).__name__}, not a torch.nn.Module")
    return module


def construct_skeleton(factory: Callable[..., Any], arch: str, arch_args: Mapping[str, Any]) -> nn.Module:
    """Names and shapes only: built on the meta device, or on the CPU where that fails."""
    try:
        return construct(factory, arch, arch_args, "meta")
    except BadInput:
        return construct(factory, arch, arch_args, "cpu")


@contextlib.contextmanager
def importable_from(folder: Path) -> Iterator[None]:
    """Look for modules in `folder` first, as Python does for a script."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextlib.contextmanager
def _own_randomness(seed: int = 0) -> Iterator[None]:
    """The user's code draws its initial weights from a fixed seed, and nothing from the caller's stream."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


def _import_module(name: str) -> ModuleType:
    try:
        with importable_from(Path.cwd()):
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"--arch: importing '{name}' failed: {type(error).__name__}: {first_line(error)}",
            "install the package, or name the file: --arch file.py:Class",
        ) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BadInput(f"--arch: the file '{path}' does not exist", "write file.py:Class")
    name = f"qtrain_architecture_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a path ending in .py always has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their class's module up
    try:
        with importable_from(path.resolve().parent):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"--arch: running '{path}' failed: {type(error).__name__}: {first_line(error)}"
        ) from error
    return module


def _factory_names(module: ModuleType) -> list[str]:
    """Public classes and functions that the module or package itself defines."""
    return [
        name
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith("_")
        and str(getattr(value, "__module__", "")).startswith(module.__name__)
    ]
