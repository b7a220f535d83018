"""From a base model to the ground of a file of changes: its tensors by the model's names, with the factors.

    to train      module, base --names--> layout, ground
    to read       file, base --digest--> ground                     no module, and nothing of it is run

A fine-tune may have the base under a prefix (``bert.`` before the names of a `BertModel`), and tensors that
the base lacks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from qtrain_cli.artifact.description import Description
from qtrain_cli.data import Dataset
from qtrain_cli.errors import BadInput, QtrainError, Refused, UsageError, few_quoted, printable
from qtrain_cli.methods.seeded import factors, first_numbers
from qtrain_cli.models import LoadedModel
from qtrain_cli.models.bases import TENSORS_ALONE, load_base
from qtrain_cli.models.call import file_state, predict
from qtrain_cli.models.heads import put_head
from qtrain_cli.portable.frames import leading_frames
from qtrain_cli.runs.materials import AskedChange, Materials
from qtrain_cli.settings import ModelSettings
from qtrain_cli.targets.change import HEAD_WEIGHT, XS, Base, Change, Wanted, matrix_of
from qtrain_cli.targets.changes import changes_layout, lora_numbers, settled_target
from qtrain_cli.targets.entries import GENERATED, LayoutSpec
from qtrain_cli.targets.ground import Ground, counts_up, digest_of_tensors
from qtrain_cli.targets.kept import settled
from qtrain_cli.targets.layout import layout_of, sources_of
from qtrain_cli.targets.size import model_bytes

_ITS_BASE = "give the very base that it was made with, in the same precision"


@dataclass(frozen=True)
class BaseModel:
    """A base as it was read: `tensors` by its own names on the CPU, `ties` as `Ground` has them, the digest
    over them, and `head`, how features become scores where a head was put on it.

    `wanted` is what was asked for, `taught` whether the model that changes it is a teacher, and not the base
    itself; `notes` are lines on how it was read.
    """

    name: str
    tensors: Mapping[str, Tensor]
    ties: Mapping[str, str]
    sha256: str
    head: str = ""
    wanted: Wanted | None = None
    taught: bool = True
    notes: tuple[str, ...] = ()

    def is_named_by(self, sha256: str) -> bool:
        """Whether this is a file's digest of its base, as files have it now or had it before."""
        if sha256 == self.sha256 or not any(map(counts_up, self.tensors.values())):
            return sha256 == self.sha256
        return sha256 == digest_of_tensors(self.tensors, positions=True)


def base_of(loaded: LoadedModel | Mapping[str, Tensor], name: str = "") -> BaseModel:
    """A loaded model, or the tensors of a file of this name, as a base."""
    if isinstance(loaded, LoadedModel):
        return base_of_module(loaded.module, loaded.name)
    own = {key: tensor.detach() for key, tensor in loaded.items()}
    return BaseModel(printable(name), own, sources_of(loaded), digest_of_tensors(own))


def base_of_module(module: nn.Module, name: str) -> BaseModel:
    """A module as a base; its tensors are shared with it, and not copied, as long as it is on the CPU."""
    state = module.state_dict(keep_vars=True)
    own = {name: tensor.detach().cpu() for name, tensor in state.items()}
    return BaseModel(name, own, sources_of(state), digest_of_tensors(own))


def base_under(
    materials: Materials, loaded: LoadedModel, data: Dataset, log: Callable[[str], None]
) -> BaseModel | None:
    """The base of a run of changes; where it is the model itself, it gets the head that it lacks.

    Raises:
        BadInput: as loading it, or asking the model for two rows.
    """
    change = materials.change
    if change is None:
        return None
    base, classes = base_beside(change, loaded), _classes(data)
    for line in base.notes:
        log(line)
    if base.taught:
        return base
    width, has_scores = _features(loaded, data)
    if not classes or (has_scores and width == classes):
        return base
    put_head(loaded.module, width, classes, change.pooling)
    how = "" if has_scores else f", their {change.pooling} over a row"
    log(f"{loaded.name}: its {width} outputs{how} get a head for {classes} classes, which is generated too")
    return replace(base, head=change.pooling)


