"""`qtrain train` and `qtrain distill`: what they write and refuse, and interruptions that change nothing."""

import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from artifacts import artifact_of, spec_of

import qtrain_cli
from qtrain_cli.artifact.numbers import write_artifact
from qtrain_cli.artifact.student_file import read_student
from qtrain_cli.commands import distill, inspect, train, verify
from qtrain_cli.errors import BadInput, Interrupted, Refused, UsageError
from qtrain_cli.runs import generations, identity, teachers
from qtrain_cli.runs import teach as teaching
from qtrain_cli.settings import (
    AlignSettings,
    CircuitSettings,
    DataSettings,
    FitSettings,
    ModelSettings,
    SelfSettings,
    TeachSettings,
    VerifySettings,
)
from qtrain_cli.training import loop, recovery

QNN, HYBRID = "qnn:qubits=2,layers=2", "hybrid:qubits=2,reps=1,params=300"


def quiet(_):
    """Shows and logs nothing."""


@pytest.fixture
def make(digits, few_digits, tmp_path):
    """``make(**changes)``: settings of a run of six steps."""

    def settings(student=QNN, epochs=2, seed=0, distill=0.5, teacher=None, **changes) -> TeachSettings:
        given = {
            "data": DataSettings(str(few_digits)),
            "fit": FitSettings(distill, 4.0, epochs, 128, 0.02, seed, "cpu"),
            "out": tmp_path / "student.qtrain",
            "teacher": ModelSettings(digits / "digits_cnn_module.pt") if teacher is None else teacher or None,
            **changes,
        }
        return TeachSettings(student=student, **given)

    return settings


@pytest.fixture
def labels(make):
    """``labels(**changes)``: settings without a teacher."""
    return lambda **changes: make(teacher=False, **changes)


def test_train_writes_a_student_that_verifies(labels, tmp_path):
    record = train.run(labels(), quiet, quiet)
    document = record.to_json()
    assert (document["model"], document["trust"], document["model_sha256"]) == (None, None, None)
    assert (document["method"], document["distill"], len(document["history"])) == ("labels", 0.0, 2)
    assert document["evaluations"] == 2 * 3 * 128
    assert verify.run(VerifySettings(tmp_path / "student.qtrain")).agreement == "exact"
    assert [path.name for path in tmp_path.iterdir()] == ["student.qtrain"]


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(labels, tmp_path):
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train.run(labels(seed=seed, out=tmp_path / f"{name}.qtrain"), quiet, quiet)
        found.append((tmp_path / f"{name}.qtrain").read_bytes())
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("student", (HYBRID, f"classical:like={HYBRID}"))
def test_the_bytes_do_not_depend_on_threads(make, tmp_path, monkeypatch, student):
    """Nor does what the examination of the teacher prints: it has one thread too, as light work has."""
    found, threads, usual, asked = [], [], torch.get_num_threads(), teachers.Teacher.asked
    monkeypatch.setattr(
        teachers.Teacher, "asked", lambda *of: threads.append(torch.get_num_threads()) or asked(*of)
    )
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            lines, out = [], tmp_path / f"{count}.qtrain"
            distill.run(make(student, epochs=1, out=out), quiet, lines.append)
            found.append((out.read_bytes(), lines))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(usual)
    assert set(threads) == {1} and found[0] == found[1]


@pytest.mark.parametrize("student", (QNN, HYBRID, f"classical:like={HYBRID}"))
@pytest.mark.parametrize("loss", ("mse", "cosine", "cka"))
def test_distill_with_alignment(make, student, loss):
    said = []
    record = distill.run(make(student, epochs=1, align=AlignSettings("fc", loss)), quiet, said.append)
    assert (record.lesson.method, record.lesson.align, record.lesson.align_loss) == ("distilled", "fc", loss)
    assert record.measured.model == "digits_cnn_module.pt" and record.scores.teacher == pytest.approx(
        0.9944, abs=1e-3
    )
    assert record.parameter_ratio > 1 and record.design.teacher_parameters == 3730


