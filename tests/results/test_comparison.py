"""Means, intervals and differences against figures worked out by hand and by simulation."""

import json
import math
import random
import statistics

import pytest
from comparisons import cell, comparison

from qtrain_cli.errors import BadInput
from qtrain_cli.results.comparison import COMPARISON, UNREACHED, Cell, pack_rows, unpack_rows


def test_rows_come_back():
    assert unpack_rows(pack_rows([1, 0, 0.5])) == [1, 0, 0.5]
    assert len(pack_rows([1.0] * 10_000)) < 100


@pytest.mark.parametrize("text", ["", "!", "AAAA"])
def test_damaged_rows_are_refused(text):
    with pytest.raises(BadInput, match="the rows of a cell are damaged"):
        unpack_rows(text)


def test_a_point_is_the_mean_with_seeds_and_rows_in_its_interval():
    found = comparison([cell("ours", 0, [1, 1, 1, 0]), cell("ours", 1, [1, 1, 0, 0])]).point("ours", 1000)
    assert (found.mean, found.seeds, found.file_bytes) == (0.625, 2, 900)
    assert found.spread == pytest.approx(0.25 / math.sqrt(2))
    rows = 1.959964 * statistics.pstdev([1, 1, 0.5, 0]) / 2
    seeds = 12.706205 * found.spread / math.sqrt(2)
    assert (found.low, found.high) == (0, 1)  # two seeds that differ by 25 points say next to nothing
    assert math.hypot(rows, seeds) > 1


def test_one_seed_has_no_spread():
    found = comparison([cell("ours", 0, [1, 1, 1, 0])]).point("ours", 1000)
    assert found.spread is None
    assert found.low == pytest.approx(0.75 - 1.959964 * statistics.pstdev([1, 1, 1, 0]) / 2)


def test_a_point_needs_every_seed():
    cells = [cell("ours", 0, [1, 1]), Cell("ours", 1000, 1, UNREACHED, file_bytes=1200)]
    found = comparison(cells)
    assert found.point("ours", 1000) is None and found.points(1000) == []


def test_points_come_best_first_in_either_task():
    cells = [cell("ours", 0, [0.2, 0.2]), cell("narrow", 0, [0.1, 0.1])]
    assert [one.method for one in comparison(cells).points(1000)] == ["ours", "narrow"]
    assert [one.method for one in comparison(cells, "regression").points(1000)] == ["narrow", "ours"]


def test_differences_are_taken_row_by_row():
    """Two methods that fail on the same rows differ by less noise than two that fail on different ones."""
    good = [1.0] * 50 + [0.0] * 50
    same = comparison([cell("ours", 0, good), cell("narrow", 0, [1.0] * 45 + [0.0] * 55)])
    other = comparison([cell("ours", 0, good), cell("narrow", 0, [0.0] * 55 + [1.0] * 45)])
    one, two = (found.difference("ours", "narrow", 1000) for found in (same, other))
    assert one.better_by == pytest.approx(two.better_by) == pytest.approx(0.05)
    assert one.real and not two.real and one.noise < two.noise / 3


def test_the_spread_over_seeds_is_part_of_the_noise():
    ours = [cell("ours", seed, [1.0] * good + [0.0] * (100 - good)) for seed, good in enumerate((95, 85))]
    narrow = [cell("narrow", seed, [1.0] * 80 + [0.0] * 20) for seed in range(2)]
    found = comparison(ours + narrow).difference("ours", "narrow", 1000)
    spread = math.sqrt(2) * 0.05
    rows = statistics.pstdev([0.0] * 80 + [1.0] * 5 + [0.5] * 10 + [0.0] * 5)
    assert found.better_by == pytest.approx(0.1)
    assert found.noise == pytest.approx(math.hypot(4.302653 * spread / math.sqrt(2), 1.959964 * rows / 10))


def test_twelve_seeds_are_judged_by_student_with_twenty_two_degrees_of_freedom():
    """On rows without any spread of their own, only the seeds are left."""
    cells = [
        cell(name, seed, [0.5 + 0.01 * (seed % 2)] * 4) for name in ("ours", "narrow") for seed in range(12)
    ]
    spread = statistics.stdev([0.0, 0.01] * 6)
    found = comparison(cells).difference("ours", "narrow", 1000)
    assert found.noise == pytest.approx(2.0738731 * spread * math.sqrt(2 / 12), rel=1e-6)
    point = comparison(cells).point("ours", 1000)
    assert point.high - point.mean == pytest.approx(2.2009852 * spread / math.sqrt(12), rel=1e-6)


def test_a_lower_error_is_better():
    found = comparison([cell("ours", 0, [0.1, 0.2]), cell("narrow", 0, [0.3, 0.4])], "regression")
    assert found.difference("ours", "narrow", 1000).better_by == pytest.approx(0.2)
    assert found.show(0.123456) == "0.1235" and found.show_change(-0.01) == "0.01"


def test_the_noise_is_exceeded_by_chance_once_in_twenty():
    """Equal methods on 400 rows with three seeds: the difference is called real in some 5 % of trials."""
    draw = random.Random(0)
    real = 0
    for _ in range(200):
        hard = [draw.random() < 0.1 for _ in range(400)]
        cells = []
        for name in ("ours", "narrow"):
            for seed in range(3):
                rate = 0.9 + draw.gauss(0, 0.01)
                cells.append(
                    cell(name, seed, [float(draw.random() < (0.5 if one else rate)) for one in hard])
                )
        real += comparison(cells).difference("ours", "narrow", 1000).real
    assert real <= 20


def test_a_cell_is_its_json_and_back():
    one = cell("ours", 0, [1, 0])
    assert Cell.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"end": "won"}, "a cell ends 'won'; allowed: done, unreached, unsuited, failed"),
        ({"budget": -1}, "budget"),
        ({"file_sha256": "xyz"}, "file_sha256"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(changes, said):
    with pytest.raises(BadInput, match=said):
        Cell(**(cell("ours", 0, [1]).to_json() | changes))


def test_the_document_has_these_keys_and_no_rows():
    found = comparison([cell("ours", 0, [1, 0])]).to_json(["a sentence"])
    assert list(found) == [
        "schema", "model", "task", "teacher_test_accuracy", "trivial", "test_count", "model_bytes", "epochs",
        "seeds", "budgets", "methods", "points", "cells", "verdict",
        "model_sha256", "data_sha256",
    ]  # fmt: skip
    assert found["schema"] == COMPARISON == "qtrain.compare/1"
    assert list(found["methods"][0]) == ["name", "summary", "trained", "tuned", "control"]
    assert "rows" not in found["cells"][0] and found["verdict"] == ["a sentence"]
    json.dumps(found, allow_nan=False)
