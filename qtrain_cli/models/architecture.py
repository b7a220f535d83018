"""``--arch``: from a name to a module, real or on the meta device.

    package.module:Class     file.py:Class     timm:resnet18     torchvision:resnet18

Naming an architecture means running its code: it is the user's own, or a package they installed. Which file
that is, is logged before. Whatever goes wrong in there becomes one line. The name may also be that of a
function that returns a module.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from qtrain_cli.errors import BadInput, first_line, missing_package, suggestion

_LOG = logging.getLogger(__name__)


def build_architecture(arch: str, arch_args: Mapping[str, Any], seed: int = 0) -> nn.Module:
    """The module that `arch` names, built on the CPU with its own initial weights, which follow from `seed`.

    Raises:
        BadInput: no such file, module or name in it, or its constructor fails or returns something else.
    """
    return construct(find_factory(arch), arch, arch_args, "cpu", seed)


def find_factory(arch: str) -> Callable[..., Any]:
    """The class or function that `arch` names. Imports its module. Raises `BadInput`."""
    source, _, name = arch.rpartition(":")
    if source in LIBRARIES and (registered := _registered(source, name)):
        return registered
    with _own_randomness(), _own_arguments(source):
        module = _import_file(Path(source)) if source.endswith(".py") else _import_module(source)
    factory = getattr(module, name, None)
    if factory is None:
        raise BadInput(f"'{source}' has no '{name}'", suggestion(name, _factory_names(module)))
    if isinstance(factory, nn.Module) or not callable(factory):
        raise BadInput(f"--arch {arch} is no class and no function", "name what builds the model")
    return factory


def _timm(name: str) -> Callable[..., Any] | None:
    import timm

    return functools.partial(timm.create_model, name, pretrained=False) if timm.is_model(name) else None


def _torchvision(name: str) -> Callable[..., Any] | None:
    from torchvision import models

    return functools.partial(models.get_model, name, weights=None) if name in models.list_models() else None


#: Libraries whose models go by names of their own; other names are their classes and functions.
LIBRARIES = {"timm": _timm, "torchvision": _torchvision}


def _registered(library: str, name: str) -> Callable[..., Any] | None:
    """The builder of a library's model, without pretrained weights; None where `name` is no model's."""
    try:
        return LIBRARIES[library](name)
    except ImportError as error:
        raise missing_package(f"--arch {library}:{name} ({first_line(error)})", library, library) from None


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
        raise BadInput(
            f"--arch {arch} returns a {type(module).__name__}, not a torch.nn.Module",
            "name a class of torch.nn.Module, or a function that returns one",
        )
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


@contextlib.contextmanager
def _own_arguments(source: str) -> Iterator[None]:
    """Code that reads a command line when it is imported reads an empty one, and not ours."""
    before, sys.argv = sys.argv, [source]
    try:
        yield
    finally:
        sys.argv = before


def _import_module(name: str) -> ModuleType:
    _LOG.info("importing '%s' for --arch, from '%s' if it is there", name, Path.cwd())
    try:
        with importable_from(Path.cwd()):
            return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        install = "install the package, or name the file: --arch file.py:Class"
        raise BadInput(
            f"--arch: importing '{name}' failed: {type(error).__name__}: {first_line(error)}",
            _advice(error) or install,
        ) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BadInput(f"--arch: the file '{path}' does not exist", "write file.py:Class")
    try:
        return _run_file(path)
    except (Exception, SystemExit) as error:
        failed = error
    if isinstance(failed, ImportError) and "relative import" in str(failed):
        return _import_packaged(path)
    raise BadInput(
        f"--arch: running '{path}' failed: {type(failed).__name__}: {first_line(failed)}", _advice(failed)
    ) from failed


def _run_file(path: Path) -> ModuleType:
    name = f"qtrain_architecture_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a path ending in .py always has a loader
    module = importlib.util.module_from_spec(spec)
    _LOG.info("running '%s' for --arch", path.resolve())
    sys.modules[name] = module  # dataclasses and pickle look their class's module up
    with importable_from(path.resolve().parent):
        spec.loader.exec_module(module)
    return module


def _import_packaged(path: Path) -> ModuleType:
    """The file as a module of the package that it lies in: the outermost folder with an ``__init__.py``, or
    its own. Raises `BadInput`."""
    folder = path.resolve().parent
    while (folder.parent / "__init__.py").is_file():
        folder = folder.parent
    name = ".".join(path.resolve().relative_to(folder.parent).with_suffix("").parts)
    try:
        with importable_from(folder.parent):
            module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"--arch: '{path}' imports relatively, and as '{name}' of '{folder.parent}' it fails:"
            f" {type(error).__name__}: {first_line(error)}",
            "go to the folder that holds the package and write --arch package.module:Class",
        ) from error
    if Path(getattr(module, "__file__", None) or "").resolve() != path.resolve():
        raise BadInput(
            f"--arch: '{path}' imports relatively, and '{name}' is another module",
            "go to the folder that holds the package and write --arch package.module:Class",
        )
    return module


def _advice(error: BaseException) -> str:
    """Of code that ends the program where it should only define a model."""
    ends = isinstance(error, SystemExit)
    return "put what the file runs under: if __name__ == '__main__'" if ends else ""


def _factory_names(module: ModuleType) -> list[str]:
    """Public classes and functions that the module or package itself defines."""
    return [
        name
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith("_")
        and str(getattr(value, "__module__", "")).startswith(module.__name__)
    ]