def test_alignment_and_soft_targets_change_what_is_learned(make, tmp_path):
    states = []
    for name, changes in (("a", {}), ("b", {"distill": 0.0}), ("c", {"align": AlignSettings("fc")})):
        distill.run(make(HYBRID, epochs=1, out=tmp_path / f"{name}.qtrain", **changes), quiet, quiet)
        states.append(read_student(tmp_path / f"{name}.qtrain").state["circuit.theta"])
    assert not torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_a_quantum_teacher_and_a_smaller_student(make, labels, tmp_path):
    big = labels(student="qnn:qubits=3,layers=3", out=tmp_path / "big.qtrain")
    train.run(big, quiet, quiet)
    record = distill.run(make(teacher=ModelSettings(big.out), teacher_any=True), quiet, quiet)
    assert record.measured.trust == "student" and record.measured.model == "big.qtrain"
    assert record.design.teacher_parameters > record.design.parameters


def test_born_again_and_running_average(labels, tmp_path):
    plain = train.run(labels(), quiet, quiet)
    again = labels(out=tmp_path / "b.qtrain", itself=SelfSettings("born-again", generations=2))
    record = distill.run(again, quiet, quiet)
    assert (record.lesson.method, record.lesson.generation) == ("born-again", 2)
    rows = int(plain.lesson.evaluations / (2 * 3 * 128) * 387)  # each of which two generations teach
    assert record.lesson.evaluations == 3 * plain.lesson.evaluations + 2 * rows
    average = labels(out=tmp_path / "c.qtrain", itself=SelfSettings("running-average"))
    mean = distill.run(average, quiet, quiet)
    assert mean.lesson.method == "running-average"
    assert len({one.artifact_sha256 for one in (plain, record, mean)}) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.qtrain", "c.qtrain", "student.qtrain"]


def test_every_generation_is_aligned_with_the_teacher_from_outside(make, monkeypatch):
    seen, learn = [], generations.train

    def recorded(trainee, *others):
        seen.append(trainee.alignment)
        return learn(trainee, *others)

    monkeypatch.setattr(generations, "train", recorded)
    changes = {"align": AlignSettings("fc"), "itself": SelfSettings("born-again")}
    record = distill.run(make(HYBRID, epochs=1, **changes), quiet, quiet)
    assert record.lesson.align == "fc" and len(seen) == 2 and None not in seen


