"""What the methods' portable decoders share: weights by tensor, and what a seeded matrix makes of numbers.

A portable decoder takes the numbers of a file to all generated weights, (m,) in float64, in steps whose bits
are the same on every machine (`portable`). Training has its own, faster decoders (`method.Method.decode`),
which agree with it to the last places but not in them.

    weights(layout, plan, numbers)      numbers: the file's groups by name, float64 of their shapes

Vectors of m numbers are changed in place, and matrices made in blocks of rows: a hundred million weights take
a few gigabytes. A decoder in parts (`PortableParts`) has no more than a part of the weights at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from qtrain_cli.methods.forms import Plan
from qtrain_cli.methods.seeded import seeded_floats
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.portable.sums import ordered_product
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry

Groups = Mapping[str, Floats]
PortableDecode = Callable[[LayoutSpec, Plan, Groups], Floats]
#: The same weights one part after the other, in their order.
PortableParts = Callable[[LayoutSpec, Plan, Groups], Iterator[Floats]]
#: Elements of a block of rows.
_BLOCK = 2**20


def scaled_in_place(layout: LayoutSpec, values: Floats, first: int = 0) -> Floats:
    """``centre + scale * value`` of the weights from number `first` on, in place: values (any,)."""
    for entry, part in weight_parts(layout, values, first):
        part *= entry.scale
        part += entry.centre
    return values


def centred(layout: LayoutSpec, values: Mapping[str, Floats]) -> Floats:
    """``centre + value`` of every weight, (m,): values by tensor name, any shape of as many."""
    entries = layout.of_role(GENERATED)
    return np.concatenate([values[entry.name].reshape(-1) + entry.centre for entry in entries])


def weight_parts(layout: LayoutSpec, values: Floats, first: int = 0) -> Iterator[tuple[TensorEntry, Floats]]:
    """Each generated tensor with its own part of the weights from number `first` on, a view; empty for a
    tensor that has none of them."""
    begin = -first
    for entry in layout.of_role(GENERATED):
        yield entry, values[max(0, begin) : max(0, begin + entry.count)]
        begin += entry.count


def seeded_product(seed: int, stream: int, rows: int, numbers: Floats) -> Floats:
    """The seeded matrix of a stream, (rows, k), times k numbers: (rows,)."""
    k = numbers.size
    found = np.empty(rows)
    step = max(1, _BLOCK // max(1, k))
    for first in range(0, rows, step):
        count = min(step, rows - first)
        block = seeded_floats(seed, stream, count * k, first * k).reshape(count, k)
        found[first : first + count] = ordered_product(block, numbers[:, None])[:, 0]
    return found
