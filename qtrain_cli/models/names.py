"""Whose name is whose: the tensors of a file beside those of an architecture, found from names and shapes.

A training script wraps a model, or is a wrapper itself, and the names in its checkpoint tell of it. Tried in
this order, and the first way in which every tensor of the model finds one of its shape is taken:

1. the names as they are;
2. without what wrappers put between, at any depth and on both sides: ``module``, ``_orig_mod`` (of
   torch.compile), ``_checkpoint_wrapped_module``, ``_fsdp_wrapped_module``;
3. without ``model``, ``net``, ``network`` too;
4. with one prefix of the file's names taken off, put before, or (at the front) another in its place:
   ``student.net.0.weight`` is ``0.weight``, ``encoder.body.0.weight`` is ``encoder.0.weight``, and so on;
   then with a second one.

Where step 4 has two ways that take other tensors, nobody can say which is meant: `AmbiguousNames`. Left out
are only names that are known to be none of a model's (`_ASIDE`): a loss's own weight, a metric, a counter of
averages, an average or a teacher that is kept beside the model, what quantisation observes; and, beside a
model that is whole, tensors that nothing was learned in (indices, masks). Anything else is for the caller to
report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

WRAPPERS = frozenset({"module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"})
_MODELS = WRAPPERS | {"model", "net", "network"}
_OPTIONAL_SUFFIX = "num_batches_tracked"
_ASIDE = re.compile(
    r"n_averaged|(\w+_)?(criterion|loss|metrics?|acc|accuracy|ema|teacher)(_\w+)?"
    r"|\w*(fake_quant|post_process|observer)\w*|position_ids|inv_freq|masked_bias|total_ops|total_params"
)
#: Rules that are tried on top of each other, and missing names from which rules are read off.
_DEPTH, _PROBES, _MOST_WAYS = 2, 3, 64

Keys = dict[str, str]  # a name as it is compared -> the name as it is


class AmbiguousNames(Exception):
    """The file's tensors fit in several ways; `prefixes` are where those of each way are in the file."""

    def __init__(self, prefixes: list[str]) -> None:
        super().__init__(", ".join(prefixes))
        self.prefixes = prefixes