@pytest.mark.parametrize(
    ("itself", "steps"),
    [
        (None, 2),
        (None, 5),
        (SelfSettings("born-again"), 5),
        (SelfSettings("born-again"), 8),  # in the second generation
        (SelfSettings("running-average"), 5),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_bytes(labels, tmp_path, monkeypatch, itself, steps):
    verb, out, seen = distill if itself else train, tmp_path / "again.qtrain", []
    verb.run(labels(itself=itself), quiet, quiet)

    def stop(progress):
        seen.append(progress)
        if len(seen) == steps:
            raise KeyboardInterrupt

    monkeypatch.setattr(recovery.Clock, "due", lambda clock: True)
    with pytest.raises(KeyboardInterrupt):
        verb.run(labels(itself=itself, out=out), stop, quiet)
    with pytest.raises(UsageError, match="holds the state of an interrupted run"):
        verb.run(labels(itself=itself, out=out), quiet, quiet)
    verb.run(labels(itself=itself, out=out, resume=True), quiet, quiet)
    assert out.read_bytes() == (tmp_path / "student.qtrain").read_bytes()


def test_a_finished_run_is_given_back_and_a_strangers_kept(labels, tmp_path):
    first = train.run(labels(), quiet, quiet)
    said = []
    again = train.run(labels(resume=True), quiet, said.append)
    assert again.artifact_sha256 == first.artifact_sha256 and "finished already" in said[-1]
    with pytest.raises(UsageError, match="is the result of another run"):
        train.run(labels(resume=True, seed=5), quiet, quiet)
    with pytest.raises(UsageError, match="exists"):
        train.run(labels(), quiet, quiet)


def test_a_damaged_file_in_the_way_is_replaced_with_force_and_kept_without(labels, tmp_path):
    out = tmp_path / "student.qtrain"
    out.write_bytes(b"damaged")
    with pytest.raises(Refused, match="damaged or hostile") as caught:
        train.run(labels(resume=True), quiet, quiet)
    assert "--force" in caught.value.advice
    assert out.read_bytes() == b"damaged"
    made = train.run(labels(resume=True, force=True), quiet, quiet)
    assert made.artifact_sha256 == hashlib.sha256(out.read_bytes()).hexdigest()


def test_a_temperature_cannot_move_where_the_loss_has_none(make, tmp_path):
    rows = {f"x_{split}": np.ones((40, 4), "f4") for split in ("train", "test")}
    values = {f"y_{split}": np.linspace(0, 1, 40, dtype="f4") for split in ("train", "test")}
    np.savez(tmp_path / "n.npz", **rows, **values)
    settings = make(teacher=False, data=DataSettings(str(tmp_path / "n.npz")))
    moving = replace(settings, fit=replace(settings.fit, temperature_end=0.5))
    with pytest.raises(UsageError, match="does nothing for the task regression, whose loss has no"):
        train.run(moving, quiet, quiet)


def test_a_student_in_python_scores_what_its_record_says(labels, digits):
    """Inputs as they lie in the data: 8-bit images; the student's own normalisation is applied."""
    settings = labels(data=DataSettings(str(digits / "digits.npz"), (0.5,), (0.25,)), student=HYBRID)
    record = train.run(settings, quiet, quiet)
    student, data = qtrain_cli.load_student(settings.out), np.load(digits / "digits.npz")
    assert student.record == {**record.to_json(), "seconds": None}
    scores = student(torch.from_numpy(data["x_test"]))
    right = (scores.argmax(1).numpy() == data["y_test"]).mean()
    assert right == pytest.approx(record.measured.scores.test, abs=1e-6) and not scores.requires_grad
    assert not student.module.training


def test_an_artifact_is_no_student(tmp_path):
    write_artifact(tmp_path / "net.qtrain", artifact_of(spec_of()))
    with pytest.raises(BadInput, match="is a compressed model's artifact, not a student's"):
        qtrain_cli.load_student(tmp_path / "net.qtrain")


def test_a_student_is_no_artifact_with_generated_weights(labels):
    settings = labels(epochs=1)
    train.run(settings, quiet, quiet)
    with pytest.raises(BadInput, match="is a student, which has no generated weights") as caught:
        qtrain_cli.load(settings.out)
    assert "`qtrain report`" in caught.value.advice


def test_a_student_larger_than_its_teacher_is_allowed_and_said(make, labels, tmp_path):
    small, said = labels(epochs=1, out=tmp_path / "small.qtrain"), []
    train.run(small, quiet, quiet)
    taught = make(HYBRID, epochs=1, teacher=ModelSettings(small.out), teacher_any=True)
    record = distill.run(taught, quiet, said.append)
    assert any("larger than its teacher of 42" in line for line in said)
    assert record.parameter_ratio < 1


def test_what_the_students_input_becomes_is_said(labels):
    said = []
    train.run(labels(epochs=1), quiet, said.append)
    assert "inputs averaged over 2 x 2 cells into 4 slots" in said[0]


@pytest.fixture
def data(tmp_path):
    """``data(**arrays)``: a small .npz of 40 images 8 x 8, four classes, some arrays replaced."""

    def write(**changes) -> DataSettings:
        generator = np.random.default_rng(0)
        x = generator.integers(1, 255, (40, 1, 8, 8), dtype=np.uint8)
        y = np.arange(40) % 4
        arrays = {"x_train": x, "y_train": y, "x_test": x, "y_test": y, **changes}
        np.savez(tmp_path / "data.npz", **arrays)
        return DataSettings(str(tmp_path / "data.npz"))

    return write


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"align": AlignSettings("conv3")}, UsageError, "the teacher has no layer 'conv3'"),
        ({"student": "qnn:qubits=13"}, UsageError, "the student's qubits is 13; allowed: 1 to 12"),
        (
            {"circuit": CircuitSettings(noise=0.1), "student": "qnn:qubits=8"},
            BadInput,
            "the student has 8 qubits",
        ),
        (
            {"circuit": CircuitSettings("spsa"), "student": f"classical:like={HYBRID}"},
            UsageError,
            "a classical student has no circuit",
        ),
    ],
)
def test_what_cannot_be_taught_is_refused(make, changes, kind, said):
    with pytest.raises(kind, match=re.escape(said)):
        distill.run(make(**changes), quiet, quiet)


