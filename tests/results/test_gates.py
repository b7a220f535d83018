"""Gates: each seen to pass and to fail, the edge cases of equality, and what is said about chance."""

from dataclasses import replace
from pathlib import Path

import pytest

from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.results.gates import GATES, check_gates, gate_failure
from qtrain_cli.settings import GateSettings


def only(results):
    assert len(results) == 1
    return results[0]


def against(older, limit):
    return {"gates": GateSettings(baseline=Path("old.json"), max_regression=limit), "baseline": older}


def test_no_gate_no_result(make_record):
    assert check_gates(make_record(), GateSettings()) == ()
    assert gate_failure(()) is None


def test_every_gate_of_the_settings_is_in_the_table():
    assert [name.replace("-", "_") for name in GATES] == [
        name for name in vars(GateSettings()) if name not in ("baseline", "min_metric")
    ]


@pytest.mark.parametrize(
    ("task", "setting", "passed", "value"),
    [
        ("classification", {"min_accuracy": 0.9746}, True, 0.9746),
        ("classification", {"min_accuracy": 0.97461}, False, 0.9746),
        ("regression", {"max_error": 0.0123}, True, 0.0123),
        ("regression", {"max_error": 0.0122}, False, 0.0123),
        ("classification", {"max_drop": 0.0126}, True, 0.0126),
        ("classification", {"max_drop": 0.0125}, False, 0.0126),
        ("regression", {"max_drop": 0.0024}, True, 0.0024),
        ("regression", {"max_drop": 0.0023}, False, 0.0024),
        ("classification", {"min_ratio": 27.3}, True, 27336 / 1001),
        ("classification", {"min_ratio": 27.4}, False, 27336 / 1001),
        ("classification", {"max_bytes": 1001}, True, 1001),
        ("classification", {"max_bytes": 1000}, False, 1001),
    ],
)
def test_each_gate_passes_and_fails(make_record, task, setting, passed, value):
    result = only(check_gates(make_record(task), GateSettings(**setting)))
    (name, limit), *_ = setting.items()
    assert result.name == name.replace("_", "-")
    assert (result.passed, result.limit) == (passed, limit)
    assert result.value == pytest.approx(value)
    assert "\n" not in result.message


@pytest.mark.parametrize(
    ("task", "name", "mark", "passed", "said"),
    [
        ("classification", "accuracy", 0.9746, True, "test accuracy is 0.9746; allowed: at least 0.9746"),
        ("classification", "accuracy", 0.98, False, "allowed: at least 0.98"),
        ("regression", "error", 0.0123, True, "test error is 0.0123; allowed: at most 0.0123"),
        ("regression", "error", 0.01, False, "at most 0.01"),
        ("regression", "r2", 0.5, True, "test r2 is 0.75; allowed: at least 0.5"),
        ("regression", "r2", 0.8, False, "at least 0.8"),
    ],
)
def test_any_figure_has_a_gate_in_its_own_direction(make_record, task, name, mark, passed, said):
    record = make_record(task)
    if task == "regression":
        scores = replace(record.scores, metrics={"r2": 0.75})
        record = replace(record, measured=replace(record.measured, scores=scores))
    result = only(check_gates(record, GateSettings(min_metric=((name, mark),))))
    assert (result.name, result.passed, result.limit) == (f"min-metric {name}", passed, mark)
    assert said in result.message


def test_a_gate_on_a_figure_that_is_not_there_names_those_that_are(make_record):
    with pytest.raises(UsageError, match="--min-metric f1: the record of a regression has no such") as caught:
        check_gates(make_record("regression"), GateSettings(min_metric=(("f1", 0.9),)))
    assert caught.value.advice == "there are: error"


def test_a_gate_on_a_figure_that_was_not_measured(make_record):
    record = make_record("regression")
    scores = replace(record.scores, metrics={"r2": None})
    record = replace(record, measured=replace(record.measured, scores=scores))
    with pytest.raises(UsageError, match="--min-metric r2: it was not measured") as caught:
        check_gates(record, GateSettings(min_metric=(("r2", 0.9),)))
    assert caught.value.advice == "leave out this gate"


@pytest.mark.parametrize(("limit", "passed"), [(0.01, True), (0.0099, False)])
def test_a_drop_of_exactly_the_limit_passes(make_record, limit, passed):
    record = make_record(test=0.97, teacher=0.98)  # 0.98 - 0.97 > 0.01 in binary arithmetic
    assert only(check_gates(record, GateSettings(max_drop=limit))).passed is passed


@pytest.mark.parametrize(("older", "passed"), [(0.9746, True), (0.9756, True), (0.9757, False), (0.5, True)])
def test_max_regression(make_record, older, passed):
    result = only(check_gates(make_record(), **against(make_record(test=older), 0.001)))
    assert (result.name, result.passed) == ("max-regression", passed)


def test_regression_of_an_error_is_its_increase(make_record):
    older = make_record("regression", test=0.0113)
    result = only(check_gates(make_record("regression"), **against(older, 0.0005)))
    assert not result.passed
    assert result.value == 0.001


