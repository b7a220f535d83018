"""A student's file: round trip, exact bytes, and everything damaged or hostile that must be refused.

Files of `qtrain.student/1` are made here, by its page, because nothing else writes them any more.
"""

import json
import math
import re
import time
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from qtrain_cli.artifact.container import BLANK, KEY, read_container, sealed
from qtrain_cli.artifact.numbers import file_of as file_of_tensor
from qtrain_cli.artifact.payload import join_payload
from qtrain_cli.artifact.student import (
    StudentDescription,
    describe_student,
    digest_of_bytes,
    read_student_record,
    student_facts,
)
from qtrain_cli.artifact.student_file import (
    StudentFile,
    float32_bytes,
    read_student,
    student_bytes,
    write_student,
)
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


def same(values):
    """No change."""


def flat(file: StudentFile) -> dict:
    """All that a file says, whichever its format: facts with the plan's members among them, and the rest."""
    facts, measured = student_facts(file.description), file.description.measured
    own = {"run": file.description.run, "digests": [measured.data_sha256, measured.model_sha256]}
    return json.loads(json.dumps({**facts.pop("plan"), **facts, **own, "probes": file.description.probes}))


def of_format_1(file: StudentFile, change=same, tensors=None) -> bytes:
    """A file of `qtrain.student/1` whose metadata were changed, sealed again: what a forger would write."""
    values = flat(file)
    del values["method"]
    values |= {"format": "qtrain.student/1", "check": BLANK}
    change(values)
    state = tensors or {name: tensor.contiguous() for name, tensor in file.state.items()}
    return sealed(safetensors.torch.save(state, {KEY: json_of(values)}))


def of_format_5(file: StudentFile, change=same) -> bytes:
    """The same of `qtrain/5`."""
    values = flat(file)
    change(values)
    run, digests, probes = (values.pop(key) for key in ("run", "digests", "probes"))
    plan = {key: values.pop(key) for key in PLAN if key in values}
    numbers = b"".join(file.state[name].numpy().tobytes() for name in file.description.student.shapes)
    text = json_of({"plan": plan, **values})
    return file_of_tensor(
        join_payload(digest_of_bytes(numbers), text, tuple(probes), (run, *digests), b"", numbers)
    )


def json_of(values: dict) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


PLAN = ("student", "inputs", "outputs", "normalisation", "teacher", "lesson")
FORMATS = {"qtrain.student/1": of_format_1, "qtrain/5": of_format_5}
both = pytest.mark.parametrize("made", FORMATS.values(), ids=FORMATS)


def test_a_temperature_that_moved_is_in_the_file_and_one_that_stayed_costs_nothing(tmp_path):
    moved = replace(file_of().description.lesson, method="distilled", distill=0.5, temperature_end=0.5)
    (tmp_path / "s.qtrain").write_bytes(student_bytes(file_of(lesson=moved)))
    assert read_student(tmp_path / "s.qtrain").description.lesson == moved
    assert b"temperature_end" not in json_of(flat(file_of())).encode()


@pytest.mark.parametrize("text", STUDENTS)
def test_both_formats_say_the_same(tmp_path, text):
    file, found = file_of(text), []
    assert of_format_5(file) == student_bytes(file)
    for make in FORMATS.values():
        (tmp_path / "s.qtrain").write_bytes(make(file))
        found.append(read_student(tmp_path / "s.qtrain"))
    one, other = found
    assert one.description == other.description == file.description
    assert all(torch.equal(one.state[name], other.state[name]) for name in file.state)
    assert len(of_format_5(file)) < len(of_format_1(file)) - 300


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
        (lambda v: v.update(student="hybrid:qubits=4"), "its stored tensors|its numbers take"),
        (lambda v: v.update(student="hybrid:qubits=3,reps=1"), "not what an honest writer writes"),
        (lambda v: v.update(student="hybrid:qubits=99"), "the student's qubits is 99"),
        (lambda v: v.update(outputs=5), "probes|its numbers take"),
        (lambda v: v.update(outputs=True), "a size in it is not a whole number above 0"),
        (lambda v: v.update(inputs=[2**40, 2**40]), "its input or its outputs are too many numbers"),
        (lambda v: v.update(inputs=[1] * 9), "a size in it is not a whole number above 0"),
        (lambda v: v.update(inputs="abc"), "a size in it is not a whole number above 0"),
        (lambda v: v.update(rules="wire0=lsb"), "it has the rules 'wire0=lsb'"),
        (lambda v: v.update(extra=1), "not what an honest writer writes"),
        (lambda v: v.update(teacher=[5]), "malformed"),
        (lambda v: v.update(normalisation=[[0.5], [0]]), "its normalisation is none"),
        (lambda v: v.update(probes=[math.inf] * 4), "one of its numbers is not finite"),
        (lambda v: v.update(normalisation=[[math.inf], [1.0]]), "one of its numbers is not finite"),
        (lambda v: v.update(outputs=0), "a size in it is not a whole number above 0"),
        (lambda v: v.update(outputs=2**25), "too many numbers|probes|bytes follow its facts"),
        (lambda v: v.update(lesson=[]), "a lesson holds exactly"),
        (lambda v: v.pop("lesson"), "KeyError: 'lesson'"),
        (lambda v: v["lesson"].pop("shots"), "a lesson holds exactly"),
        (lambda v: v["lesson"].update(history=[[1, 2, 3]]), "an epoch of the history"),
        (lambda v: v["lesson"].update(temperature_end=None), "where there is one, or not at all"),
        (lambda v: v["lesson"].update(distill=0.5, temperature_end=-2.0), "'temperature_end' is -2.0"),
        (lambda v: v["lesson"].update(distill=0.0, temperature_end=2.0), "of a teacher with the weight 0"),
        (lambda v: v["lesson"].update(temperature_end="2"), "'temperature_end'"),
        (lambda v: v["record"].pop(), "entries"),
    ],
)
@both
def test_hostile_facts_are_refused(tmp_path, made, change, said):
    path = tmp_path / "s.qtrain"
    path.write_bytes(made(file_of(), change))
    with pytest.raises(Refused, match=said) as caught:
        describe_student(read_container(path))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v.update(run="xyz"), "its run is 'xyz'"),
        (lambda v: v.update(check="0" * 17), "its check is none"),
        (lambda v: v.update(method="student"), "honest writer"),
        (lambda v: v.update(digests=["d" * 64]), "malformed"),
        (lambda v: v.update(digests=["d" * 64, "x" * 64]), "hexadecimal"),
        (lambda v: v.update(probes=["1.0"] * 4), "honest writer"),
        (lambda v: v.update(probes=7), "malformed"),
        (lambda v: v.update(plan={}), "honest writer"),
    ],
)
def test_hostile_metadata_of_the_former_format_are_refused(tmp_path, change, said):
    path = tmp_path / "s.qtrain"
    path.write_bytes(of_format_1(file_of(), change))
    with pytest.raises(Refused, match=said):
        describe_student(read_container(path))


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"more": torch.zeros(1)},
        {"head.bias": torch.zeros(4, dtype=torch.float16)},
        {"head.bias": torch.zeros(4, 1)},
    ],
)
def test_other_tensors_than_the_students_are_refused(tmp_path, tensors):
    file, path = file_of(), tmp_path / "s.qtrain"
    state = dict(list(file.state.items())[:-1]) if not tensors else file.state | tensors
    path.write_bytes(of_format_1(file, tensors={name: one.contiguous() for name, one in state.items()}))
    with pytest.raises(Refused, match=r"its stored tensors .* do not match its student"):
        read_student(path)


