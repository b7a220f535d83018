"""Records: exact JSON, both round trips, strict reading, and intervals against independent answers."""

import json
import math
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtrain_cli.errors import BadInput
from qtrain_cli.results import Measured, Record, Scores, record_fields
from qtrain_cli.results.measured import NOTES
from qtrain_cli.results.schema import ADDED
from qtrain_cli.tasks import TASKS

#: Of the data and of the model's file; a file holds them apart from the rest.
DIGESTS = ("d" * 64, "e" * 64)
CONTRACT = [
    "schema", "model", "weights", "kept_weights", "qubits", "layers", "circuits", "ansatz", "mapping",
    "angle_bits", "trained_numbers", "artifact_bytes", "model_bytes", "bytes_ratio", "parameter_ratio",
    "train_accuracy", "validation_accuracy", "test_accuracy", "test_count", "test_accuracy_low",
    "test_accuracy_high", "teacher_test_accuracy", "teacher_agreement", "train_loss", "test_loss",
    "generalization_gap", "seconds", "epochs", "seed", "device", "versions", "kept_tensors", "data_sha256",
    "model_sha256", "artifact_sha256", "trust", "figure_note", "weights_entry", "output", "skipped_rows",
    "precision", "processes",
    "target", "base", "base_sha256", "finetune_bytes", "lora_numbers", "seeded_layers",
    "trivial", "metrics", "task", "metric", "metric_value", "metric_low", "metric_high",
    "teacher_metric_value",
]  # fmt: skip

shares = st.floats(0, 1)
errors = st.floats(0, 1e300)
values = st.none() | st.floats(-1e9, 1, allow_nan=False)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
words = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda t: "=" not in t and t.split() == [t])


@st.composite
def scores(draw):
    count = draw(st.integers(1, 10**9))
    if draw(st.booleans()):
        return Scores(
            "classification", *(draw(shares) for _ in range(3)), count, draw(st.none() | shares), 1.0
        )
    test = draw(errors)
    interval = (test / 2, test * 2)
    beside = draw(st.none() | errors), draw(st.just({}) | st.fixed_dictionaries({"r2": values}))
    return Scores("regression", draw(errors), None, test, count, draw(errors), math.nan, interval, *beside)


measurements = st.builds(
    Measured,
    model=st.text(),
    scores=scores(),
    train_loss=st.floats(),
    test_loss=st.none() | st.floats(),
    epochs=st.integers(0, 10**6),
    seed=st.integers(0, 2**31),
    device=st.text(),
    versions=st.dictionaries(words, words, max_size=3),
    data_sha256=digests,
    model_sha256=digests,
    trust=st.text(),
    figure_note=st.sampled_from([None, *NOTES]),
    weights_entry=st.none() | st.text(min_size=1),
    output=st.none() | st.text(min_size=1),
)


def document(record: Record, **changes):
    return {**record.to_json(), **changes}


def test_the_json_has_the_contracts_fields_in_their_order(make_record):
    assert list(make_record().to_json()) == CONTRACT


def test_an_older_record_lacks_what_came_later(make_record):
    older = make_record().to_json()
    del older["kept_tensors"]
    assert Record.from_json(older) == make_record()
    with pytest.raises(BadInput, match="'kept_tensors' of the record is"):
        Record.from_json({**older, "kept_tensors": {"a": 1}})


def test_regression_has_errors_in_place_of_accuracy(make_record):
    expected = [name.replace("accuracy", "error").replace("agreement", "difference") for name in CONTRACT]
    assert list(make_record("regression").to_json()) == expected


def test_exact_json(make_record):
    assert make_record(seconds=12.5).to_json() == {
        "schema": "qtrain.report/1",
        "model": "mnist_cnn.pt",
        "weights": 6690,
        "kept_weights": 0,
        "qubits": 13,
        "layers": 48,
        "circuits": 1,
        "ansatz": "real-amplitudes",
        "mapping": "linear",
        "angle_bits": 5,
        "trained_numbers": 626,
        "artifact_bytes": 1001,
        "model_bytes": 27336,
        "bytes_ratio": 27.30869,
        "parameter_ratio": 10.6869,
        "train_accuracy": 0.9791,
        "validation_accuracy": 0.9755,
        "test_accuracy": 0.9746,
        "test_count": 10000,
        "test_accuracy_low": 0.9713292,
        "test_accuracy_high": 0.9775063,
        "teacher_test_accuracy": 0.9872,
        "teacher_agreement": 0.9785,
        "train_loss": 0.07123457,
        "test_loss": 0.09123457,
        "generalization_gap": 0.02,
        "seconds": 12.5,
        "epochs": 10,
        "seed": 0,
        "device": "cpu",
        "versions": {"qtrain": "0.1.0", "torch": "2.13.0+cpu"},
        "kept_tensors": {},
        "data_sha256": "d" * 64,
        "model_sha256": "e" * 64,
        "artifact_sha256": "f" * 64,
        "trust": "state dictionary",
        "figure_note": None,
        "weights_entry": None,
        "output": None,
        "skipped_rows": None,
        "precision": "float32",
        "processes": 1,
        "target": None,
        "base": None,
        "base_sha256": None,
        "finetune_bytes": None,
        "lora_numbers": None,
        "seeded_layers": 0,
        "trivial": None,
        "metrics": {},
        "task": "classification",
        "metric": "accuracy",
        "metric_value": 0.9746,
        "metric_low": 0.9713292,
        "metric_high": 0.9775063,
        "teacher_metric_value": 0.9872,
    }