def test_a_teacher_of_other_classes_is_refused(make, data):
    x = np.full((40, 1, 8, 8), 3, np.uint8)
    y = np.arange(40) % 12
    with pytest.raises(
        BadInput, match=re.escape("the model's outputs have the shape [10]; the data has 12 classes")
    ):
        distill.run(make(data=data(x_train=x, y_train=y, x_test=x, y_test=y)), quiet, quiet)


def test_more_qubits_than_features_are_refused(labels, data):
    x = np.random.default_rng(0).random((40, 3))
    with pytest.raises(BadInput, match="the student has 5 qubits and an input 3 features"):
        train.run(labels(student="qnn:qubits=5", data=data(x_train=x, x_test=x)), quiet, quiet)


@pytest.mark.parametrize("split", ("train", "test"))
def test_a_row_that_has_no_amplitudes_is_named(labels, data, split):
    x = np.full((40, 1, 8, 8), 7, np.uint8)
    x[11] = 0
    settings = labels(student="qnn:qubits=3,encoding=amplitude", data=data(**{f"x_{split}": x}))
    with pytest.raises(
        BadInput, match=r"row \d+ of the \w+ rows cannot be amplitude-encoded: it is all zeros"
    ):
        train.run(settings, quiet, quiet)


def test_a_regression_has_no_class_probabilities(labels, data):
    y = np.random.default_rng(0).random(40)
    given = data(y_train=y, y_test=y)
    with pytest.raises(BadInput, match="a regression has no classes to read probabilities of"):
        train.run(labels(student="qnn:qubits=3,readout=probabilities", data=given), quiet, quiet)
    record = train.run(labels(student="qnn:qubits=3", data=given), quiet, quiet)
    assert record.scores.task == "regression" and "test_error" in record.to_json()


def test_nobody_to_learn_from_and_a_teacher_where_none_belongs(make, labels):
    with pytest.raises(UsageError, match="there is nobody to learn from"):
        distill.run(labels(), quiet, quiet)
    with pytest.raises(UsageError, match="train learns from labels alone"):
        train.run(make(), quiet, quiet)


