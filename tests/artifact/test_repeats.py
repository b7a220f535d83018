"""Rows that repeat from layer to layer: written once, and read back as they were."""

import random

import pytest

from qtrain_cli.artifact.repeats import MAX_ROWS, with_repeats, without_repeats
from qtrain_cli.errors import BadInput


def bert(layers):
    tail = [[8, 4], 4]
    return [
        ["embed.weight", [9, 8], 8],
        *([f"encoder.layer.{i}.{name}.weight", *tail] for i in range(layers) for name in ("query", "value")),
        ["head.weight", [2, 8], 8],
    ]


def test_layers_are_written_once():
    rows = bert(12)
    found = with_repeats(rows)
    block = [[f"encoder.layer.\n.{name}.weight", [8, 4], 4] for name in ("query", "value")]
    assert found == [rows[0], [12, 0, block], rows[-1]] and without_repeats(found) == rows


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [["0", [1], 1]],
        [["0", [1], 1], ["1", [1], 1], ["2", [1], 1]],
        [["a.1.b", [1], 1], ["a.2.b", [1], 1], ["a.4.b", [1], 1]],
        [["a.0.b", [1], 1], ["a.1.b", [2], 1]],
        [["a.00.b", [1], 1], ["a.01.b", [1], 1]],
        [["l1.0.c", [1], 1], ["l1.1.c", [1], 1], ["l2.0.c", [1], 1], ["l2.1.c", [1], 1], ["l2.2.c", [1], 1]],
        [["a.0.0", [1], 1], ["a.0.1", [1], 1], ["a.1.0", [1], 1], ["a.1.1", [1], 1]],
        [["a.0.w", [1], 1], ["b", "a.0.w"], ["a.1.w", [1], 1], ["c", "a.1.w"]],
        [["a.9.w", [1], 1], ["a.10.w", [1], 1], ["x.999999999.w", [1], 1], ["x.1000000000.w", [1], 1]],
    ],
)
def test_every_list_comes_back(rows):
    assert without_repeats(with_repeats(rows)) == rows


def test_random_lists_come_back():
    draw = random.Random(0)
    for _ in range(300):
        names = {
            ".".join(draw.choice(["a", "b", "0", "1", "2", "3"]) for _ in range(draw.randint(1, 4)))
            for _ in range(draw.randint(0, 20))
        }
        rows = [[name, [draw.randint(1, 2)], 1] for name in (sorted(names) if draw.random() < 0.8 else names)]
        assert without_repeats(with_repeats(rows)) == rows


@pytest.mark.parametrize(
    "repeat",
    [[1, 0, [["a.\n", [1], 1]]], [2, -1, [["a.\n", [1], 1]]], [True, 0, [["a"]]], [2, 0, []], [2, 0, "rows"],
     [MAX_ROWS + 1, 0, [["a.\n"]]], [MAX_ROWS, 0, [["a.\n"], ["b.\n"]]], [2, 10**9, [["a.\n"]]]],
)  # fmt: skip
def test_what_is_no_repeat_is_refused(repeat):
    with pytest.raises(BadInput):
        without_repeats([repeat])


def test_many_repeats_are_refused_before_they_are_written_out():
    with pytest.raises(BadInput, match="more than"):
        without_repeats([[MAX_ROWS // 2, 0, [["a.\n", [1], 1]]]] * 1000)