def test_kept_numbers_count_on_both_sides_of_the_parameter_ratio(make_record):
    assert make_record(kept_weights=100).parameter_ratio == 6790 / 726


def test_a_figure_that_is_not_finite_is_null(make_record):
    text = json.dumps(make_record(test_loss=math.nan, teacher=math.inf).to_json(), allow_nan=False)
    found = json.loads(text)
    assert found["test_loss"] is found["generalization_gap"] is found["teacher_test_accuracy"] is None


def test_records_are_frozen(make_record):
    with pytest.raises(FrozenInstanceError):
        make_record().scores.test = 1.0


@pytest.mark.parametrize("task", TASKS)
def test_json_round_trip(make_record, task):
    record = make_record(task, seconds=1.5, validation=None)
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record


@given(measurements)
def test_stored_round_trip(measured):
    text = json.dumps(measured.to_stored(), allow_nan=False)
    again = Measured.from_stored(json.loads(text), measured.data_sha256, measured.model_sha256)
    assert again == measured
    assert again.to_stored() == measured.to_stored()


@given(scores())
def test_the_interval_holds_the_figure(found):
    low, high = found.interval
    assert low <= found.test <= high
    assert low >= 0


def test_the_stored_form_is_short(make_record):
    text = json.dumps(make_record().measured.to_stored(), separators=(",", ":"))
    assert text == (
        '["mnist_cnn.pt",[0.9791,0.9755,0.9746,10000,0.9872,0.9785],0.07123457,0.09123457,10,0,"cpu",'
        '"qtrain=0.1.0 torch=2.13.0+cpu","state dictionary"]'
    )


def test_a_drop_has_no_digits_of_binary_arithmetic(make_record):
    assert make_record(test=0.97, teacher=0.98).scores.drop == 0.01
    assert make_record(test=0.98, teacher=0.97).scores.drop == -0.01
    assert make_record(teacher=None).scores.drop is None
    assert make_record("regression").scores.drop == pytest.approx(0.0024)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"schema": "qtrain.report/2"},
            "has the schema 'qtrain.report/2'; this version reads 'qtrain.report/1'",
        ),
        ({"extra": 1}, "unknown field 'extra'"),
        ({"test_acuracy": 1}, "unknown field 'test_acuracy'"),
        ({"weights": True}, "'weights' of the record is True; expected: a whole number"),
        ({"weights": 6690.0}, "'weights' of the record is 6690.0; expected: a whole number"),
        ({"weights": 10**30}, "'weights' of the record is 10"),
        ({"weights": 0}, "weights is 0; allowed: 1"),
        ({"epochs": -1}, "'epochs' of the record is -1"),
        ({"test_loss": math.nan}, "'test_loss' of the record is nan; expected: a number or null"),
        ({"test_loss": math.inf}, "'test_loss' of the record is inf"),
        ({"test_loss": 10**400}, "'test_loss' of the record is 10"),
        ({"test_accuracy": None}, "'test_accuracy' of the record is None; expected: a number"),
        ({"test_accuracy": "0.9"}, "'test_accuracy' of the record is '0.9'"),
        ({"test_accuracy": 97.46}, "the test figure is 97.46; allowed: 0 to 1"),
        ({"test_count": 0}, "the test count is 0; allowed: 1 or more"),
        ({"model": None}, "'model' of the record is None; expected: a text"),
        ({"versions": {"torch": 2}}, "'versions' of the record is {'torch': 2}; expected: a table of texts"),
        ({"versions": {"torch": "2 13"}}, "the version '2 13' is not one word"),
        ({"data_sha256": "D" * 64}, r"data_sha256 is .*; expected: 64 hexadecimal digits"),
        ({"artifact_sha256": ""}, "artifact_sha256 is ''; expected"),
        ({"seconds": -1}, "seconds is -1"),
        ({"bytes_ratio": 99.0}, "'bytes_ratio' is 99.0, and the record's other figures give 27.30869"),
        ({"test_accuracy_low": 0.9}, "'test_accuracy_low' is 0.9, and"),
        ({"generalization_gap": None}, "'generalization_gap' is None, and"),
        ({"train_loss": None}, "'generalization_gap' is 0.02, and"),
    ],
)
def test_strict_reading(make_record, changes, message):
    with pytest.raises(BadInput, match=message) as caught:
        Record.from_json(document(make_record(), **changes))
    assert len(caught.value.message) < 300


