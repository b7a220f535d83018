"""A student's record as JSON and back, with a teacher and without; what does not follow is refused."""

import json

import pytest

from qtrain_cli.errors import BadInput
from qtrain_cli.results import (
    NO_TEACHER,
    NOTHING_SHA256,
    STUDENT_SCHEMA,
    Lesson,
    Measured,
    Record,
    Scores,
    StudentDesign,
    StudentRecord,
    any_record,
)

ACCURACIES = Scores("classification", 0.9, 0.8, 0.7, 100, 0.75, 0.72)
ERRORS = Scores("regression", 0.1, 0.2, 0.3, 50, 0.2, 0.01, (0.25, 0.35))
ALONE = Scores("classification", 0.9, 0.8, 0.7, 100)


def record(scores=ACCURACIES, seconds=1.5):
    taught = scores.teacher is not None
    design = StudentDesign("qnn:qubits=3", "qnn", 49, 6, 3, *((3730, 15_840) if taught else ()))
    lesson = Lesson("distilled" if taught else "labels", 0.5, 4.0, history=((1.5, 0.5), (0.5, 0.8)))
    whose = ("t.pt", "e" * 64, "pt2") if taught else ("", NOTHING_SHA256, NO_TEACHER)
    name, sha256, trust = whose
    measured = Measured(name, scores, 0.25, 0.5, 2, 0, "cpu", {"qtrain": "0.1.0"}, "d" * 64, sha256, trust)
    return StudentRecord(design, lesson, measured, 1000, "f" * 64, seconds)


def test_a_record_of_before_has_a_temperature_that_stayed():
    document = record().to_json()
    assert document.pop("temperature_end") is None
    assert any_record(document) == record()


@pytest.mark.parametrize("scores", [ACCURACIES, ERRORS, ALONE])
def test_it_comes_back_from_json_as_it_was(scores):
    made = record(scores)
    document = json.loads(json.dumps(made.to_json()))
    assert any_record(document) == made
    assert document["schema"] == STUDENT_SCHEMA and document["seconds"] == 1.5
    assert document["generalization_gap"] == 0.25


def test_without_a_teacher_all_that_is_said_about_one_is_null():
    alone, taught = record(ALONE).to_json(), record().to_json()
    about = {"model", "model_sha256", "trust", "teacher_parameters", "model_bytes", "bytes_ratio"}
    about |= {"parameter_ratio", "teacher_test_accuracy", "teacher_agreement"}
    assert {name for name in about if alone[name] is not None or taught[name] is None} == set()
    assert (taught["bytes_ratio"], taught["parameter_ratio"]) == (15.84, pytest.approx(3730 / 49))
    assert list(alone) == list(taught)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bytes_ratio": 99.0}, "'bytes_ratio' is 99.0, and the record's other figures give 15.84"),
        ({"generalization_gap": 0.0}, "'generalization_gap' is 0.0"),
        ({"total_shots": 7}, "'total_shots' is 7"),
        ({"epochs_to_95": 1}, "'epochs_to_95' is 1"),
        ({"test_accuracy_low": 0.0}, "'test_accuracy_low' is 0.0"),
        ({"artifact_bytes": 0}, "artifact_bytes is 0; allowed: 1"),
        ({"artifact_sha256": "f"}, "artifact_sha256 is 'f'; expected: 64 hexadecimal digits"),
        ({"seconds": -1.0}, r"seconds is -1[.]0; allowed: 0 or more"),
        ({"qubits": True}, "'qubits' of the record is True; expected: a whole number"),
        ({"history": [[1.0]]}, "an epoch of the history is not a loss and a figure"),
        *[
            ({name: None}, "a record has all of model, model_sha256, trust, or none of them")
            for name in ("model", "model_sha256", "trust")
        ],
        ({"align": "fc"}, "an alignment has a layer, a loss and a weight, or none of them"),
        ({"align_weight": 0.5}, "an alignment has a layer, a loss and a weight, or none of them"),
        ({"weight": 1}, "the record has the unknown field 'weight'"),
        ({"schema": "qtrain.student/9"}, "the record has the schema 'qtrain.student/9'"),
    ],
)
def test_what_does_not_follow_is_refused(changes, said):
    with pytest.raises(BadInput, match=said):
        StudentRecord.from_json({**record().to_json(), **changes})


def test_one_kind_is_not_read_as_the_other(make_record):
    compressed = make_record()
    assert any_record(compressed.to_json()) == compressed
    with pytest.raises(BadInput, match=r"this version reads 'qtrain[.]report/1'"):
        Record.from_json(record().to_json())
    with pytest.raises(BadInput, match=r"this version reads 'qtrain[.]student/1'"):
        StudentRecord.from_json(compressed.to_json())
    with pytest.raises(BadInput, match="not a JSON object"):
        any_record([])


@pytest.mark.parametrize("name", ["artifact_bytes", "artifact_sha256", "seconds"])
def test_a_record_of_no_file_is_none(name):
    made, bad = record(), {"artifact_bytes": 0, "artifact_sha256": "", "seconds": float("nan")}
    with pytest.raises(BadInput, match=name):
        StudentRecord(**{**vars(made), name: bad[name]})
