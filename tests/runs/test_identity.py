"""What a run depends on, as plain data."""

import json
from dataclasses import fields, replace

import pytest

from qtrain_cli.runs.identity import layout_identity
from qtrain_cli.targets.entries import BAND, GENERATED, KEPT, SAME, LayoutSpec, TensorEntry

EMBEDDING = TensorEntry("e", (4, 5), "F32", GENERATED, 4)
MASK = TensorEntry("m", (4, 4), "F32", KEPT, stored=BAND, band=(0, 4))


@pytest.mark.parametrize(
    ("entry", "other"),
    [
        (EMBEDDING, {"row": 0}),
        (replace(EMBEDDING, row=0), {"row": 1}),
        (replace(EMBEDDING, row=0), {"stored": "F32"}),
        (MASK, {"band": (-4, 0)}),
        (MASK, {"stored": SAME, "band": ()}),
    ],
)
def test_what_becomes_of_a_tensor_is_a_part_of_its_run(entry, other):
    one, two = (layout_identity(LayoutSpec((row,))) for row in (entry, replace(entry, **other)))
    assert one != two
    assert json.loads(json.dumps(one)) == one and len(one[0]) == len(fields(entry))