# Newcombe's interval worked by hand for the teacher's 0.9872 (low 0.984804) on 10,000 rows:
# sqrt(0.002396**2 + (0.9775063 - 0.9746)**2) = 0.0038, and 0.0033 with the 0.987197 above 0.9850.
@pytest.mark.parametrize(
    ("test", "place", "chance", "verdict"),
    [
        (0.9746, "outside", 0.0038, "is more than chance"),
        (0.9830, "outside", 0.0034, "is more than chance"),
        (0.9850, "inside", 0.0033, "may be chance"),
    ],
)
def test_what_is_said_about_chance(make_record, test, place, chance, verdict):
    result = only(check_gates(make_record(test=test), GateSettings(max_drop=0.001)))
    assert result.message == (
        f"test accuracy {test} is {0.9872 - test:.4f} worse than the teacher's 0.9872; allowed: 0.001."
        f" This lies {place} the 95 % interval of the two measurements (up to {chance} on 10,000 test rows),"
        f" so it {verdict}"
    )


def test_the_nearer_ends_of_the_two_intervals_count(make_record):
    # Far from a half the intervals are lopsided: 0.8389 below 1.0, 0.9911 above 0.95, on 20 rows.
    record = make_record(test=0.95, teacher=1.0, count=20)
    assert "(up to 0.17 on 20 test rows)" in only(check_gates(record, GateSettings(max_drop=1.0))).message


def test_no_word_of_chance_without_a_fall(make_record):
    result = only(check_gates(make_record(test=0.9872), GateSettings(max_drop=0.001)))
    assert result.message == (
        "test accuracy 0.9872 is no worse than the teacher's 0.9872; allowed: at most 0.001 worse"
    )


def test_the_number_alone_decides(make_record):
    result = only(check_gates(make_record(test=0.9850), GateSettings(max_drop=0.001)))
    assert not result.passed
    assert "may be chance" in result.message


@pytest.mark.parametrize(("test", "words"), [(0.0105, "inside"), (0.0123, "outside")])
def test_chance_of_an_error_is_its_own_interval(make_record, test, words):
    record = make_record("regression", test=test, stored_interval=(test - 0.001, test + 0.002))
    assert f"lies {words} the" in only(check_gates(record, GateSettings(max_drop=1.0))).message


def test_chance_against_a_baseline_of_errors_takes_both_intervals(make_record):
    new = make_record("regression", test=0.5, stored_interval=(0.46, 0.9))
    old = make_record("regression", test=0.45, stored_interval=(0.1, 0.49))
    assert (
        "(up to 0.057 on 500 test rows), so it may be chance"
        in only(check_gates(new, **against(old, 0))).message
    )


@pytest.mark.parametrize(
    ("task", "setting", "message", "advice"),
    [
        (
            "regression",
            {"min_accuracy": 0.9},
            "--min-accuracy does not fit a regression artifact",
            "--max-error",
        ),
        ("classification", {"max_error": 1}, "--max-error does not fit a classification", "--min-accuracy"),
    ],
)
def test_a_gate_of_the_other_task(make_record, task, setting, message, advice):
    with pytest.raises(UsageError, match=message) as caught:
        check_gates(make_record(task), GateSettings(**setting))
    assert advice in caught.value.advice


def test_a_drop_without_a_teacher(make_record):
    with pytest.raises(UsageError, match="--max-drop needs the teacher's test figure"):
        check_gates(make_record(teacher=None), GateSettings(max_drop=0.1))


def test_a_regression_without_a_baseline(make_record):
    with pytest.raises(UsageError, match="--max-regression needs --baseline"):
        check_gates(make_record(), against(None, 0.1)["gates"])


def test_a_baseline_of_other_data(make_record):
    with pytest.raises(BadInput, match="measured on other data"):
        check_gates(make_record(), **against(make_record(data_sha256="0" * 64), 0.1))


def test_a_baseline_of_the_other_task(make_record):
    with pytest.raises(BadInput, match="measured on other data"):
        check_gates(make_record(), **against(make_record("regression"), 0.1))


def test_a_baseline_of_another_model_is_noted(make_record):
    older = make_record(model_sha256="0" * 64)
    assert "another model file" in only(check_gates(make_record(), **against(older, 0.1))).message
    assert "another model file" not in only(check_gates(make_record(), **against(make_record(), 0.1))).message


def test_the_failure_names_what_failed(make_record):
    gates = GateSettings(min_accuracy=0.99, max_bytes=2000, min_ratio=100)
    failure = gate_failure(check_gates(make_record(), gates))
    assert failure.exit_code == 3
    assert failure.message.startswith("2 of 3 gates failed: min-accuracy: test accuracy is 0.9746")
    assert "min-ratio: the file is 27.31 times smaller" in failure.message
    assert "max-bytes" not in failure.message


def test_the_results_keep_the_order_of_the_table(make_record):
    settings = GateSettings(max_bytes=1, min_ratio=1, max_drop=1, min_accuracy=0)
    names = [result.name for result in check_gates(make_record(), settings)]
    assert names == ["min-accuracy", "max-drop", "min-ratio", "max-bytes"]
    assert check_gates(make_record(), replace(settings)) == check_gates(make_record(), settings)