#: They follow from the others, and records of before they were there lack them.
GENERAL = ["task", "metric", "metric_value", "metric_low", "metric_high", "teacher_metric_value"]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_record_of_before_every_task_had_the_same_names_is_read(make_record, task):
    record = make_record(task)
    later = {"trivial", "metrics", *GENERAL}
    old = {name: value for name, value in record.to_json().items() if name not in later}
    assert Record.from_json(old) == record


def test_the_same_names_for_any_task_say_what_its_own_say(make_record):
    found = make_record("regression").to_json()
    assert [found[name] for name in GENERAL] == [
        "regression", "error", found["test_error"], found["test_error_low"], found["test_error_high"],
        found["teacher_test_error"],
    ]  # fmt: skip
    with pytest.raises(BadInput, match=r"'metric_value' is 0\.5, and the record's other figures give"):
        Record.from_json({**found, "metric_value": 0.5})


def test_what_stands_beside_the_figures_is_stored_of_accuracies_as_a_number_of_rows(make_record):
    classes, numbers = make_record(), make_record("regression")
    beside = {"trivial": 0.2, "metrics": {"r2": -0.25}}
    told = replace(numbers.measured, scores=replace(numbers.scores, **beside))
    assert told.to_stored() == [*numbers.measured.to_stored(), [0.2, -0.25]]
    assert Measured.from_stored(told.to_stored(), *DIGESTS) == told
    noted = replace(told, weights_entry="ema")
    assert Measured.from_stored(noted.to_stored(), *DIGESTS) == noted
    count = classes.scores.count
    short = replace(classes.measured, scores=replace(classes.scores, trivial=33 / count))
    assert short.to_stored() == [*classes.measured.to_stored(), [33]]
    assert Measured.from_stored(short.to_stored(), *DIGESTS) == short


@pytest.mark.parametrize(("beside", "said"), [
    ([], "0 figures beside; expected: 2"),
    ([0.1, 0.2, 0.3], "3 figures beside; expected: 2"),
    ([0.1, "x"], r"figures beside\[1\] of the record is 'x'"),
])  # fmt: skip
def test_figures_beside_that_no_run_stores(make_record, beside, said):
    stored = [*make_record("regression").measured.to_stored(), beside]
    with pytest.raises(BadInput, match=said):
        Measured.from_stored(stored, *DIGESTS)


def test_a_number_of_right_rows_is_whole(make_record):
    stored = [*make_record().measured.to_stored(), [33.5]]
    with pytest.raises(BadInput, match=r"the number of rows beside of the record is 33\.5"):
        Measured.from_stored(stored, *DIGESTS)


def test_a_metric_that_the_task_has_not(make_record):
    with pytest.raises(BadInput, match="a classification has no metric 'r2'"):
        replace(make_record().scores, metrics={"r2": 0.5})


@pytest.mark.parametrize(("trivial", "said"), [
    (0.002, "warning: test error 0.0123, the mean of the training targets 0.002: no better than without"),
    (0.02, "test error 0.0123, the mean of the training targets 0.02"),
    (0.0123, "warning: "),
])  # fmt: skip
def test_a_useless_result_is_called_so(make_record, trivial, said):
    scores = replace(make_record("regression").scores, trivial=trivial)
    assert scores.beside_trivial.startswith(said)
    assert scores.is_trivial == said.startswith("warning")


@pytest.mark.parametrize("name", [name for name in CONTRACT if name not in (*ADDED, *GENERAL)])
def test_a_missing_field(make_record, name):
    found = document(make_record())
    del found[name]
    with pytest.raises(BadInput, match="schema None" if name == "schema" else f"lacks the field '{name}'"):
        Record.from_json(found)


@pytest.mark.parametrize("value", [None, [], "text", 1])
def test_not_an_object(value):
    with pytest.raises(BadInput, match="not a JSON object"):
        Record.from_json(value)


