"""Token classification: a label for each token.

    loss        the mean over tokens that count of -log softmax(s)[y]
    figure      the share of tokens that are named rightly; where labels are words such as B-PER, I-PER and O,
                the F1 of entities: 2 right / (named + there), right: those of the same tokens and type
    further     precision, recall and the accuracy of tokens, beside F1
    trivial     the commonest label everywhere

s: scores (C,) of a token, outputs (N, L, C), y: its label, targets (N, L). Tokens that do not count (padding,
all but the first piece of a word) are left out before entities are looked for, as in the field.

An entity begins at a label B, and at an I that no label of its type comes before; it ends where the next
label is no I of its type. E and S end one too, as in IOBES. That is the reading of conlleval (Tjong Kim Sang
and Buchholz 2000), and seqeval's by default. Entities do not go beyond a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from qtrain_cli.tasks.classification import agreement_by_chance, commonest
from qtrain_cli.tasks.counting import mean_of, over
from qtrain_cli.tasks.metrics import Metric, f1_of, of_sums
from qtrain_cli.tasks.places import chosen, counted, of_places, right_counts, right_places
from qtrain_cli.tasks.task import PERCENT, Task

if TYPE_CHECKING:
    from torch import Tensor

_AXIS = -1
#: What a label's prefix says of a token; O is outside of any entity.
_OUTSIDE, _BEGIN, _INSIDE, _END, _SINGLE = range(5)
_PREFIXES = {"B": _BEGIN, "I": _INSIDE, "E": _END, "S": _SINGLE}


def _blind(outputs: Tensor, targets: Tensor) -> float:
    scores, right = chosen(_AXIS, outputs, targets)
    return agreement_by_chance(scores.argmax(1), right)


def _commonest(targets: Tensor, shape: tuple[int, ...]) -> Tensor:
    return commonest(targets[counted(targets)], shape[-1:])


TOKENS = Task(
    name="tokens",
    family="tokens",
    pipelines={"text": "token-classification"},
    word="accuracy",
    closeness="agreement",
    closeness_label="Agreement with the teacher, by tokens",
    higher_is_better=True,
    most=1.0,
    scale=PERCENT,
    gate="min-accuracy",
    takes=lambda targets: targets.ndim == 2 and targets.dtype.kind == "i",
    **of_places(_AXIS, "a score of each label for each token: (N, L, C)"),
    counts=right_counts(_AXIS),
    told_by_word=False,
    blind=_blind,
    trivial=_commonest,
    trivial_said="the commonest label everywhere",
    said="outputs are scores of labels for each token; cross-entropy",
)

# --- entities --------------------------------------------------------------------------------------------


class Labels(NamedTuple):
    """What each label (C,) says: its prefix, and the number of its type."""

    prefixes: Tensor
    types: Tensor


def are_entities(names: Sequence[str]) -> bool:
    """Whether labels are O and words such as B-PER."""
    marked = [name for name in names if name != "O"]
    return bool(marked) and all(name[:1] in _PREFIXES and name[1:2] == "-" and name[2:] for name in marked)


def labels_of(names: Sequence[str]) -> Labels:
    """Of labels that `are_entities`."""
    import torch

    kinds = sorted({name[2:] for name in names if name != "O"})
    prefixes = [_PREFIXES[name[0]] if name != "O" else _OUTSIDE for name in names]
    types = [kinds.index(name[2:]) if name != "O" else -1 for name in names]
    return Labels(torch.tensor(prefixes), torch.tensor(types))


def _ends(labels: Labels, named: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where entities begin (N, L), of which type (N, L), and where the one of each place ends (N, L), of
    labels (N, L) whose last place is outside."""
    import torch

    prefix, kind = (table.to(named.device)[named] for table in labels)
    before, kind_before = (torch.roll(part, 1, 1) for part in (prefix, kind))
    before[:, 0], kind_before[:, 0] = _OUTSIDE, -1
    inside = prefix != _OUTSIDE
    alone = (before == _OUTSIDE) | (before == _END) | (before == _SINGLE) | (kind_before != kind)
    begins = inside & ((prefix == _BEGIN) | (prefix == _SINGLE) | alone)
    places = torch.arange(named.shape[1], device=named.device).expand_as(named)
    # An entity ends before the next place that is outside or begins one.
    stops = places.where(~inside | begins, named.shape[1])
    following = torch.cat([stops[:, 1:], torch.full_like(stops[:, :1], named.shape[1])], 1)
    return begins, kind, following.flip(1).cummin(1).values.flip(1)


def _compacted(named: Tensor, targets: Tensor, outside: int) -> Tensor:
    """Labels (N, L + 1) with those that count in front, and outside behind them."""
    import torch

    places = counted(targets)
    order = (~places).long().argsort(dim=1, stable=True)
    front = named.where(places, outside).gather(1, order)
    return torch.cat([front, torch.full_like(front[:, :1], outside)], 1)


def entity_counts(labels: Labels, outputs: Tensor, targets: Tensor) -> Tensor:
    """Counts (N, 3): entities that are named rightly, that are named, and that are there."""
    import torch

    outside = _outside(labels)
    named, right = (_compacted(found, targets, outside) for found in (outputs.argmax(_AXIS), targets.long()))
    ours, theirs = _ends(labels, named), _ends(labels, right)
    both = ours[0] & theirs[0] & (ours[1] == theirs[1]) & (ours[2] == theirs[2])
    return torch.stack([found.sum(1).double() for found in (both, ours[0], theirs[0])], 1)


def _outside(labels: Labels) -> int:
    """The number of the label O."""
    return int((labels.prefixes == _OUTSIDE).nonzero()[0])


def _f1(sums: Tensor) -> Tensor:
    return f1_of(*sums.unbind(-1))


def _unnamed(*given: object) -> Tensor:
    raise AssertionError("entities are those of labels: `Task.for_labels`")


def _named(names: tuple[str, ...]) -> Task:
    """The row for these labels."""
    counts = partial(entity_counts, labels_of(names))

    def of_all(outputs: Tensor, targets: Tensor) -> Tensor:
        return counts(outputs, targets).sum(0)

    parts = {"precision": of_all, "recall": of_all}
    metrics = tuple(replace(one, part=parts.get(one.name, one.part)) for one in ENTITIES.metrics)
    return replace(ENTITIES, counts=counts, metrics=metrics)


ENTITIES = replace(
    TOKENS,
    name="entities",
    word="f1",
    closeness="label_agreement",
    gate="min-metric",
    takes=lambda targets: False,
    counts=_unnamed,
    figure=_f1,
    told_by_word=True,
    for_labels=_named,
    blind=None,
    metrics=(
        Metric("precision", "precision", _unnamed, of_sums(mean_of)),
        Metric("recall", "recall", _unnamed, of_sums(lambda sums: over(sums[0], sums[2]))),
        right_places(_AXIS, "token_accuracy", "accuracy of tokens"),
    ),
    said="labels are those of entities, and the figure is their F1; cross-entropy over tokens",
)  # fmt: skip
