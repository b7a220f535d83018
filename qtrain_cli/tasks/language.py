"""Language: the next token, or a masked one, at each place of a row.

    loss        the mean over places that count of -log softmax(s)[y]
    figure      perplexity, exp of the sum of these over rows / the number of places
    further     accuracy of the likeliest token
    trivial     how often each token is in train; what was there once says how often something new comes
                (Good 1953)

s: scores (V,) of the tokens at a place, y: the token that is right there. Places that do not count are
`places`'. A row's counts are (sum of -log p, places): a long text weighs more than a short one, as in the
perplexity of the field, and the interval is that of texts drawn anew.

Where the data hold tokens and no targets, the target of a place is the token after it: `next_tokens`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtrain_cli.tasks.counting import mean_of
from qtrain_cli.tasks.places import by_row, chosen, counted, of_places, right_places, row_places
from qtrain_cli.tasks.task import PLAIN, Task

if TYPE_CHECKING:
    from torch import Tensor

_AXIS = -1


def _counts(outputs: Tensor, targets: Tensor) -> Tensor:
    import torch
    from torch.nn.functional import cross_entropy

    scores, right = chosen(_AXIS, outputs, targets)
    surprise = cross_entropy(scores, right, reduction="none")
    return torch.stack([by_row(surprise, targets), row_places(targets)], 1)


def _perplexity(sums: Tensor) -> Tensor:
    return mean_of(sums).exp()


def _frequencies(targets: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Log-probabilities (V,) of tokens by how often they are in the targets."""
    counts = targets[counted(targets)].bincount(minlength=shape[-1])[: shape[-1]].double()
    new, seen = counts == 0, counts.sum()
    share = min(0.5, max(1.0, float((counts == 1).sum())) / max(1.0, float(seen))) if bool(new.any()) else 0.0
    if not float(seen):
        return (counts + 1 / len(counts)).log().float()
    known = (1 - share) * counts / seen
    return known.where(~new, share / max(1, int(new.sum()))).log().float()


LANGUAGE = Task(
    name="language",
    family="language",
    drawn="places",
    pipelines={"text": "text-generation"},
    word="perplexity",
    closeness="token_agreement",
    closeness_label="Same likeliest token as the teacher",
    higher_is_better=False,
    least=1.0,
    most=math.inf,
    scale=PLAIN,
    gate="min-metric",
    takes=lambda targets: False,
    **of_places(_AXIS, "a score of each token for each place: (N, L, V)"),
    counts=_counts,
    figure=_perplexity,
    metrics=(right_places(_AXIS, "accuracy", "accuracy of the likeliest"),),
    trivial=_frequencies,
    trivial_said="the frequencies of tokens in train",
    said="outputs are scores of tokens at each place; cross-entropy",
)
