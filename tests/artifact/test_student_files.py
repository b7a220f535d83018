"""A student's file: round trip, exact bytes, and everything damaged or hostile that must be refused."""

import json
import re
import time

import pytest
import safetensors.torch
import torch
from qtrain_cli.artifact.student_description import (
    StudentDescription,
    describe_student,
    metadata,
    read_student_record,
)
from qtrain_cli.artifact.student_tensors import (
    StudentFile,
    float32_bytes,
    read_student,
    student_bytes,
    write_student,
)

from qtrain_cli.artifact.container import KEY, read_container, sealed
from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.results import NO_TEACHER, NOTHING_SHA256, Lesson, Measured, Scores, StudentRecord
from qtrain_cli.runs.teach import probes
from qtrain_cli.students.networks import build
from qtrain_cli.students.spec import Student, parse_student, student_text

STUDENTS = (
    "hybrid:qubits=3,reps=1",
    "classical:like=hybrid:qubits=3,reps=1",
    "qnn:qubits=3,layers=2,readout=probabilities",
)


def file_of(text: str = STUDENTS[0], **changes) -> StudentFile:
    student = Student(parse_student(text), (1, 8, 8), 4)
    state = build(student, seed=0).state_dict()
    measured = Measured(
        "", Scores("classification", 0.9, 0.8, 0.7, 100), 0.1, 0.2, 3, 0, "cpu", {"qtrain": "0.1.0"},
        "d" * 64, NOTHING_SHA256, NO_TEACHER,
    )  # fmt: skip
    lesson = Lesson("labels", 0.0, 4.0, history=((1.5, 0.5), (1.0, 0.7), (0.5, 0.8)))
    given = {
        "student": student, "mean": (0.5,), "std": (0.5,), "probes": probes(student, state), "teacher": None,
        "lesson": lesson, "measured": measured, "run": "0" * 16, **changes,
    }  # fmt: skip
    return StudentFile(StudentDescription(**given), state)


def with_metadata(file: StudentFile, change) -> bytes:
    """The bytes of a file whose metadata were changed, sealed again: what a forger would write."""
    value = json.loads(metadata(file.description))
    change(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sealed(safetensors.torch.save({n: t.contiguous() for n, t in file.state.items()}, {KEY: text}))


@pytest.mark.parametrize("text", STUDENTS)
def test_what_is_written_reads_back_and_the_same_gives_the_same_bytes(tmp_path, text):
    file, path = file_of(text), tmp_path / "s.qtrain"
    write_student(path, file)
    again = read_student(path)
    assert again.description == file.description
    assert again.state.keys() == file.state.keys()
    assert all(torch.equal(again.state[name], file.state[name]) for name in file.state)
    assert student_bytes(again) == path.read_bytes()
    record = read_student_record(path)
    assert record.artifact_bytes == path.stat().st_size and record.epochs_to_95 == 3
    assert StudentRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v.update(student="hybrid:qubits=4"), "its stored tensors"),
        (lambda v: v.update(student="hybrid:qubits=3,reps=1"), "not what an honest writer writes"),
        (lambda v: v.update(student="hybrid:qubits=99"), "the student's qubits is 99"),
        (lambda v: v.update(outputs=5), "probes"),
        (lambda v: v.update(outputs=True), "a size in it is not a whole number above 0"),
        (lambda v: v.update(inputs=[2**40, 2**40]), "its input or its outputs are too many numbers"),
        (lambda v: v.update(inputs=[1] * 9), "a size in it is not a whole number above 0"),
        (lambda v: v.update(inputs="abc"), "a size in it is not a whole number above 0"),
        (lambda v: v.update(rules="wire0=lsb"), "it has the rules 'wire0=lsb'"),
        (lambda v: v.update(extra=1), "not what an honest writer writes"),
        (lambda v: v.update(run="xyz"), "its run is 'xyz'"),
        (lambda v: v.update(teacher=[5]), "malformed"),
        (lambda v: v.update(normalisation=[[0.5], [0]]), "its normalisation is none"),
        (lambda v: v.update(probes=[1e999] * 4), "one of its numbers is not finite"),
        (lambda v: v["lesson"].pop("shots"), "a lesson holds exactly"),
        (lambda v: v["lesson"].update(history=[[1, 2, 3]]), "an epoch of the history"),
        (lambda v: v["record"].pop(), "entries"),
    ],
)
def test_hostile_metadata_is_refused(tmp_path, change, said):
    path = tmp_path / "s.qtrain"
    path.write_bytes(with_metadata(file_of(), change))
    with pytest.raises(Refused, match=re.escape(said)) as caught:
        describe_student(read_container(path))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("front", ("linear", "conv"))
@pytest.mark.parametrize("inputs", ([1, 1, 2**20], [1, 2**20, 16], [1, 2**12, 2**12]))
def test_a_small_file_of_a_huge_input_costs_no_time(tmp_path, front, inputs):
    path = tmp_path / "s.qtrain"
    text = student_text(parse_student(f"hybrid:qubits=3,reps=1,params=10000000,front={front}"))
    path.write_bytes(with_metadata(file_of(), lambda v: v.update(student=text, inputs=inputs)))
    started = time.process_time()
    with pytest.raises(Refused):
        describe_student(read_container(path))
    assert time.process_time() - started < 0.1


def test_every_flipped_byte_is_noticed(tmp_path):
    data, path = bytearray(student_bytes(file_of())), tmp_path / "s.qtrain"
    for place in range(0, len(data), 97):
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises((Refused, BadInput)):
            read_student(path)
        data[place] ^= 1


@pytest.mark.parametrize("cut", (0, 7, 100, -1))
def test_a_truncated_file_is_refused(tmp_path, cut):
    path = tmp_path / "s.qtrain"
    path.write_bytes(student_bytes(file_of())[:cut])
    with pytest.raises(Refused, match="damaged or hostile"):
        read_student(path)


def test_a_tensor_that_is_not_finite_is_refused(tmp_path):
    file, path = file_of(), tmp_path / "s.qtrain"
    file.state["circuit.theta"][0, 0, 0, 0] = float("nan")
    write_student(path, file)
    with pytest.raises(
        Refused, match=re.escape("its tensor 'circuit.theta' holds a number that is not finite")
    ):
        read_student(path)


def test_another_version_is_not_read(tmp_path):
    path = tmp_path / "s.qtrain"
    path.write_bytes(with_metadata(file_of(), lambda v: v.update(format="qtrain.student/2")))
    with pytest.raises(BadInput, match=re.escape("has the format 'qtrain.student/2'")):
        read_student(path)


def test_a_compressed_models_artifact_is_no_student(artifact):
    with pytest.raises(BadInput, match="is a compressed model's artifact, not a student's"):
        read_student(artifact)


def test_tied_tensors_count_once():
    one = torch.zeros(1000)
    assert float32_bytes({"a": one, "b": one}) < float32_bytes({"a": one, "b": one.clone()}) - 3000
