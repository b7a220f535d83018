"""Which of a model's outputs counts: a tensor itself, `logits`, or the first of several; or the one named.

    --output logits      --output 0      --output hidden_states.3      --output encoder.last_hidden_state

A name is a key of a dictionary, the place in a tuple (or its field), an attribute of what else is returned;
dots lead into what is nested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from qtrain_cli.errors import BadInput, first_few, suggestion

_LISTED = 8


def first_tensor(outputs: Any) -> Any:
    """What counts where nothing is named."""
    if isinstance(outputs, Mapping):
        return outputs["logits"] if "logits" in outputs else next(iter(outputs.values()), outputs)
    return outputs[0] if isinstance(outputs, (tuple, list)) and outputs else outputs


def picks(module: nn.Module, path: str | None) -> nn.Module:
    """The module, returning nothing but the output of this path from now on; None: all, as before."""
    if path is not None:
        wanted: str = path
        module.register_forward_hook(lambda module, args, outputs: output_at(outputs, wanted))
    return module


def output_at(outputs: Any, path: str) -> Any:
    """The output of a dotted path. Raises `BadInput`, with what there is, where there is none."""
    found, before = outputs, list[str]()
    for name in path.split("."):
        within = dict(_members(found))
        if name not in within:
            advice = suggestion(name, within) if within else "name what is above it, or leave out --output"
            raise BadInput(_missing(path, before, within, found), advice)
        found = within[name]
        before.append(name)
    if not isinstance(found, Tensor):
        names = first_few([f"{path}.{name}" for name in dict(_members(found))], _LISTED)
        advice = f"name one of {names}" if names else "name another output, or leave out --output"
        raise BadInput(f"--output {path} is a {type(found).__name__}, no tensor", advice)
    return found


def _missing(path: str, before: list[str], within: Mapping[str, Any], found: Any) -> str:
    where = f"'{'.'.join(before)}' of the model's outputs" if before else "the model's output"
    if not within:
        return f"--output {path}: {where} is a {type(found).__name__}, which holds no others"
    return f"--output {path}: {where} holds {first_few(list(within), _LISTED)}"


def _members(outputs: Any) -> Iterator[tuple[str, Any]]:
    """What can be named in an output."""
    if isinstance(outputs, Mapping):
        yield from ((str(name), value) for name, value in outputs.items())
    elif isinstance(outputs, (tuple, list)):
        yield from zip(getattr(outputs, "_fields", ()), outputs, strict=False)
        yield from ((str(place), value) for place, value in enumerate(outputs))
    elif not isinstance(outputs, Tensor) and hasattr(outputs, "__dict__"):
        yield from vars(outputs).items()


class Noted:
    """Which output was taken: its `path` as ``--output`` has it, None where there is but one."""

    path: str | None = None


@contextmanager
def noting_choice(module: nn.Module, log: Callable[[str], None]) -> Iterator[Noted]:
    """Afterwards one line is logged, if the module returned several outputs, on which of them counts."""
    noted, said = Noted(), list[str]()

    def note(module: nn.Module, args: Any, outputs: Any) -> None:
        if noted.path is None and (chosen := _choice(outputs)):
            noted.path = chosen[0]
            said.append(chosen[1])

    handle = module.register_forward_hook(note)
    try:
        yield noted
    finally:
        handle.remove()
    for choice in said:
        log(f"of the model's outputs {choice} counts")


def recorded(output: str | None, noted: Noted) -> str | None:
    """The path that a record names: what the user said, else what was noted."""
    return output if output is not None else noted.path


def _choice(outputs: Any) -> tuple[str, str] | None:
    """The path of what counts, and how it is said; None where there is nothing to choose."""
    if isinstance(outputs, Mapping) and len(outputs) > 1:
        first = "logits" if "logits" in outputs else str(next(iter(outputs)))
        return first, f"'{first}'" if first == "logits" else f"'{first}', the first of {len(outputs)},"
    several = isinstance(outputs, (tuple, list)) and len(outputs) > 1
    return ("0", f"the first of {len(outputs)}") if several else None