def test_a_compressed_models_artifact_is_no_teacher(make, artifact):
    with pytest.raises(BadInput, match="is a compressed model's artifact, which is no teacher") as caught:
        distill.run(make(teacher=ModelSettings(artifact)), quiet, quiet)
    assert ".pt2" in caught.value.advice


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: CircuitSettings("sps"), "--gradient is 'sps'"),
        (lambda: CircuitSettings(shots=100), "--shots needs a gradient that shots can give"),
        (lambda: CircuitSettings(noise=0.8), "--noise is 0.8; allowed: 0 to 0.75"),
        (lambda: AlignSettings("fc", "l2"), "--align-loss is 'l2'"),
        (lambda: AlignSettings("fc", weight=0.0), "--align-weight is 0.0; allowed: above 0"),
        (lambda: AlignSettings(""), "--align names no layer"),
        (lambda: SelfSettings("again"), "--self is 'again'"),
        (lambda: SelfSettings("born-again", 0), "--generations is 0; allowed: 1 to 100"),
        (lambda: SelfSettings("running-average", decay=1.0), "--decay is 1.0; allowed: between 0 and 1"),
    ],
)
def test_settings_refuse_what_they_do_not_know(build, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        build()


def test_shots_and_noise_in_training_and_in_testing(labels, tmp_path):
    figures = {}
    for name, circuit in {
        "exact": CircuitSettings(),
        "shots": CircuitSettings("spsa", shots=50),
        "noise": CircuitSettings(noise=0.1),
        "test": CircuitSettings(test_shots=10, test_noise=0.3),
    }.items():
        record = train.run(labels(epochs=1, circuit=circuit, out=tmp_path / f"{name}.qtrain"), quiet, quiet)
        figures[name] = record.artifact_sha256
        said = {name: record.to_json()[name] for name in ("shots", "noise", "test_shots", "test_noise")}
        assert tuple(said.values()) == (circuit.shots, circuit.noise, *circuit.measured_with)
    assert said == {"shots": 0, "noise": 0.0, "test_shots": 10, "test_noise": 0.3}
    states = {name: read_student(tmp_path / f"{name}.qtrain").state["circuit.theta"] for name in figures}
    assert torch.equal(states["exact"], states["test"])  # taught alike, tested otherwise
    assert not torch.equal(states["exact"], states["shots"]) and not torch.equal(
        states["exact"], states["noise"]
    )


@pytest.mark.parametrize("words", [("--test-shots", 10), ("--test-noise", 0.1)])
def test_a_classical_student_is_measured_without_shots_and_noise(cli, digits, words):
    ran = cli("train", f"classical:like={HYBRID}", "--data", digits / "digits.npz", *words, "-q")
    assert ran.code == 2 and "a classical student has no circuit for" in ran.err


def test_the_report_says_how_a_student_was_measured(cli, digits, tmp_path):
    words = ("train", QNN, "--data", digits / "digits.npz", "--epochs", 1, "-o", tmp_path / "s.qtrain", "-q")
    shown = cli(*words, "--gradient", "spsa", "--shots", 20, "--test-shots", 1000, "--test-noise", 0.1).out
    assert "spsa, 20 shots, noise 0" in shown and "1,000 shots, noise 0.1" in shown
    assert f"{10 * 128 * 3 * 20:,}" in shown


def test_inspect_and_verify_know_a_student(labels, tmp_path):
    train.run(labels(), quiet, quiet)
    path = tmp_path / "student.qtrain"
    found = inspect.run(path)
    assert found["format"] == "qtrain student" and found["inference"].startswith("a circuit of 2 qubits")
    file = read_student(path)
    file.state["head.bias"] += 0.1
    from qtrain_cli.artifact.student_file import write_student

    write_student(path, file, force=True)
    with pytest.raises(Refused, match=r"the student's outputs differ by 0[.]1 from those that the file says"):
        verify.run(VerifySettings(path))


def test_a_diverged_run_says_so_and_keeps_its_state(labels, tmp_path):
    from qtrain_cli.errors import RunFailed

    settings = labels(fit=FitSettings(0.0, 4.0, 3, 128, 1e30, 0, "cpu"), student=HYBRID)
    with pytest.raises(RunFailed, match="is not finite at step"):
        train.run(settings, quiet, quiet)
    assert recovery.checkpoint_path(settings.out).exists() and not settings.out.exists()


def test_a_stop_request_saves_and_says_resume(labels, monkeypatch):
    import contextlib
    import threading

    asked = threading.Event()
    asked.set()
    monkeypatch.setattr(loop, "stop_requests", lambda patient: contextlib.nullcontext(asked))
    with pytest.raises(Interrupted, match="stopped; the state is in"):
        train.run(labels(), quiet, quiet)


def test_the_state_of_another_way_of_training_is_another_run(labels, monkeypatch):
    import contextlib
    import threading

    asked = threading.Event()
    asked.set()
    with monkeypatch.context() as stopping:
        stopping.setattr(loop, "stop_requests", lambda patient: contextlib.nullcontext(asked))
        with pytest.raises(Interrupted):
            train.run(labels(), quiet, quiet)
    monkeypatch.setattr(identity, "TRAINING", identity.TRAINING + 1)
    with pytest.raises(BadInput, match="belongs to another run: training"):
        train.run(labels(resume=True), quiet, quiet)


def test_the_command_line_from_text_to_exit_code(cli, digits, tmp_path):
    out, data = tmp_path / "s.qtrain", digits / "digits.npz"
    ran = cli("train", QNN, "--data", data, "--epochs", 1, "-o", out, "--json", "-q")
    assert ran.code == 0 and json.loads(ran.out)["schema"] == "qtrain.student/1"
    assert json.loads(cli("report", out, "--json").out) | {"seconds": None} == json.loads(ran.out) | {
        "seconds": None
    }
    assert cli("report", out, "--min-accuracy", 0.99).code == 3
    assert "no teacher" in cli("report", out, "--min-ratio", 2).err
    shown = cli("report", out).out
    assert "labels alone" in shown and "the circuit, simulated or on a device" in shown
    wrong = cli("distill", digits / "digits_cnn_module.pt", "--student", "qnn:qubit=2", "--data", data)
    assert wrong.code == 2 and "did you mean 'qubits'?" in wrong.err
    markdown = tmp_path / "r.md"
    assert cli("report", out, "--markdown", markdown, "--junit", tmp_path / "r.xml").code == 0
    assert "qnn student" in markdown.read_text()


def test_exports_of_a_student(cli, digits, tmp_path):
    out, data = tmp_path / "s.qtrain", digits / "digits.npz"
    assert cli("train", HYBRID, "--data", data, "--epochs", 1, "-o", out, "-q").code == 0
    ran = cli("export", out, "--classical", "-o", tmp_path / "s.safetensors", "--json")
    assert "the tensors alone are no model" in json.loads(ran.out)["note"]
    graph = cli("export", out, "--classical", "-o", tmp_path / "s.pt2")
    assert graph.code == 2 and "a hybrid student has no classical graph" in graph.err
    assert cli("export", out, "--quantum", "-o", tmp_path / "s.qasm").code == 0
    assert "input float[64] x1;" in (tmp_path / "s.qasm").read_text()
    control = tmp_path / "c.qtrain"
    assert (
        cli("train", f"classical:like={HYBRID}", "--data", data, "--epochs", 1, "-o", control, "-q").code == 0
    )
    refused = cli("export", control, "--quantum", "-o", tmp_path / "c.qasm")
    assert refused.code == 2 and "a classical student has no circuit" in refused.err
    assert cli("export", control, "--classical", "-o", tmp_path / "c.pt2").code == 0
    assert (
        "--model has no use for a student"
        in cli("export", out, "--classical", "-o", "x.pt", "--model", control).err
    )


def test_a_state_of_a_later_generation_is_noticed(labels):
    settings = labels(itself=SelfSettings("born-again"))
    recovery.checkpoint_path(settings.out, 3).write_bytes(b"")
    with pytest.raises(UsageError, match="holds the state of an interrupted run"):
        distill.run(settings, quiet, quiet)


def test_another_architecture_is_another_run(make, tmp_path):
    from types import SimpleNamespace

    from qtrain_cli.students.spec import Student, parse_student

    student = Student(parse_student(QNN), (1, 8, 8), 10)
    plain = SimpleNamespace(mean=(), std=())
    asked = SimpleNamespace(said=False)
    digests = SimpleNamespace(sha256="d" * 64, normalisation=plain, asked=asked)
    code = tmp_path / "net.py"

    def identity(text, arch_args):
        code.write_text(text)
        model = ModelSettings(tmp_path / "net.pt", f"{code}:net", arch_args)
        return teaching._identity(make(teacher=model), student, digests, digests)

    first = identity("net = 1", {})
    assert first == identity("net = 1", {})
    assert first != identity("net = 2", {}) and first != identity("net = 1", {"width": 64})
