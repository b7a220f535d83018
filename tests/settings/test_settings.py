"""Settings refuse bad values by name, and every way to write a size, a list or a shape."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtrain_cli.errors import UsageError
from qtrain_cli.settings import (
    MAX_BUDGET,
    MAX_SEED,
    BudgetSettings,
    CompareSettings,
    DataSettings,
    FitSettings,
    GateSettings,
    GradientSettings,
    ModelSettings,
)
from qtrain_cli.settings.parsing import (
    parse_arguments,
    parse_floats,
    parse_shape,
    parse_shots,
    parse_size,
    parse_sizes,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, None), ("700", 700), (" 700 ", 700), ("700b", 700), ("2KB", 2000), ("2kb", 2000),
        ("2 KiB", 2048), ("1.5MB", 1_500_000), ("1.5 MiB", 1_572_864), ("1GB", 10**9), ("1GiB", 2**30),
        ("1.001KB", 1001), ("2.9", 2),
    ],
)  # fmt: skip
def test_sizes(text, size):
    assert parse_size(text) == size


@given(st.integers(1, 10**6), st.integers(0, 999))
def test_sizes_are_exact(whole, thousandth):
    assert parse_size(f"{whole}.{thousandth:03}KB") == 1000 * whole + thousandth


@pytest.mark.parametrize(
    "text", ["", "0", "0.5", "-1", "KB", "1TB", "1e3", "1,5", "nan", "inf", "9" * 400, "1 2"]
)
def test_texts_that_are_no_sizes(text):
    with pytest.raises(UsageError) as refused:
        parse_size(text)
    assert refused.value.message.endswith("is not a size") and "KiB" in refused.value.advice


@pytest.mark.parametrize(
    ("text", "values"),
    [(None, ()), ("", ()), ("0.5", (0.5,)), ("0.4,0.5, 0.6", (0.4, 0.5, 0.6)), ("-1e-3", (-0.001,))],
)
def test_lists_of_numbers(text, values):
    assert parse_floats(text, "--mean") == values


@pytest.mark.parametrize("text", ["a", "0.5,", ",", "nan", "0.5,inf", "1e999"])
def test_texts_that_are_no_lists(text):
    with pytest.raises(UsageError, match=f"--mean '{text}' is not a list of numbers"):
        parse_floats(text, "--mean")


@pytest.mark.parametrize(
    ("text", "shape"),
    [(None, ()), ("", ()), ("1,28,28", (1, 28, 28)), ("3x32x32", (3, 32, 32)), (" 7 ", (7,))],
)
def test_shapes(text, shape):
    assert parse_shape(text) == shape


@pytest.mark.parametrize("text", ["0", "1,,2", "1,-2", "a", "1.5", ",", "2²", "9" * 5000])
def test_texts_that_are_no_shapes(text):
    with pytest.raises(UsageError, match="is not a shape"):
        parse_shape(text)


@pytest.mark.parametrize(
    ("text", "shots"),
    [("1000", (1000,)), ("1e3, 2E+4,exact", (1000, 20_000, None)), ("1.5e3", (1500,)), ("1e15", (10**15,))],
)
def test_numbers_of_shots(text, shots):
    assert parse_shots(text) == shots


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.5", "1e-3", "2e15", "1e99", "nan", "inf", "many", "1_0", "1,"]
)
def test_texts_that_are_no_numbers_of_shots(text):
    with pytest.raises(UsageError, match="is no number of shots; allowed: whole, 1 to"):
        parse_shots(text)


def test_arguments():
    assert parse_arguments(None) == parse_arguments("") == {}
    assert parse_arguments('{"width": 8, "deep": true}') == {"width": 8, "deep": True}


@pytest.mark.parametrize("text", ["{", "width=8", "{'a': 1}", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_arguments_that_are_no_json(text):
    with pytest.raises(UsageError, match="--arch-args is not JSON"):
        parse_arguments(text)


@pytest.mark.parametrize("text", ["[1]", "1", "null", '"a"'])
def test_arguments_that_are_no_object(text):
    with pytest.raises(UsageError, match="--arch-args is not a JSON object"):
        parse_arguments(text)


def refused(kind, **values):
    with pytest.raises(UsageError) as refused:
        kind(**values)
    return refused.value.message


def test_models():
    assert refused(ModelSettings, path=Path("m"), arch="Net") == "--arch 'Net' names no class"
    assert refused(ModelSettings, path=Path("m"), arch_args={"a": 1}) == "--arch-args needs --arch"
    assert ModelSettings(Path("m"), "net.py:Net", {"a": 1}).arch_args == {"a": 1}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": (0.5,)}, "--mean and --std go together"),
        ({"std": (0.5,)}, "--mean and --std go together"),
        ({"mean": (0.5,), "std": (1, 1)}, "--mean has 1 numbers and --std 2"),
        ({"mean": (0.5,), "std": (0,)}, "--std must be positive"),
        ({"validation": -0.1}, "--validation is -0.1; allowed: 0 to below 1"),
        ({"validation": 1}, "--validation is 1; allowed: 0 to below 1"),
        ({"validation": math.nan}, "--validation is nan; allowed: 0 to below 1"),
    ],
)
def test_data(values, message):
    assert refused(DataSettings, source="d", **values) == message


@pytest.mark.parametrize("name", ["params", "ratio", "bytes", "layers", "circuits"])
@pytest.mark.parametrize("value", [0, -1, MAX_BUDGET, 10**400, math.nan, math.inf])
def test_budgets_are_above_0(name, value):
    found = refused(BudgetSettings, **{name: value})
    assert found.startswith(f"--{name} is ") and found.endswith("; allowed: above 0, below 2**63")


def test_budgets():
    assert refused(BudgetSettings, params=1, ratio=2) == "--params and --ratio are given"
    assert refused(BudgetSettings, ratio=2, bytes=1) == "--ratio and --bytes are given"
    assert refused(BudgetSettings, bytes=1, layers=1) == "--bytes and --layers both fix the size"
    assert refused(BudgetSettings, ratio=0.5) == "--ratio is 0.5; allowed: 1 or more"
    assert BudgetSettings(ratio=1).ratio == 1 and BudgetSettings(layers=2, circuits=3).circuits == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"distill": -0.1}, "--distill is -0.1; allowed: 0 to 1"),
        ({"distill": 1.1}, "--distill is 1.1; allowed: 0 to 1"),
        ({"distill": math.nan}, "--distill is nan; allowed: 0 to 1"),
        ({"temperature": 0}, "--temperature is 0; allowed: above 0, at most 1e+06"),
        ({"temperature": math.inf}, "--temperature is inf; allowed: above 0, at most 1e+06"),
        ({"temperature_end": 0}, "--temperature-end is 0; allowed: 1e-06 to 1e+06"),
        ({"temperature_end": math.nan}, "--temperature-end is nan; allowed: 1e-06 to 1e+06"),
        ({"epochs": -1}, "--epochs is -1; allowed: 1 to 999999999"),
        ({"batch_size": -1}, "--batch-size is -1; allowed: 1 or more"),
        ({"lr": 0}, "--lr is 0; allowed: above 0"),
        ({"lr": math.nan}, "--lr is nan; allowed: above 0"),
        ({"seed": -1}, f"--seed is -1; allowed: 0 to {MAX_SEED}"),
        ({"seed": MAX_SEED + 1}, f"--seed is {MAX_SEED + 1}; allowed: 0 to {MAX_SEED}"),
    ],
)
def test_fits(values, message):
    assert refused(FitSettings, **values) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shots": 0}, "--shots is 0; allowed: 1 to 1000000000"),
        ({"shots": -5}, "--shots is -5; allowed: 1 to 1000000000"),
        ({"shots": 10**9 + 1}, "--shots is 1000000001; allowed: 1 to 1000000000"),
        ({"spsa_samples": 0}, "--spsa-samples is 0; allowed: 1 to 1000000"),
        ({"spsa_samples": 10**6 + 1}, "--spsa-samples is 1000001; allowed: 1 to 1000000"),
    ],
)
def test_gradients(values, message):
    assert refused(GradientSettings, **values) == message
    assert GradientSettings(shots=10**9, spsa_samples=10**6).shots == 10**9


def test_a_larger_generator_learns_more_slowly():
    rates = [FitSettings().for_numbers(numbers).lr for numbers in (1, 600, 601, 4800)]
    assert rates[:2] == [0.013, 0.013] and rates[2] < 0.013 and rates[3] == pytest.approx(0.013 / 4)


@pytest.mark.parametrize(("method", "shots", "lr"), [("spsa", None, 0.02), ("parameter-shift", 9, 0.02)])
def test_rough_gradients_keep_the_rate_of_adam(method, shots, lr):
    rough = FitSettings(gradient=GradientSettings(method, shots))
    assert rough.gradient.rough and rough.for_numbers(600).lr == lr
    exact = FitSettings(gradient=GradientSettings("parameter-shift"))
    assert not exact.gradient.rough and exact.for_numbers(600).lr == 0.013


def test_steps_are_those_of_whole_batches():
    assert FitSettings(epochs=3, batch_size=10).steps(109) == 30
    assert FitSettings(epochs=3, batch_size=200).steps(109) == 3


@pytest.mark.parametrize(
    ("rows", "epochs", "found"),
    [(60_000, 0, 10), (60_000, 3, 3), (1280, 0, 200), (50, 0, 2000), (1, 0, 2000), (1280, 1, 1)],
)
def test_epochs_that_little_data_takes(rows, epochs, found):
    settled = FitSettings(epochs=epochs).for_work(rows, 0.0)
    assert settled.epochs == found and settled.batch_size == 128


@pytest.mark.parametrize(
    ("rows", "epochs", "found"), [(4_908, 0, 4), (60_000, 0, 4), (160, 0, 120), (60_000, 9, 9)]
)
def test_changes_to_a_base_take_fewer(rows, epochs, found):
    assert FitSettings(epochs=epochs).for_change().for_work(rows, 0.0, change=True).epochs == found


@pytest.mark.parametrize(
    ("rows", "work", "size", "epochs"),
    [
        (60_000, 3e6, 128, 10),  # a small network: 2 of the 27 trillion operations of a run
        (45_000, 2.5e8, 128, 2),  # a ResNet-20 on CIFAR-10
        (18, 1.1e10, 16, 136),  # a ResNet-18 on 18 pictures of 224x224: 18 and not 128 rows would be the step
        (45_000, 1.1e10, 16, 1),
        (1000, 1e12, 8, 1),
    ],
)
def test_heavy_rows_make_smaller_steps_and_fewer_of_them(rows, work, size, epochs):
    settled = FitSettings().for_work(rows, work)
    assert (settled.batch_size, settled.epochs) == (size, epochs)
    said = FitSettings(epochs=7, batch_size=300).for_work(rows, work)
    assert (said.batch_size, said.epochs) == (300, 7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_accuracy": 97.3}, "--min-accuracy is 97.3; allowed: 0 to 1 (0.973 is 97.3 %)"),
        ({"min_ratio": -1}, "--min-ratio is -1; allowed: 0 or more"),
        ({"max_error": math.nan}, "--max-error is nan; allowed: 0 or more"),
        ({"max_drop": math.inf}, "--max-drop is inf; allowed: 0 or more"),
        ({"max_regression": 0.1}, "--baseline and --max-regression go together"),
        ({"baseline": Path("b")}, "--baseline and --max-regression go together"),
    ],
)
def test_gates(values, message):
    assert refused(GateSettings, **values) == message


@pytest.mark.parametrize(
    ("text", "sizes"), [("600", (600,)), ("2KB,600, 1KiB", (600, 1024, 2000)), ("1.5kb", (1500,))]
)
def test_lists_of_sizes_come_in_order(text, sizes):
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"budgets": ()}, "--bytes names nothing"),
        ({"methods": ()}, "--methods names nothing"),
        ({"seeds": ()}, "--seeds names nothing"),
        ({"budgets": (5, 6, 5)}, "--bytes names 5 twice"),
        ({"methods": ("ours", "ours")}, "--methods names ours twice"),
        ({"budgets": (2**63,)}, f"--bytes is {2**63}; allowed: below 2**63"),
    ],
)
def test_comparisons(values, message):
    fields = {"budgets": (1000,), "methods": ("ours",), "seeds": (0,), **values}
    model, data = ModelSettings(Path("a.pt")), DataSettings("a.npz")
    assert (
        refused(CompareSettings, model=model, data=data, fit=FitSettings(), state=Path("s"), **fields)
        == message
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image", "--columns 'image' names nothing"),
        ("image=", "--columns 'image=' names nothing"),
        ("picture=img", "--columns has the name 'picture'"),
        ("label=a,label=b", "--columns names 'label' twice"),
    ],
)
def test_roles_that_are_none(text, message):
    from qtrain_cli.errors import UsageError
    from qtrain_cli.settings.parsing import parse_roles
    from qtrain_cli.settings.sources import COLUMN_ROLES

    assert parse_roles("image = img, label=b", "--columns", COLUMN_ROLES) == (
        ("image", "img"),
        ("label", "b"),
    )
    with pytest.raises(UsageError, match=message):
        parse_roles(text, "--columns", COLUMN_ROLES)