def test_another_writer_may_round_differently(make_record):
    found = document(make_record(), bytes_ratio=27336 / 1001, weights=6690)
    assert Record.from_json(found) == make_record()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 5, r"entries\[0\] of the record is 5; expected: a text"),
        (1, {}, r"entries\[1\] of the record is {}; expected: a list"),
        (1, [0.9], "the stored record has 1 figures; expected: 6"),
        (1, [0.9] * 7, "the stored record has 7 figures; expected: 8"),
        (1, [0.9, 0.9, None, 10, None, None], r"figures\[2\] of the record is None"),
        (
            1,
            [0.9, 0.9, 0.9, 10.0, None, None],
            r"figures\[3\] of the record is 10.0; expected: a whole number",
        ),
        (
            1,
            [0.9, 0.9, 0.9, 10, None, None, 1.0, 2.0],
            "interval 1.0 to 2.0 does not hold the test error 0.9",
        ),
        (2, math.nan, r"entries\[2\] of the record is nan"),
        (4, True, r"entries\[4\] of the record is True"),
        (7, "torch", "the stored record has the version .torch.; expected: name=version"),
        (7, "torch=2=3", "the version '2=3' is not one word"),
        (8, 7, r"entries\[8\] of the record is 7; expected: a text"),
    ],
)
def test_a_damaged_stored_form(make_record, place, value, message):
    stored = make_record().measured.to_stored()
    stored[place] = value
    with pytest.raises(BadInput, match=message):
        Measured.from_stored(stored, *DIGESTS)


@pytest.mark.parametrize("stored", [None, {}, "text"])
def test_a_stored_form_that_is_no_list(stored):
    with pytest.raises(BadInput, match=r"the stored form of the record is .*; expected: a list"):
        Measured.from_stored(stored, *DIGESTS)


def test_the_set_of_weights_is_stored_where_it_has_a_name(make_record):
    plain, named = make_record(), make_record(weights_entry="state_dict_ema")
    assert len(plain.measured.to_stored()) == 9 and named.measured.to_stored()[9:] == ["state_dict_ema"]
    assert named.to_json()["weights_entry"] == "state_dict_ema"
    with pytest.raises(BadInput, match="names an entry of no name"):
        Measured.from_stored([*plain.measured.to_stored(), ""], *DIGESTS)


def test_records_of_before_the_set_of_weights_was_named_are_read(make_record):
    document = make_record().to_json()
    del document["weights_entry"]
    assert Record.from_json(document) == make_record()


def test_the_output_is_stored_where_one_was_chosen(make_record):
    plain, named = make_record(), make_record(output="logits", weights_entry="ema")
    assert named.measured.to_stored()[9:] == ["ema", {"output": "logits"}]
    assert named.to_json()["output"] == "logits" and plain.to_json()["output"] is None
    for rest in ({}, {"output": ""}, {"output": "a", "b": "c"}, {"other": "a"}):
        with pytest.raises(BadInput, match="the stored record ends with"):
            Measured.from_stored([*plain.measured.to_stored(), rest], *DIGESTS)
    with pytest.raises(BadInput, match=r"ends with .*allowed: a note, an entry, and a table"):
        Measured.from_stored([*plain.measured.to_stored(), {"output": "a"}, "ema"], *DIGESTS)


def test_rows_that_were_skipped_are_stored_where_any_might_be(make_record):
    plain, none, some = make_record(), make_record(skipped_rows=0), make_record(skipped_rows=3, output="a")
    assert len(plain.measured.to_stored()) == 9 and none.measured.to_stored()[9:] == [{"skipped": "0"}]
    assert some.measured.to_stored()[9:] == [{"output": "a", "skipped": "3"}]
    for record in (plain, none, some):
        assert Record.from_json(record.to_json()) == record
        assert Measured.from_stored(record.measured.to_stored(), *DIGESTS).skipped_rows == (
            record.measured.skipped_rows
        )
    for rest in ({"skipped": "03"}, {"skipped": "-1"}, {"skipped": ""}, {"skipped": "1", "output": "a"}):
        with pytest.raises(BadInput, match="the stored record ends with"):
            Measured.from_stored([*plain.measured.to_stored(), rest], *DIGESTS)
    with pytest.raises(BadInput, match="expected: a table of texts"):
        Measured.from_stored([*plain.measured.to_stored(), {"skipped": 1}], *DIGESTS)


