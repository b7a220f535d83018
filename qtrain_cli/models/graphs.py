"""``.pt2`` archives: a graph that carries its own architecture, as `torch.export.save` writes it.

The module works like any other with `named_parameters` and `state_dict`. Two things differ
from the module it was made from:

* It has one mode, the one it was exported in, and `train()` and `eval()` change nothing: BatchNorm uses its
  stored statistics and never updates them, dropout is off. An archive exported in training mode would drop
  weights at random in every evaluation, so it is refused with advice.
* What depended on the input's shape is fixed, unless the export declared a dimension dynamic; a fixed size of
  batches is kept to (`fixed_batch`).

Which archives may be loaded at all is decided in `untrusted`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import torch
from torch import nn

from qtrain_cli.errors import BadInput, Refused, first_few, first_line
from qtrain_cli.models.fixed_batch import in_fixed_batches
from qtrain_cli.models.opened import ModelFile
from qtrain_cli.models.untrusted.archives import clean_archive, read_records
from qtrain_cli.models.untrusted.checked_operators import with_checks
from qtrain_cli.models.untrusted.graph_checks import graph_problems
from qtrain_cli.models.untrusted.versions import is_audited, require_audited

_TRAINING_ARGUMENTS = ("train", "training")
_SHOWN_PROBLEMS = 3
_LOGGERS = ("torch.export", "torch.fx.experimental.symbolic_shapes")


def load_graph(file: ModelFile, trusted: bool) -> tuple[nn.Module, bool]:
    """The archive's module, and whether it took the user's trust to load it.

    Raises:
        Refused: it could run code, or this PyTorch was not audited, and `trusted` is False.
        BadInput: damaged, of another PyTorch, without exactly one program, or exported in training mode.
    """
    if not trusted:
        require_audited(f"the .pt2 archive '{file.name}'")
    records = read_records(file)
    problems = find_problems(file, records)
    if problems and not trusted:
        raise Refused(
            f"'{file.name}' could run code: it holds {first_few(problems, _SHOWN_PROBLEMS)}",
            "save the state dictionary and name its --arch; or if you trust where the file comes from, add"
            " --trust-pickle",
        )
    program = _read_program(file, file.stream if problems else clean_archive(records))
    _require_evaluation_mode(program, file.name)
    module = program.module(check_guards=False)
    took_trust = bool(problems) or not is_audited()
    if took_trust:
        return in_fixed_batches(module, program), True
    return in_fixed_batches(with_checks(module), program, "" if trusted else file.name), False


def load_old_graph(file: ModelFile) -> nn.Module:
    """The module of an archive of PyTorch 2.7 or older, whose tensors are pickles: for trusted files only.

    Raises:
        BadInput: damaged, or of a version that this PyTorch does not read.
    """
    try:
        with _quiet_export():
            file.stream.seek(0)
            program = torch.export.load(file.stream)
    except Exception as error:
        raise _damaged(file, error) from error
    _require_evaluation_mode(program, file.name)
    return in_fixed_batches(program.module(check_guards=False), program)


def find_problems(file: ModelFile, records: dict[str, bytes]) -> list[str]:
    """Why an archive of these records must not be loaded untrusted. Runs nothing. Raises `BadInput`."""
    try:
        return graph_problems(records, file.size)
    except Exception as error:  # JSON of any other shape than a graph's
        raise _damaged(file, error) from None


def _read_program(file: ModelFile, archive: IO[bytes]) -> Any:
    # Not torch.export.load: on an error that tries the reader of older archives, which unpickles.
    from torch.export.pt2_archive._package import load_pt2

    try:
        with _quiet_export():
            archive.seek(0)
            programs = load_pt2(archive).exported_programs
    except Exception as error:
        raise _damaged(file, error) from error
    if len(programs) != 1:
        raise BadInput(
            f"'{file.name}' holds {len(programs)} programs; allowed: one",
            "export each program to a file of its own with torch.export.save",
        )
    return next(iter(programs.values()))


def _require_evaluation_mode(program: Any, name: str) -> None:
    for node in program.graph.nodes:
        if node.op == "call_function" and _is_training(node):
            raise BadInput(
                f"'{name}' was exported in training mode: its {node.target.__name__} is switched on",
                "call model.eval() before torch.export.export",
            )


def _is_training(node: Any) -> bool:
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    names = [argument.name for argument in node.target._schema.arguments]
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    return any(given.get(name) is True for name in _TRAINING_ARGUMENTS)


@contextmanager
def _quiet_export() -> Iterator[None]:
    """Keep the export machinery's log off stderr: what matters of it becomes our error."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _damaged(file: ModelFile, error: BaseException) -> BadInput:
    return BadInput(
        f"'{file.name}' cannot be read as a .pt2 archive of PyTorch {torch.__version__}: "
        f"{type(error).__name__}: {first_line(error)}",
        "export it again with this PyTorch, or give the weights with --arch",
    )
