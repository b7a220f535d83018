"""What the user of a file will have: a fresh module of the model, its tensors loaded, in evaluation mode.

    tensors --load_state_dict, eval()--> fresh module --> the figures of the record
            --the module that was trained--> the same outputs, or nothing is written

Before an hour is spent, the same is asked of tensors that are a little off the model's own (`check`): what
training would move has to be what a fresh module takes from a state dictionary, and all that it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from qtrain_cli.data.inputs import Inputs, Prepare
from qtrain_cli.errors import QtrainError, RunFailed, few_quoted
from qtrain_cli.methods.method import Scene
from qtrain_cli.models import LoadedModel, build_architecture, load_model
from qtrain_cli.models.call import call_model, joined, load_into, own_state, predict
from qtrain_cli.models.in_place import own_streams, places_of, unchanged
from qtrain_cli.models.outputs import picks
from qtrain_cli.results.measured import ONE_DRAW, UNCHECKED, UNREPEATABLE
from qtrain_cli.settings import ModelSettings
from qtrain_cli.targets.change import matrix_of
from qtrain_cli.targets.entries import GENERATED
from qtrain_cli.targets.layout import complete, kept_tensors
from qtrain_cli.training.devices import numbers_in

_ADVICE = "read parameters by attribute, and keep in parameters and buffers whatever outputs depend on"
_SHOWN = 8
#: How far the probe's tensors are from the model's own, of their size; and its seed.
_APART, _SEED = 0.05, 0

#: Inputs that both modules are asked before training.
ASKED_ROWS = 16

#: Numbers that are compared at a time: what a comparison makes on its way is several times as large.
_AT_ONCE = 2**20

#: A module of more numbers is not kept while another one trains.
KEPT_NUMBERS = 2**21

Values = dict[str, Tensor]


@dataclass(frozen=True)
class Fresh:
    """A module that was never trained, or None; `note` is what the record says of the figures."""

    module: nn.Module | None
    note: str | None = None


def fresh_module(settings: ModelSettings, loaded: LoadedModel, device: torch.device) -> nn.Module | None:
    """The model made anew: built with other initial weights, or read from the same bytes; None where that
    does not work a second time."""
    try:
        if settings.arch is not None:
            built = build_architecture(settings.arch, settings.arch_args, seed=_SEED + 1)
            return picks(built, settings.output).to(device)
        again = load_model(settings)
    except QtrainError:
        return None
    return again.module.to(device) if again.sha256 == loaded.sha256 else None


def check(scene: Scene, fresh: nn.Module | None, inputs: Inputs, prepare: Prepare) -> Fresh:
    """Compares the scene's module with a fresh one, on the first inputs (N, ...) and tensors of a seed's.

    Raises:
        RunFailed: a state dictionary does not say all of what the module computes; with what it leaves out.
        BadInput: the module does not take its own state dictionary.
    """
    made, rows = _apart(scene), inputs[:ASKED_ROWS]
    _require_places(scene, made)
    if fresh is None:
        return Fresh(None, UNCHECKED)
    _require_loaded(fresh, made)
    _trained_a_little(scene, made, prepare(rows.to(scene.device)))

    found, again = (_asked(fresh, made, rows, prepare) for _ in range(2))
    if not _close(found, again):
        return Fresh(fresh, UNREPEATABLE)
    _require_close(scene.module, fresh, _asked(scene.module, made, rows, prepare), found)
    other = _asked(fresh, made, rows, prepare, _SEED + 1)
    return Fresh(fresh, None if _close(found, other) else ONE_DRAW)


def kept_or_made(fresh: Fresh, again: Callable[[], nn.Module | None]) -> Callable[[], Fresh]:
    """What gives the fresh module when it is needed after training: a large one is made once more then, and
    is not in memory all the while."""
    if fresh.module is None or numbers_in(fresh.module) <= KEPT_NUMBERS:
        return lambda: fresh
    note = fresh.note
    return lambda: Fresh(again(), note)


def check_trained(fresh: Fresh, trained: nn.Module, state: Values, rows: Inputs, prepare: Prepare) -> None:
    """After training: raises `RunFailed` unless the trained module and the fresh one compute the same."""
    if fresh.module is not None and fresh.note != UNREPEATABLE:
        found = _asked(trained, state, rows, prepare)
        _require_close(trained, fresh.module, found, _asked(fresh.module, state, rows, prepare))


def _asked(module: nn.Module, state: Values, rows: Inputs, prepare: Prepare, seed: int = _SEED) -> Tensor:
    with own_streams(seed):
        return predict(module, state, rows, prepare)


def _apart(scene: Scene) -> Values:
    """The model's tensors, each of floats a little off; what is tied stays so."""
    random = torch.Generator().manual_seed(_SEED)

    def moved(tensor: Tensor, generated: bool) -> Tensor:
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            return tensor.clone()
        noise = _APART * torch.randn(tensor.shape, generator=random).to(tensor)
        # What is kept may hold zeros and infinities that mean something: a mask.
        return tensor + tensor.square().mean().sqrt() * noise if generated else tensor * (1 + noise)

    if scene.ground:
        entries = scene.layout.of_role(GENERATED)
        drawn = {e.name: torch.randn(e.shape, generator=random).to(scene.device) for e in entries}
        made = {e.name: _APART * e.scale * drawn[e.name] for e in entries}
        whole = scene.ground.state(scene.layout, kept_tensors(scene.layout, scene.teacher), made)
        # Copies: what a layer changes in its buffers here must not be changed in the base.
        copies = {id(tensor): tensor.detach().clone() for tensor in whole.values()}
        return {name: copies[id(tensor)] for name, tensor in whole.items()}
    own = [entry for entry in scene.layout.entries if not entry.source]
    made = {entry.name: moved(scene.teacher[entry.name], entry.role == GENERATED) for entry in own}
    return complete(scene.layout, made, {**made, **kept_tensors(scene.layout, made)})


