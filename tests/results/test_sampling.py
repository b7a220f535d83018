"""Cells and records of `qtrain sample`: intervals by hand and against SciPy, and the document."""

import json
import math
from dataclasses import replace

import pytest

from qtrain_cli.results import SAMPLE_SCHEMA, SampleCell, SampleRecord

CELL = SampleCell("none", 1000, (0.5, 0.7), ((0.4, 0.6), (0.6, 0.8)), 0.25, 0.2, 0.0)
RECORD = SampleRecord(
    artifact="net.qtrain", artifact_sha256="a" * 64, model="net.pt", task="classification", weights=3730,
    circuits=1, qubits=12, layers=16, mapping="linear", sampler="qtrain", trajectories=1000, repeat=2, seed=0,
    count=360, data_sha256="d" * 64, same_data=True, recorded=0.9, teacher=0.99, exact=0.9,
    exact_interval=(0.86, 0.93), z_variance=2.0, cells=(CELL, replace(CELL, shots=None, figures=(0.9,))),
)  # fmt: skip


def test_a_cell_by_hand():
    assert (CELL.mean, CELL.test_interval) == (pytest.approx(0.6), pytest.approx((0.5, 0.7)))
    assert CELL.deviation == pytest.approx(0.2 / 2**0.5)
    half = 12.7062047 * 0.1  # t of one degree of freedom times s / sqrt(2)
    assert CELL.repetition_interval == pytest.approx((0.6 - half, 0.6 + half))
    assert CELL.interval(most=1.0) == (0.0, 1.0)
    assert CELL.interval()[1] == pytest.approx(0.6 + math.hypot(half, 0.1))


def test_one_repetition_has_no_spread():
    one = replace(CELL, figures=(0.6,), test_intervals=((0.5, 0.7),))
    assert (one.deviation, one.repetition_interval) == (None, None)
    assert one.interval() == pytest.approx((0.5, 0.7))


def test_the_document():
    document = json.loads(json.dumps(RECORD.to_json(), allow_nan=False))
    assert document["schema"] == SAMPLE_SCHEMA == "qtrain.sample/1"
    assert (document["exact_test_accuracy"], document["unbiased"]) == (0.9, True)
    first, second = document["rows"]
    assert list(first) == list(second)
    assert (first["noise"], first["shots"], first["repetitions"]) == ("none", 1000, 2)
    assert (first["test_accuracy"], first["drop"]) == (0.6, 0.3)
    assert (second["shots"], second["repetitions_low"], second["deviation"]) == (None, None, None)


def test_an_error_that_grows_has_dropped_and_has_no_upper_end():
    errs = replace(RECORD, task="regression", exact=0.5)
    document = errs.to_json()
    assert document["exact_test_error"] == 0.5 and "exact_test_accuracy" not in document
    row = document["rows"][0]
    assert row["test_error"] == 0.6 and row["drop"] == pytest.approx(0.1)
    assert row["test_error_high"] > 1


def test_weights_of_an_mlp_are_biased():
    assert not replace(RECORD, mapping="mlp").unbiased
    assert replace(RECORD, mapping="linear-per-tensor").unbiased


def test_figures_that_are_not_finite_are_null():
    row = replace(RECORD, task="regression", cells=(replace(CELL, figures=(math.inf, 1.0)),)).to_json()[
        "rows"
    ]
    assert row[0]["test_error"] is None
    json.dumps(row, allow_nan=False)