def base_beside(change: AskedChange, loaded: LoadedModel) -> BaseModel:
    """The base that a loaded model changes: another one, or that model itself."""
    if change.base is None:
        return replace(base_of(loaded), wanted=change.wanted, taught=False)
    name, other = change.base()
    notes = () if isinstance(other, LoadedModel) else (f"{printable(name)}: {TENSORS_ALONE}",)
    return replace(base_of(other, name), wanted=change.wanted, notes=notes)


def _classes(data: Dataset) -> int:
    """How many classes rows have one of, by labels and task; 0 where they are none."""
    return 0 if data.row.places or data.row.own_outputs else data.classes or 0


def _features(loaded: LoadedModel, data: Dataset) -> tuple[int, bool]:
    """The last axis of what the model makes of two rows, and whether it is the only one beside the rows."""
    given = data.for_lookups(loaded.looks_up)
    outputs = predict(loaded.module, file_state(loaded.module), data.train.inputs[:2], given.normalisation)
    picture = outputs.dim() > 3
    return outputs.shape[1 if picture else -1], outputs.dim() == 2


def changed_layout(
    module: nn.Module, base: BaseModel, patterns: tuple[Sequence[str], Sequence[str]], seed: int
) -> tuple[LayoutSpec, Ground]:
    """What a run of changes works with.

    Args:
        module: the fine-tune, or the base itself with the head that it lacked.
        base: the base.
        patterns: `--targets` and `--ignore`.
        seed: of A.

    Raises:
        UsageError: a pattern that matches nothing. BadInput: the base is none of this model's.
    """
    wanted, targets = settled_target(base.wanted, module, patterns[0])
    state = module.state_dict(keep_vars=True)
    prefix = _prefix(state, base)
    lacking = frozenset(
        name for name, tensor in state.items() if _under(base, prefix, name, tensor.shape) is None
    )
    layout = changes_layout(module, wanted, lacking, targets, patterns[1])
    # A difference's constant row is zero, whatever the base's own is.
    zeros = {entry.name: torch.zeros(()).expand(entry.shape) for entry in layout.of_role(GENERATED)}
    layout = settled(layout, {name: tensor.cpu() for name, tensor in state.items()} | zeros, dict)
    whole = Base(base.sha256, base.name, model_bytes(layout_of(module)))
    matrices = [
        entry for entry in layout.of_role(GENERATED) if entry.name in lacking and len(entry.shape) > 1
    ]
    start = len(matrices) > 1
    seed = seed if wanted.rank or start else 0
    numbers = lora_numbers(module, wanted, lacking, targets, patterns[1])
    change = Change(wanted.kind, whole, wanted.rank, wanted.scale, seed, numbers, prefix, base.head, start)
    tensors = {name: _own_or_zero(base, prefix, name, tensor) for name, tensor in state.items()}
    return layout, _ground(change, layout, tensors, sources_of(state), lacking)


def ground_of_file(change: Change, layout: LayoutSpec, base: BaseModel) -> Ground:
    """The ground of a file. Raises `Refused` for another base than the file's."""
    if not base.is_named_by(change.base.sha256):
        raise Refused(
            f"the base '{base.name}' has the digest {base.sha256[:16]}, and the file changes"
            f" '{change.base.name}' of {change.base.sha256[:16]}",
            _ITS_BASE,
        )
    tensors = {change.prefix + name: tensor for name, tensor in base.tensors.items()}
    ties = {change.prefix + name: change.prefix + first for name, first in base.ties.items()}
    new = set()
    for entry in layout.entries:
        name = matrix_of(entry.name)
        if name == entry.name and (name not in tensors or tensors[name].shape != entry.shape):
            tensors[name], ties[name] = torch.zeros(entry.shape), name
            new.add(name)
        elif name not in tensors:
            raise BadInput(f"the file changes '{name}', which its base does not have", _ITS_BASE)
    return _ground(change, layout, tensors, ties, frozenset(new))