@dataclass(frozen=True)
class Partners:
    """`plan`: the model's name -> the file's. `missing` of the model and `unexpected` of the file have no
    partner; `left_out` are the file's that are known to be none of a model's."""

    plan: dict[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every tensor of the model has its partner."""
        return not self.missing

    @property
    def differences(self) -> int:
        """How many names have no partner, on both sides."""
        return len(self.missing) + len(self.unexpected)


@dataclass(frozen=True)
class _Sides:
    """What is compared: both sides' tensors, and which of the model's are tied to which."""

    file: Mapping[str, Tensor]
    model: Mapping[str, Tensor]
    ties: list[list[str]]

    def aligned(self, file: Keys, model: Keys) -> Partners:
        """By these keys. A missing tensor is filled by a name that it is tied to."""
        plan = {name: file[key] for key, name in model.items() if key in file}
        for names in self.ties:
            given = [plan[name] for name in names if name in plan]
            plan |= {name: given[0] for name in names if given and name not in plan}
        missing = tuple(
            name for name in model.values() if name not in plan and not name.endswith(_OPTIONAL_SUFFIX)
        )
        filled = not missing
        strange = [name for key, name in file.items() if key not in model]
        aside = tuple(name for name in strange if _is_aside(name) or (filled and self._holds_nothing(name)))
        return Partners(plan, missing, tuple(n for n in strange if n not in aside), aside)

    def _holds_nothing(self, name: str) -> bool:
        """Whether a tensor of the file holds nothing that was learned: indices, masks, nothing at all."""
        tensor = self.file[name]
        mask = tensor.shape[:2] == (1, 1) and tensor.dim() == 4 and name.endswith("attn.bias")
        return not tensor.is_floating_point() or not tensor.numel() or mask

    def fits(self, found: Partners) -> bool:
        """Whether the model is filled, by tensors of its own shapes."""
        shapes = all(self.file[b].shape == self.model[a].shape for a, b in found.plan.items())
        return found.complete and shapes


def align(file: Mapping[str, Tensor], model: Mapping[str, Tensor], ties: list[list[str]]) -> Partners:
    """The partners, or the nearest to it where not all are found.

    Args:
        file: the file's tensors, on any device.
        model: the architecture's, on any device.
        ties: groups of the model's names that mean one tensor.

    Raises:
        AmbiguousNames: several ways, each with other tensors.
    """
    sides, tried = _Sides(file, model, ties), list[Partners]()
    pairs = list(_keyings(file, model))
    for of_file, of_model in pairs:
        tried.append(sides.aligned(of_file, of_model))
        if sides.fits(tried[-1]):
            return tried[-1]
    for of_file, of_model in pairs:
        ways = [of_file]
        for _ in range(_DEPTH):
            ways = _moved(ways, of_model)
            found = [sides.aligned(way, of_model) for way in ways]
            fitting = [one for one in found if sides.fits(one)]
            if fitting:
                return _only(fitting)
            tried += found
    return min(tried, key=lambda one: one.differences)


def _only(fitting: list[Partners]) -> Partners:
    """The best of ways that take the same tensors."""
    if any(found.plan != fitting[0].plan for found in fitting):
        prefixes = [common_prefix(found.plan.values()) for found in fitting]
        raise AmbiguousNames(list(dict.fromkeys(prefixes)))
    return min(fitting, key=lambda found: found.differences)


def common_prefix(names: Iterable[str]) -> str:
    """The parts that all names begin with, without the last dot: of a.b.c and a.b.d it is a.b."""
    split = [name.split(".")[:-1] for name in names]
    parts = []
    for column in zip(*split, strict=False):
        if len(set(column)) > 1:
            break
        parts.append(column[0])
    return ".".join(parts)


def _keyings(file: Iterable[str], model: Iterable[str]) -> Iterator[tuple[Keys, Keys]]:
    """Both sides as they are, and without wrappers' parts where no two names become one by that."""
    file, model = list(file), list(model)
    seen = []
    for dropped in (frozenset[str](), WRAPPERS, _MODELS):
        keys = [_without(names, dropped) for names in (file, model)]
        if len(keys[0]) == len(file) and len(keys[1]) == len(model) and keys not in seen:
            seen.append(keys)
            yield keys[0], keys[1]


def _without(names: Iterable[str], dropped: frozenset[str]) -> Keys:
    keys = {}
    for name in names:
        *parts, last = name.split(".")
        keys[".".join([*(part for part in parts if part not in dropped), last])] = name
    return keys


def _moved(ways: list[Keys], model: Keys) -> list[Keys]:
    """Each way with one prefix more changed, for every change that brings a missing name its partner."""
    found = []
    for keys in ways:
        missing = [key for key in model if key not in keys and not key.endswith(_OPTIONAL_SUFFIX)]
        probes = missing[:: max(1, len(missing) // _PROBES)][:_PROBES]
        rules = dict.fromkeys(rule for probe in probes for rule in _rules(probe, keys, model))
        each = [_apply(rule, keys, model, far) for rule in rules for far in (False, True)]
        found += [moved for moved in each if moved is not None]
        if len(found) > _MOST_WAYS:
            break
    return found[:_MOST_WAYS]


def _rules(wanted: str, keys: Keys, model: Keys) -> Iterator[tuple[str, str]]:
    """Pairs of prefixes (with their dots): a name's of the file, and what has to stand there for `wanted`."""
    goal = wanted.split(".")
    front = len(common_prefix(model).split(".")) if common_prefix(model) else 0
    for key in keys:
        parts = key.split(".")
        if parts[-1] != goal[-1]:
            continue
        shorter, longer = sorted((parts, goal), key=len)
        extra = len(longer) - len(shorter)
        for place in range(len(shorter) if extra else 0):
            if longer[:place] + longer[place + extra :] == shorter:
                less, more = longer[:place], longer[: place + extra]
                yield _dotted(more if parts is longer else less), _dotted(less if parts is longer else more)
        for cut in range(1, front + 1):
            rest = goal[cut:]
            if len(parts) > len(rest) and parts[-len(rest) :] == rest:
                yield _dotted(parts[: -len(rest)]), _dotted(goal[:cut])


def _dotted(parts: list[str]) -> str:
    return "".join(f"{part}." for part in parts)


def _apply(rule: tuple[str, str], keys: Keys, model: Keys, far: bool) -> Keys | None:
    """The keys with the rule applied where it leads to a name of the model, or, `far`, to any; None if two
    would be one."""
    old, new = rule
    moved: Keys = {}
    for key, name in keys.items():
        other = new + key.removeprefix(old) if key.startswith(old) else key
        changed = other if (far or other in model) and key not in model else key
        if changed in moved:
            return None
        moved[changed] = name
    return moved


def _is_aside(name: str) -> bool:
    return any(_ASIDE.fullmatch(part) for part in name.split("."))
