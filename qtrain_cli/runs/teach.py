"""One run of `qtrain train` or `qtrain distill`: student and data in, file and record out.

    student text + data -> sizes -> teacher's outputs and features -> teach, generation after generation
                        -> measure -> write

The test split is used once, at the end, for the student that is written. A file that this very run has
written before is given back as it is.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from functools import partial

import torch
from torch import Tensor

from qtrain_cli.artifact.container import read_container
from qtrain_cli.artifact.payload import MAX_OUTPUTS
from qtrain_cli.artifact.student import (
    StudentDescription,
    describe_student,
    is_student,
    read_student_record,
)
from qtrain_cli.artifact.student_file import StudentFile, write_student
from qtrain_cli.data import Dataset, load_data
from qtrain_cli.data.inputs import numbers_in_row, single
from qtrain_cli.errors import BadInput, Interrupted, UsageError
from qtrain_cli.models.call import predict
from qtrain_cli.models.outputs import noting_choice, recorded
from qtrain_cli.models.peft_folder import with_tokenizer
from qtrain_cli.quantum.machine import recorded_machine
from qtrain_cli.results import NO_TEACHER, NOTHING_SHA256, Lesson, Measured, StudentRecord
from qtrain_cli.results.history import finite
from qtrain_cli.results.versions import recorded_versions
from qtrain_cli.runs.examination import examine, examine_nobody
from qtrain_cli.runs.generations import Learned, Teaching, learn, student_of
from qtrain_cli.runs.history import check_history, history_places, kept_history
from qtrain_cli.runs.identity import (
    Identity,
    data_identity,
    made_elsewhere,
    model_identity,
    run_identity,
)
from qtrain_cli.runs.making import Log, check_temperature, fit_for
from qtrain_cli.runs.outputs import REPLACE, alone_at, check_run_files, input_files, read_in_the_way
from qtrain_cli.runs.teachers import Teacher, load_teacher
from qtrain_cli.settings import SHARPENED, TeachSettings
from qtrain_cli.students.layout import Execution
from qtrain_cli.students.networks import build, is_light
from qtrain_cli.students.noise import MAX_NOISY_QUBITS
from qtrain_cli.students.reduction import averaged
from qtrain_cli.students.spec import QnnSpec, Student, parse_student, student_text
from qtrain_cli.tasks import TASKS
from qtrain_cli.tasks.recognition import same
from qtrain_cli.training.descent import seed_generators
from qtrain_cli.training.devices import moved_to, resolve_device, share_out, usual_threads
from qtrain_cli.training.loop import Show
from qtrain_cli.training.measure import answered, figures_of
from qtrain_cli.training.ranks import present
from qtrain_cli.training.recovery import (
    checkpoints,
    drop_own,
    drop_strangers,
)


def run_cell(cell: TeachSettings, show: Show, log: Log) -> StudentRecord:
    """`teach` as a part of a comparison, which goes on where it was when it is run again.

    With `force`, what belongs to another run is replaced; what belongs to this one is kept.
    """
    try:
        return teach(cell, show, log)
    except Interrupted as stopped:
        raise Interrupted(stopped.message, "run the same command again: what is finished is kept") from None


@usual_threads()
def teach(settings: TeachSettings, show: Show, log: Log) -> StudentRecord:
    """Teaches one student.

    Args:
        settings: student, data, teacher, fit, output.
        show: called after every training step.
        log: called with a line for each stage.

    Raises:
        UsageError, BadInput, Refused: before training, for what cannot be done.
        RunFailed: another run has this output.
        RunFailed, Interrupted: in training; the last state is kept beside the output.
    """
    with alone_at(settings.out):
        return _taught(settings, show, log)


def _taught(settings: TeachSettings, show: Show, log: Log) -> StudentRecord:
    started = time.monotonic()
    present().led(partial(check_student_files, settings))
    job = prepared_teaching(settings, log)
    done = present().led(partial(_left, job, log))
    if done:
        return done
    with kept_history(history_places(settings.log, settings.out), job.run, show) as shown:
        learned = learn(job, shown, log)
    return present().led(partial(_measured_and_written, job, learned, started, log))


def _left(job: Teaching, log: Log) -> StudentRecord | None:
    """The record of a run that was finished before; else nothing is in the way of this one."""
    settings, done = job.settings, _finished(job)
    if done:
        drop_own(settings.out, job.identity, job.generations)
        log(f"'{settings.out}' is finished already{made_elsewhere(done.measured.versions)}; nothing to do")
    elif settings.resume and settings.force:
        drop_strangers(settings.out, job.identity, job.generations)
    return done


def _measured_and_written(job: Teaching, learned: Learned, started: float, log: Log) -> StudentRecord:
    settings = job.settings
    log("measuring the student")
    described = _described(job, learned)
    write_student(settings.out, described, force=settings.force)
    scores = described.description.measured.scores
    if scores.trivial is not None:
        log(scores.beside_trivial)
    for path in checkpoints(settings.out):
        path.unlink()
    seconds = time.monotonic() - started
    record = read_student_record(settings.out)
    measured = replace(record.measured, scores=replace(record.scores, trivial=scores.trivial))
    return replace(record, measured=measured, seconds=seconds, training_seconds=learned.seconds)


def check_student_files(settings: TeachSettings) -> None:
    """Raises `UsageError`, `BadInput` for an output, a state or a history in the way."""
    inputs, go_on = input_files(settings.teacher, settings.data), settings.resume or settings.force
    check_run_files(settings.out, go_on, inputs, checkpoints(settings.out))
    check_history(history_places(settings.log, settings.out), go_on, inputs)


def prepared_teaching(settings: TeachSettings, log: Log) -> Teaching:
    """All that comes before training. Raises as `teach` does there."""
    spec = parse_student(settings.student)
    device = resolve_device(settings.fit.device)
    seed_generators(settings.fit.seed)  # a teacher may draw in evaluation too
    told = settings.teacher and with_tokenizer(settings.teacher)
    data = load_data(settings.data, settings.fit.seed, told)
    if data.row.places:
        raise BadInput(
            f"a student gives one row of numbers for an input, and a {data.task} has many places",
            "compress such a model: qtrain compress MODEL",
        )
    teacher = None
    if settings.teacher:
        teacher = load_teacher(settings.teacher, data.normalisation, device)
        for line in teacher.said:
            log(line)
        with usual_threads():  # it depends on the student too how many there are from then on
            share_out(teacher.parameters, numbers_in_row(data.train.inputs), device)
            teacher, data = _examined(teacher, data, settings.teacher_any, log)
    else:
        data = examine_nobody(data)
    outputs = TASKS[data.task].outputs(data.train.targets[:1], data.classes)
    if teacher:
        outputs = teacher.outputs(data.train.inputs[:2])[0].numel()
    if isinstance(spec, QnnSpec) and spec.readout == "probabilities" and data.classes is None:
        raise BadInput(f"a {data.task} has no classes to read probabilities of", "use readout=z")
    student = Student(spec, tuple(single(data.train.inputs).shape[1:]), outputs)
    module = build(student, settings.fit.seed)
    fit = fit_for(replace(settings.fit, device=str(device)), module.to(device), data, log)
    settings = replace(settings, fit=fit)
    if is_light(module):
        share_out(teacher.parameters if teacher else 0, math.prod(student.inputs), device)
    _check_student(student, settings, data)
    log(_said(student, teacher))
    log(f"data: {data.rows_in_words}")
    return Teaching(settings, student, data, teacher, _identity(settings, student, data, teacher))


def _examined(teacher: Teacher, data: Dataset, teacher_any: bool, log: Log) -> tuple[Teacher, Dataset]:
    """The teacher as one that gives scores, as its student does, and the data for them."""
    own = teacher.prepare is not data.normalisation  # a student's file says how its inputs are prepared
    ask = (lambda inputs, _: teacher.asked(inputs, teacher.prepare)) if own else teacher.asked
    with noting_choice(teacher.module, log) as noted:
        found = examine(ask, data, False, teacher_any, log)
    row = TASKS[found.reading.task]
    taught = replace(teacher, scores_of=row.scores_of, output=recorded(teacher.output, noted))
    return taught, found.of(data).read_as(replace(found.reading, task=row.plain or row.name, targets=same))


def _check_student(student: Student, settings: TeachSettings, data: Dataset) -> None:
    """What only student, settings and data together can show. Raises `BadInput`, `UsageError`."""
    student.shapes  # noqa: B018  refuses a front without room
    circuit, spec = settings.circuit, student.spec
    check_temperature(settings.fit, data)
    if settings.sharpened and not data.row.scaled:
        raise UsageError(
            f"labels of a {data.task} cannot be sharpened", f"leave {SHARPENED} out of --methods"
        )
    test_shots, test_noise = circuit.measured_with
    noisy = circuit.noise or test_noise
    if noisy and student.circuit_parameters and student.qubits > MAX_NOISY_QUBITS:
        raise BadInput(
            f"noise needs 4**n numbers a sample, and the student has {student.qubits} qubits;"
            f" allowed: {MAX_NOISY_QUBITS}",
            "use fewer qubits, or no noise",
        )
    if spec.kind == "classical" and (noisy or circuit.shots or test_shots or circuit.gradient != "adjoint"):
        raise UsageError(
            "a classical student has no circuit for --gradient, --shots, --noise, --test-shots, --test-noise",
            "leave them out, or teach a hybrid",
        )
    if isinstance(spec, QnnSpec) and spec.encoding_name == "amplitude":
        _check_amplitudes(student, data)


def _check_amplitudes(student: Student, data: Dataset) -> None:
    """Raises `BadInput` for a row of any split that has no direction."""
    for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        for first in range(0, len(split), 1000):
            given = single(data.normalisation(split.inputs[first : first + 1000]))
            rows = averaged(given, student.cells)
            zero = (rows == 0).all(1)
            if bool(zero.any()):
                row = first + int(zero.int().argmax())
                raise BadInput(
                    f"row {row} of the {name} rows cannot be amplitude-encoded: it is all zeros",
                    "drop such rows, shift the data with --mean and --std, or use encoding=angle",
                )


def _said(student: Student, teacher: Teacher | None) -> str:
    text = f"{student_text(student.spec)}: {student.parameters:,} trained numbers"
    if student.circuit_parameters:
        text += f", {student.circuit_parameters:,} of them angles of {student.qubits} qubits"
    if isinstance(student.spec, QnnSpec):
        cells = " x ".join(map(str, student.cells))
        text += f"; inputs averaged over {cells} cells into {student.slots} slots"
    if teacher and student.parameters > teacher.parameters:
        text += f"; larger than its teacher of {teacher.parameters:,}"
    return text


def _identity(settings: TeachSettings, student: Student, data: Dataset, teacher: Teacher | None) -> Identity:
    """Everything that the result depends on."""
    own = {
        "student": student_text(student.spec),
        "inputs": list(student.inputs),
        "outputs": student.outputs,
        "align": asdict(settings.align) if settings.align else {},
        "circuit": asdict(settings.circuit),
        "self": asdict(settings.itself) if settings.itself else {},
        **({SHARPENED: True} if settings.sharpened else {}),
    }
    model = model_identity(settings.teacher, teacher.sha256 if teacher else "")
    return run_identity(model, data_identity(settings.data, data), settings.fit, own)


def _finished(job: Teaching) -> StudentRecord | None:
    """The record of an output that this very run has written before."""
    settings, out = job.settings, job.settings.out
    if not (settings.resume and out.exists()):
        return None
    with read_in_the_way(settings.force):
        container = read_container(out)
        if is_student(container) and describe_student(container).run == job.run:
            return read_student_record(out)
    if settings.force:
        return None
    raise UsageError(f"'{out}' is the result of another run", REPLACE)


def _described(job: Teaching, learned: Learned) -> StudentFile:
    """The finished file: measured as its circuit is to be run, and its probes as simulated exactly."""
    student = job.student
    normalisation = job.data.normalisation
    description = StudentDescription(
        student=student,
        mean=normalisation.mean,
        std=normalisation.std,
        probes=probes(student, learned.state),
        teacher=(job.teacher.parameters, job.teacher.model_bytes) if job.teacher else None,
        lesson=_lesson(job, learned),
        measured=_measured(job, learned.state),
        run=job.run,
    )
    return StudentFile(description, {name: learned.state[name] for name in student.shapes})


def probes(student: Student, state: dict[str, Tensor]) -> tuple[float, ...]:
    """The first outputs for the input that FORMAT.md names, simulated exactly on the CPU."""
    count = math.prod(student.inputs)
    ramp = ((torch.arange(count) % 17 + 1) / 17).view(1, *student.inputs)
    module = build(student, seed=0)
    outputs = predict(module, {name: tensor.cpu() for name, tensor in state.items()}, ramp, lambda x: x)
    return tuple(outputs.flatten()[:MAX_OUTPUTS].tolist())


def _lesson(job: Teaching, learned: Learned) -> Lesson:
    settings = job.settings
    fit, align, how = settings.fit, settings.align, settings.circuit
    test_shots, test_noise = how.measured_with
    plain = SHARPENED if settings.sharpened else "labels"
    method = settings.itself.method if settings.itself else ("distilled" if job.teacher else plain)
    return Lesson(
        method=method,
        distill=fit.distill if method != "labels" else 0.0,
        temperature=fit.temperature,
        temperature_end=fit.temperature_end if fit.distill and method != "labels" else None,
        align=align.layer if align else None,
        align_loss=align.loss if align else None,
        align_weight=align.weight if align else None,
        generation=job.generations,
        gradient=how.gradient,
        shots=how.shots,
        noise=how.noise,
        test_shots=test_shots,
        test_noise=test_noise,
        evaluations=learned.evaluations,
        history=tuple((finite(loss), finite(figure)) for loss, figure in learned.history),
    )


def _measured(job: Teaching, state: dict[str, Tensor]) -> Measured:
    settings, data, teacher = job.settings, job.data, job.teacher
    how, module = settings.circuit, student_of(job, job.generations)
    if module.circuit is not None:
        module.circuit.execution = Execution(how.gradient, *how.measured_with)
    seed_generators(settings.fit.seed)  # the shots of the measurement, or a teacher's draws
    objective = data.objective(0.0, settings.fit.temperature)
    taught = answered(teacher.outputs, data) if teacher else None
    figures = figures_of(module, moved_to(state, job.device), taught, data, objective)
    return Measured(
        model=teacher.name if teacher else "",
        scores=figures.scores,
        train_loss=figures.train_loss,
        test_loss=figures.test_loss,
        epochs=settings.fit.epochs,
        seed=settings.fit.seed,
        device=settings.fit.device,
        versions=recorded_versions() | recorded_machine(settings.fit.processes),
        data_sha256=data.sha256,
        model_sha256=teacher.sha256 if teacher else NOTHING_SHA256,
        trust=teacher.trust if teacher else NO_TEACHER,
        weights_entry=teacher.entry if teacher else None,
        output=teacher.output if teacher else None,
        skipped_rows=data.skipped_rows,
        precision=settings.fit.precision,
    )