def _ground(
    change: Change,
    layout: LayoutSpec,
    tensors: Mapping[str, Tensor],
    ties: Mapping[str, str],
    new: frozenset[str],
) -> Ground:
    shapes = {}
    for entry in layout.of_role(GENERATED):
        name = matrix_of(entry.name)
        if name != entry.name:
            rows, *rest = tensors[name].shape or (0,)
            columns, between = math.prod(rest), change.kind == XS
            expected = (change.rank if between else rows, change.rank)
            if entry.shape != expected or (between and change.rank > min(rows, columns)):
                raise BadInput(f"the factor '{entry.name}' does not fit the base's '{name}'", _ITS_BASE)
            shapes[name] = (change.rank, columns)
        elif name not in new and tensors[name].shape != entry.shape:
            raise BadInput(f"'{name}' has another shape in the base", _ITS_BASE)
    if change.start:
        tensors = {**tensors, **_starts(change.seed, layout, new)}
    found = factors(change.seed, shapes)
    if change.kind != XS:
        return Ground(change, tensors, ties, found, new)
    pairs = {name: _frames(tensors[name], start) for name, start in found.items()}
    right, left = ({name: pair[side] for name, pair in pairs.items()} for side in (1, 0))
    return Ground(change, tensors, ties, right, new, left)


def _starts(seed: int, layout: LayoutSpec, new: frozenset[str]) -> dict[str, Tensor]:
    """Of the matrices that a base lacks: variance 1 / columns, a stream for each, in the layout's order."""
    generated = layout.of_role(GENERATED)
    lacking = [entry for entry in generated if entry.name in new and len(entry.shape) > 1]
    return {entry.name: first_numbers(seed, place, entry.shape) for place, entry in enumerate(lacking)}