def _require_places(scene: Scene, made: Values) -> None:
    """What training moves has a place in the module."""
    places = places_of(scene.module)
    wanted = [matrix_of(entry.name) for entry in scene.layout.of_role(GENERATED)]
    missing = [name for name in wanted if name not in places]
    if missing:
        raise _failed(
            f"{few_quoted(missing, _SHOWN)} of its state dictionary are not the module's own tensors"
        )


def _require_loaded(module: nn.Module, made: Values) -> None:
    """What is loaded is there afterwards, under its name."""
    with torch.no_grad(), unchanged(module):
        load_into(module, made)
        module.train()
        found = own_state(module)
        changed = [name for name, tensor in made.items() if not _close(found[name], tensor)]
    if changed:
        raise _failed(f"{few_quoted(changed, _SHOWN)} are changed by loading them, or by eval() and train()")


def _trained_a_little(scene: Scene, made: Values, inputs: Inputs) -> None:
    """A forward as in training, with all that it leaves in the module beside its mode and tensors."""
    module = scene.module
    with torch.no_grad(), own_streams(_SEED), unchanged(module):
        module.train(scene.ground is None)
        call_model(module, dict(made), inputs)


def _require_close(trained: nn.Module, fresh: nn.Module, found: Tensor, expected: Tensor) -> None:
    if _close(found, expected):
        return
    apart = float((found.double() - expected.double()).abs().max())
    held = list(_other_attributes(trained, fresh))
    named = f": {few_quoted(held, _SHOWN)} differ" if held else ""
    raise _failed(
        f"a fresh module with the same tensors has outputs that are {apart:.2g} off, so that they depend on"
        f" something that the state dictionary does not hold{named}"
    )


def _other_attributes(one: nn.Module, other: nn.Module) -> Iterator[str]:
    """Plain attributes, and buffers that are not stored, that are not alike."""
    twins = dict(other.named_modules())
    for path, layer in one.named_modules():
        there = _attributes(twins[path]) if path in twins else {}
        for name, value in _attributes(layer).items():
            if not _alike(value, there.get(name)):
                yield joined(path, name)


def _attributes(layer: nn.Module) -> dict[str, object]:
    """All but the mode, which is set for every call."""
    return {name: value for name, value in {**vars(layer), **layer._buffers}.items() if name != "training"}


def _alike(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return _close(one, other)
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return False
    return not isinstance(one, (int, float, str)) or one == other


def _close(one: Tensor, other: Tensor) -> bool:
    """The same but for the last digits: half of those of the dtype."""
    if one.shape != other.shape or not one.is_floating_point():
        return one.shape == other.shape and bool((one == other).all())
    half = torch.finfo(one.dtype).eps ** 0.5
    ours, theirs = (tensor.reshape(-1).split(_AT_ONCE) for tensor in (one, other))
    size = max((float(part.abs().nan_to_num(0, 0).max()) for part in theirs if len(part)), default=0.0)
    alike = partial(torch.allclose, rtol=half, atol=half * size, equal_nan=True)
    return all(alike(part, there) for part, there in zip(ours, theirs, strict=True))


def _failed(what: str) -> RunFailed:
    return RunFailed(f"the weights of a file would not be those that are trained: {what}", _ADVICE)