def test_tensors_of_another_digest_are_refused(tmp_path):
    file, path = file_of(), tmp_path / "s.qtrain"
    data = bytearray(student_bytes(file))
    data[-1] ^= 1
    path.write_bytes(sealed(bytes(data)))
    with pytest.raises(Refused, match="its tensors do not match its digest"):
        describe_student(read_container(path))


@pytest.mark.parametrize("more", [-4, -1, 1, 4])
def test_tensors_of_another_size_are_refused(tmp_path, more):
    data, path = student_bytes(file_of()), tmp_path / "s.qtrain"
    tensor = data[8 + int.from_bytes(data[:8], "little") :]
    path.write_bytes(file_of_tensor(tensor[:more] if more < 0 else tensor + bytes(more)))
    with pytest.raises(Refused, match="its numbers take"):
        describe_student(read_container(path))


@both
@pytest.mark.parametrize("front", ("linear", "conv"))
@pytest.mark.parametrize("inputs", ([1, 1, 2**20], [1, 2**20, 16], [1, 2**12, 2**12]))
def test_a_small_file_of_a_huge_input_costs_no_time(tmp_path, front, inputs, made):
    path = tmp_path / "s.qtrain"
    text = student_text(parse_student(f"hybrid:qubits=3,reps=1,params=10000000,front={front}"))
    path.write_bytes(made(file_of(), lambda v: v.update(student=text, inputs=inputs)))
    taken = []
    for _ in range(3):  # the least of them, as garbage may be looked for in one
        started = time.process_time()
        with pytest.raises(Refused):
            describe_student(read_container(path))
        taken.append(time.process_time() - started)
    assert min(taken) < 0.1


@both
def test_every_flipped_byte_is_noticed(tmp_path, made):
    data, path = bytearray(made(file_of())), tmp_path / "s.qtrain"
    for place in range(0, len(data), 97):
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises((Refused, BadInput)):
            read_student(path)
        data[place] ^= 1


@both
@pytest.mark.parametrize("cut", (0, 7, 100, -1))
def test_a_truncated_file_is_refused(tmp_path, cut, made):
    path = tmp_path / "s.qtrain"
    path.write_bytes(made(file_of())[:cut])
    with pytest.raises(Refused, match="damaged or hostile"):
        read_student(path)


@both
def test_a_tensor_that_is_not_finite_is_refused(tmp_path, made):
    file, path = file_of(), tmp_path / "s.qtrain"
    file.state["circuit.theta"][0, 0, 0, 0] = float("nan")
    path.write_bytes(made(file))
    with pytest.raises(
        Refused, match=re.escape("its tensor 'circuit.theta' holds a number that is not finite")
    ):
        read_student(path)


def test_another_version_is_not_read(tmp_path):
    path = tmp_path / "s.qtrain"
    path.write_bytes(of_format_1(file_of(), lambda v: v.update(format="qtrain.student/2")))
    with pytest.raises(BadInput, match=re.escape("has the format 'qtrain.student/2'")):
        read_student(path)


def test_another_method_is_no_student(tmp_path):
    path = tmp_path / "s.qtrain"
    path.write_bytes(of_format_5(file_of(), lambda v: v.update(method="students")))
    with pytest.raises(BadInput, match="is a compressed model's artifact, not a student's"):
        read_student(path)
    with pytest.raises(BadInput, match="is no student's file"):
        describe_student(read_container(path))


def test_a_compressed_models_artifact_is_no_student(artifact):
    with pytest.raises(BadInput, match="is a compressed model's artifact, not a student's"):
        read_student(artifact)


def test_tied_tensors_count_once():
    one = torch.zeros(1000)
    assert float32_bytes({"a": one, "b": one}) < float32_bytes({"a": one, "b": one.clone()}) - 3000