def _frames(matrix: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """The leading directions of a tensor seen as a matrix, found from a start (r, columns)."""
    whole = matrix.double().reshape(len(matrix), -1).numpy()
    left, right = leading_frames(whole, start.numpy().T)
    return torch.from_numpy(left), torch.from_numpy(right)


def _prefix(state: Mapping[str, Tensor], base: BaseModel) -> str:
    """What stands before the base's names in the model's. Raises `BadInput` for too little in common."""
    cuts = ((name[: dot.end()], name[dot.end() :]) for name in state for dot in re.finditer("[.]", name))
    tried = {prefix for prefix, own in cuts if own in base.tensors} | {""}
    found = {
        prefix: sum(_under(base, prefix, name, t.shape) is not None for name, t in state.items())
        for prefix in tried
    }
    best = max(sorted(found), key=lambda prefix: found[prefix])
    if 2 * found[best] < len(state):
        strange = [name for name, tensor in state.items() if _under(base, best, name, tensor.shape) is None]
        raise BadInput(
            f"the base '{base.name}' is none of this model: it lacks {len(strange)} of its {len(state)}"
            f" tensors ({few_quoted(strange)})",
            "give the model that it was fine-tuned from",
        )
    return best


def _under(base: BaseModel, prefix: str, name: str, shape: torch.Size) -> Tensor | None:
    """The base's tensor of the model's name, if it is the same in shape."""
    found = base.tensors.get(name.removeprefix(prefix)) if name.startswith(prefix) else None
    return found if found is not None and found.shape == shape else None


def _own_or_zero(base: BaseModel, prefix: str, name: str, tensor: Tensor) -> Tensor:
    own = _under(base, prefix, name, tensor.shape)
    if own is not None:
        return own
    trained = isinstance(tensor, nn.Parameter) and tensor.is_floating_point()
    return torch.zeros(tensor.shape) if trained else tensor.detach()


def on_cpu(ground: Ground | None) -> Ground | None:
    """Where files are written and read."""
    return ground and ground.moved_to(torch.device("cpu"))


@dataclass(frozen=True)
class OpenedBase:
    """A file's base as it was loaded.

    `layers` is the base's module with the head of the file, None for a base of which only the tensors are
    known; `lacks` names tensors of the file for which that has no place, "" where it has one for all.
    """

    ground: Ground
    layers: nn.Module | None
    said: tuple[str, ...]
    lacks: str = ""

    @property
    def module(self) -> nn.Module | None:
        """What the file's state can be put in."""
        return None if self.lacks else self.layers


def opened_base(description: Description, named: NamesBase) -> OpenedBase | None:
    """The base of a file of changes; None for a file of a model.

    Args:
        description: the file's.
        named: settings that may name the base, or places where it may be.

    Raises:
        UsageError: it changes a base and none is named, or the other way round.
        Refused: it changes another base. BadInput, Refused: as `load_model`.
    """
    change = description.change
    if change is None:
        require_base(description, named.base is not None)
        return None
    loaded, name = found_base(change, named)
    ground = ground_of_file(change, description.layout, base_of(loaded, name))
    if not isinstance(loaded, LoadedModel):
        return OpenedBase(ground, None, (f"{printable(name)}: {TENSORS_ALONE}",))
    module = headed(loaded.module, ground)
    known = module.state_dict() if module else {}
    missing = [name for entry in description.layout.entries if (name := matrix_of(entry.name)) not in known]
    return OpenedBase(ground, module, loaded.said, few_quoted(missing) if missing else "")


class NamesBase(Protocol):
    """What settings of a file of changes have."""

    @property
    def base(self) -> Path | None: ...
    @property
    def bases(self) -> tuple[Path, ...]: ...
    @property
    def arch(self) -> str | None: ...
    @property
    def arch_args(self) -> dict[str, Any]: ...


def model_settings(named: NamesBase, path: Path) -> ModelSettings:
    """How the base at this place is read."""
    return ModelSettings(path, named.arch, named.arch_args)


def found_base(change: Change, named: NamesBase) -> tuple[LoadedModel | Mapping[str, Tensor], str]:
    """The base that is named, or the first of several places that has the digest; and its file's name.

    Raises:
        UsageError: none is named, or none of the places has it. As `load_base`, of the one that is named.
    """
    if named.base is not None:
        return load_base(model_settings(named, named.base)), named.base.name
    for path in named.bases:
        try:
            loaded = load_base(model_settings(named, path))
            is_it = base_of(loaded, path.name).is_named_by(change.base.sha256)
        except QtrainError:
            continue
        if is_it:
            return loaded, path.name
    raise _no_base(change, f"; none of {len(named.bases)} --bases is it" if named.bases else "")


def require_base(description: Description, given: bool) -> None:
    """Raises `UsageError` for a file of changes without its base, and a base that a file has no use for."""
    change = description.change
    if change and not given:
        raise _no_base(change)
    if given and change is None:
        raise UsageError("--base has no use for a file that holds a whole model", "leave it out")


def _no_base(change: Change, tried: str = "") -> UsageError:
    return UsageError(
        f"the file changes the base '{change.base.name}', which is no part of it"
        f" (digest {change.base.sha256[:16]}){tried}",
        "name the base with --base (from Python: load(path, base=...), or several places, bases=[...])",
    )


def headed(module: nn.Module | None, ground: Ground | None) -> nn.Module | None:
    """A module of the base's class with the head that a file of changes has put on it, if it has."""
    if module is None or ground is None or not ground.change.head:
        return module
    classes, width = ground.tensors[HEAD_WEIGHT].shape
    return put_head(module, width, classes, ground.change.head)


def ground_identity(ground: Ground | None) -> dict[str, Any]:
    """What a run of changes depends on beside its model; nothing for any other run."""
    if ground is None:
        return {}
    return {"base": ground.change.base.sha256, "target": ground.change.bare.stored()}
