"""Students as text and as sizes: the grammar, its refusals, and counts against the modules themselves."""

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.errors import BadInput, QtrainError, UsageError
from qtrain_cli.students.networks import build
from qtrain_cli.students.spec import (
    ClassicalSpec,
    HybridSpec,
    QnnSpec,
    Student,
    inference_needs,
    parse_student,
    student_text,
)


def test_text_becomes_a_spec_with_defaults():
    spec = parse_student("hybrid:qubits=4,feature-map=zz")
    assert spec == HybridSpec(qubits=4, feature_map="zz")
    assert parse_student("qnn") == QnnSpec()
    assert parse_student("classical:like=hybrid:qubits=4,feature-map=zz") == ClassicalSpec(spec)


@given(
    st.builds(
        HybridSpec,
        qubits=st.integers(3, 8),
        reps=st.integers(1, 4),
        feature_map=st.sampled_from(("angle", "z", "zz")),
        params=st.integers(200, 2000),
    )
    | st.builds(QnnSpec, qubits=st.integers(1, 8), layers=st.integers(1, 9))
)
@settings(max_examples=50)
def test_the_full_text_gives_the_spec_again(spec):
    assert parse_student(student_text(spec)) == spec


@pytest.mark.parametrize(
    ("text", "kind", "said", "advice"),
    [
        ("hybird:qubits=4", UsageError, "unknown student 'hybird'", "did you mean 'hybrid'?"),
        ("hybrid:qubit=4", UsageError, "a hybrid student has no 'qubit'", "did you mean 'qubits'?"),
        ("hybrid:qubits=4,qubits=5", UsageError, "the student's qubits stands twice", "say it once"),
        ("hybrid:qubits", UsageError, "the student's qubits has no value", "write e.g. qubits=6"),
        ("hybrid:qubits=four", UsageError, "the student's qubits is 'four'; needed: a whole number", ""),
        ("hybrid:qubits=13", UsageError, "the student's qubits is 13; allowed: 1 to 12", ""),
        ("hybrid:feature-map=zzz", UsageError, "the student's feature-map is 'zzz'", "did you mean 'zz'?"),
        ("qnn:encoding=amplitud", UsageError, "the student's encoding is 'amplitud'", "'amplitude'?"),
        ("classical", UsageError, "a classical student needs 'like'", "classical:like=hybrid:qubits=6"),
        ("classical:like=qnn", UsageError, "a classical student is like a hybrid, not like a qnn", ""),
        ("hybrid:feature-map=pauli,paulis=ZQ", BadInput, "'ZQ' is no Pauli string", "write e.g. Z+XX"),
        ("q" * 500, UsageError, "the student's text has 500 characters; allowed: 400", ""),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_nearest(text, kind, said, advice):
    with pytest.raises(kind, match=re.escape(said)) as caught:
        parse_student(text)
    assert advice in caught.value.advice


@pytest.mark.parametrize("text", ("hybrid:qubits=4", "hybrid:qubits=8,front=linear", "qnn:layers=5"))
@pytest.mark.parametrize("inputs", ((1, 28, 28), (3, 32, 32), (1, 8, 8), (12,)))
@pytest.mark.parametrize("control", (False, True))
def test_sizes_are_those_of_the_module(text, inputs, control):
    if control and text.startswith("qnn"):
        return
    if len(inputs) == 1:
        text = text.replace("hybrid:", "hybrid:params=400,")
    student = Student(parse_student(f"classical:like={text}" if control else text), inputs, 10)
    found = {name: tuple(tensor.shape) for name, tensor in build(student, 0).state_dict().items()}
    assert found == student.shapes
    assert student.parameters == sum(p.numel() for p in build(student, 0).parameters())


def test_a_front_uses_its_budget_and_stays_within_it():
    for params in (400, 800, 1600):
        student = Student(parse_student(f"hybrid:qubits=6,params={params}"), (1, 28, 28), 10)
        assert 0.8 * params < student.parameters <= params


@pytest.mark.parametrize("qubits", (2, 4, 6, 8))
def test_a_control_is_within_five_percent(qubits):
    hybrid = parse_student(f"hybrid:qubits={qubits}")
    pair = [Student(spec, (1, 28, 28), 10).parameters for spec in (hybrid, ClassicalSpec(hybrid))]
    assert abs(pair[1] - pair[0]) <= 0.05 * pair[0]


@pytest.mark.parametrize(
    ("text", "inputs", "outputs", "said"),
    [
        ("qnn:qubits=6", (4,), 2, "the student has 6 qubits and an input 4 features"),
        ("hybrid:qubits=6", (4,), 2, "the student has 6 qubits and an input 4 features"),
        ("qnn:qubits=2,readout=probabilities", (1, 8, 8), 10, "2 qubits have 4 basis states for 10 classes"),
        ("qnn:qubits=1,layers=2", (3, 8, 8), 10, "an image of 3 channels needs as many slots"),
        ("qnn:qubits=2", (0, 8, 8), 10, "a student of inputs [0, 8, 8] and 10 outputs cannot be"),
        (
            "classical:like=hybrid:qubits=1,params=14,front=linear,reps=1",
            (1, 4, 4),
            2,
            "no dense layer brings",
        ),
    ],
)
def test_what_does_not_fit_the_data_is_refused(text, inputs, outputs, said):
    with pytest.raises(BadInput, match=re.escape(said)):
        Student(parse_student(text), inputs, outputs)


def test_a_budget_without_room_says_what_would_do():
    with pytest.raises(BadInput, match="a student of 100 numbers has no room for a front") as caught:
        _ = Student(parse_student("hybrid:qubits=6,params=100"), (1, 28, 28), 10).shapes
    wanted = int(re.search(r"params=(\d+)", caught.value.advice)[1])
    assert Student(parse_student(f"hybrid:qubits=6,params={wanted}"), (1, 28, 28), 10).parameters == wanted


def test_inputs_are_reduced_to_what_the_circuit_holds():
    for text, cells, slots in (
        ("qnn:qubits=4,layers=3", (3, 4), 12),
        ("qnn:qubits=8,layers=8", (8, 8), 64),
        ("qnn:qubits=8,layers=20", (8, 8), 160),
        ("qnn:qubits=5,encoding=amplitude", (4, 8), 32),
    ):
        student = Student(parse_student(text), (1, 8, 8), 10)
        assert (sorted(student.cells), student.slots) == (sorted(cells), slots)
    assert Student(parse_student("qnn:qubits=2,layers=2"), (9,), 2).cells == (4,)


def test_it_says_what_inference_needs():
    control = Student(parse_student("classical:like=hybrid"), (1, 28, 28), 10)
    assert inference_needs(control) == "ordinary layers only"
    assert inference_needs(Student(parse_student("qnn"), (9,), 2)).startswith("a circuit of 4 qubits")


@given(st.text(max_size=40))
@settings(max_examples=100)
def test_any_text_is_a_student_or_one_of_our_failures(text):
    with contextlib.suppress(QtrainError):
        parse_student(text)