def test_processes_are_a_word_of_the_versions_and_a_field_of_the_json(make_record):
    record = make_record()
    assert record.to_json()["processes"] == 1
    several = make_record(versions={**record.measured.versions, "processes": "3"})
    document = several.to_json()
    assert document["processes"] == 3 and Record.from_json(document) == several
    without = {name: value for name, value in record.to_json().items() if name != "processes"}
    assert Record.from_json(without) == record  # as earlier versions wrote it
    with pytest.raises(BadInput, match="'processes' is 2, and the record's other figures give 3"):
        Record.from_json({**document, "processes": 2})
    with pytest.raises(BadInput, match="processes is 'many'"):
        make_record(versions={"processes": "many"})


def test_a_precision_is_stored_where_it_is_not_the_usual_one(make_record):
    record = make_record(precision="bf16", skipped_rows=2)
    assert record.measured.to_stored()[9:] == [{"skipped": "2", "precision": "bf16"}]
    assert Record.from_json(record.to_json()) == record and record.to_json()["precision"] == "bf16"
    assert Measured.from_stored(record.measured.to_stored(), *DIGESTS).precision == "bf16"
    stored = make_record().measured.to_stored()
    assert Measured.from_stored(stored, *DIGESTS).precision == "float32"
    for rest, said in (({"precision": "float32"}, "ends with"), ({"precision": "int4"}, "unknown precision")):
        with pytest.raises(BadInput, match=said):
            Measured.from_stored([*stored, rest], *DIGESTS)


def test_a_stored_form_of_another_length(make_record):
    with pytest.raises(BadInput, match="the stored record has 8 entries; expected: 9"):
        Measured.from_stored(make_record().measured.to_stored()[:-1], *DIGESTS)


@pytest.mark.parametrize("place", [0, 1])
def test_a_digest_beside_the_stored_form_that_is_none(make_record, place):
    digests = [*DIGESTS]
    digests[place] = "d" * 63
    with pytest.raises(BadInput, match=("data", "model")[place] + "_sha256"):
        Measured.from_stored(make_record().measured.to_stored(), *digests)


def test_a_task_that_is_none():
    with pytest.raises(BadInput, match="unknown task 'classify'"):
        Scores("classify", 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("task", "interval", "said"),
    [
        ("classification", (0.0, 1.0), "the test accuracy of a classification derives its interval"),
        ("regression", None, "the test error of a regression needs an interval beside it"),
    ],
)
def test_only_an_error_brings_its_interval(task, interval, said):
    with pytest.raises(BadInput, match=said):
        Scores(task, 0.5, 0.5, 0.5, 10, stored_interval=interval)


@pytest.mark.parametrize(
    ("task", "figure", "change"),
    [("classification", "97.46 %", "1.26 points"), ("regression", "0.0123", "0.0024")],
)
def test_figures_for_people(make_record, task, figure, change):
    scores = make_record(task).scores
    assert (scores.show(scores.test), scores.show_change(scores.drop)) == (figure, change)
    assert scores.show(None) == "not measured"


@pytest.mark.parametrize("note", NOTES)
def test_a_note_on_the_figures_is_stored_and_none_costs_nothing(make_record, note):
    measured = make_record().measured
    noted = replace(measured, figure_note=note)
    assert noted.to_stored() == [*measured.to_stored(), NOTES.index(note)]
    assert Measured.from_stored(noted.to_stored(), *DIGESTS).figure_note == note
    assert Measured.from_stored(measured.to_stored(), *DIGESTS).figure_note is None


def test_a_note_that_is_none_of_ours_is_refused(make_record):
    measured = make_record().measured
    with pytest.raises(BadInput, match="the note on the figures is 'all is well'; known: 3"):
        replace(measured, figure_note="all is well")
    with pytest.raises(BadInput, match="the stored record has the note 3; allowed: 0 to 2"):
        Measured.from_stored([*measured.to_stored(), 3], *DIGESTS)


def test_a_record_of_before_there_were_notes_is_read(make_record):
    record = make_record()
    old = {name: value for name, value in record.to_json().items() if name != "figure_note"}
    assert Record.from_json(old) == record


def test_every_kind_is_known():
    assert {kind for row in TASKS.values() for kind in record_fields(row).values()} == {
        "text", "whole number", "number", "number or null", "table of texts", "text or null",
        "whole number or null",
        "table of numbers or null",
    }  # fmt: skip


def test_it_needs_the_standard_library_only():
    code = "import sys, qtrain_cli.results.gates, qtrain_cli.tasks.objective; print(*sorted(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "qtrain_cli.results.gates" in modules
    assert not {"torch", "numpy", "rich", "typer"} & set(modules)
