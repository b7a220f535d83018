"""The commands about students: options -> settings -> one command -> one document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from qtrain_cli.cli import options as o
from qtrain_cli.cli.verbs import app, logger, print_document
from qtrain_cli.errors import UsageError
from qtrain_cli.report import render
from qtrain_cli.settings import DataSettings, FitSettings, ModelSettings, parse_arguments, parse_floats
from qtrain_cli.settings.students import (
    ALIGN_LOSSES,
    GRADIENTS,
    METHODS,
    QNN_LR,
    SELF_METHODS,
    AlignSettings,
    CircuitSettings,
    CompareGradientsSettings,
    CompareStudentsSettings,
    SelfSettings,
    TeachSettings,
    estimators_of,
    parse_whole,
    rate_of,
)

_STUDENT_HELP = "hybrid:qubits=6,reps=2 | classical:like=hybrid:... | qnn:qubits=4,layers=3"
Lr = Annotated[
    float | None,
    typer.Option(
        "--lr", help=f"Peak learning rate of the one-cycle schedule. [{FitSettings.lr}; a qnn {QNN_LR}]"
    ),
]
Gradient = Annotated[str, typer.Option("--gradient", help=" | ".join(GRADIENTS))]
Shots = Annotated[int, typer.Option("--shots", help="Shots of every circuit run in training; 0: exact.")]
Noise = Annotated[
    float,
    typer.Option("--noise", help="Depolarising, once a qubit after each encoding and each layer: 0 to 0.75."),
]
TestShots = Annotated[
    int | None, typer.Option("--test-shots", help="Shots in the measurement at the end. [--shots]")
]
TestNoise = Annotated[
    float | None, typer.Option("--test-noise", help="Noise in the measurement at the end. [--noise]")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from an interrupted run's state.")]
Align = Annotated[str | None, typer.Option("--align", help="Layer of the teacher to align features with.")]
AlignLoss = Annotated[str | None, typer.Option("--align-loss", help=" | ".join(ALIGN_LOSSES) + " [mse]")]
AlignWeight = Annotated[
    float | None, typer.Option("--align-weight", help="Weight of the alignment loss. [0.3]")
]
Generations = Annotated[int | None, typer.Option("--generations", help="Of born-again, after the first. [1]")]
Decay = Annotated[float | None, typer.Option("--decay", help="Of running-average, a step. [0.99]")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The student's file.")]


def data_settings(data: str, mean: str | None, std: str | None, validation: float) -> DataSettings:
    """The options about data as settings."""
    return DataSettings(data, parse_floats(mean, "--mean"), parse_floats(std, "--std"), validation)


def align_settings(layer: str | None, loss: str | None, weight: float | None) -> AlignSettings | None:
    """The options about alignment as settings. Raises `UsageError` where there is nothing to align."""
    if layer is None:
        for option, value in (("--align-loss", loss), ("--align-weight", weight)):
            if value is not None:
                raise UsageError(f"{option} does nothing without a layer to align with", "give --align LAYER")
        return None
    return AlignSettings(
        layer,
        AlignSettings.loss if loss is None else loss,
        AlignSettings.weight if weight is None else weight,
    )


def self_settings(
    methods: Sequence[str], generations: int | None, decay: float | None
) -> SelfSettings | None:
    """The options about teaching oneself, for the methods among these that do. Raises `UsageError`."""
    for option, value, method in (
        ("--generations", generations, "born-again"), ("--decay", decay, "running-average"),
    ):  # fmt: skip
        if value is not None and method not in methods:
            raise UsageError(f"{option} belongs to {method}, which is not asked for", f"leave out {option}")
    own = [method for method in methods if method not in METHODS or METHODS[method][2]]
    if not own:
        return None
    return SelfSettings(
        own[0],
        SelfSettings.generations if generations is None else generations,
        SelfSettings.decay if decay is None else decay,
    )


@app.command()
def train(
    student: Annotated[str, typer.Argument(metavar="STUDENT", help=_STUDENT_HELP)],
    data: o.Data,
    out: Out = Path("student.qtrain"),
    mean: o.Mean = None,
    std: o.Std = None,
    validation: o.Validation = DataSettings.validation,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = FitSettings.batch_size,
    lr: Lr = None,
    seed: o.Seed = FitSettings.seed,
    device: o.Device = FitSettings.device,
    gradient: Gradient = CircuitSettings.gradient,
    shots: Shots = 0,
    noise: Noise = 0.0,
    test_shots: TestShots = None,
    test_noise: TestNoise = None,
    resume: Resume = False,
    force: o.Force = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Train a student on labels alone."""
    settings = TeachSettings(
        student=student,
        data=data_settings(data, mean, std, validation),
        fit=FitSettings(
            0.0, FitSettings.temperature, epochs or 0, batch_size, rate_of(student, lr), seed, device
        ),
        out=out,
        circuit=CircuitSettings(gradient, shots, noise, test_shots, test_noise),
        resume=resume,
        force=force,
    )
    from qtrain_cli.cli.progress import shown_progress
    from qtrain_cli.commands import train as command

    with shown_progress(quiet) as show:
        record = command.run(settings, show, logger(quiet))
    print_document(as_json, record.to_json(), lambda: render.as_terminal(record, ()))


@app.command()
def distill(
    student: Annotated[str, typer.Option("--student", help=_STUDENT_HELP)],
    data: o.Data,
    teacher: Annotated[
        Path | None, typer.Argument(metavar="[TEACHER]", help="A model's file, or a student's .qtrain.")
    ] = None,
    out: Out = Path("student.qtrain"),
    mean: o.Mean = None,
    std: o.Std = None,
    validation: o.Validation = DataSettings.validation,
    arch: o.Arch = None,
    arch_args: o.ArchArgs = None,
    weights: o.Weights = None,
    trust_pickle: o.TrustPickle = False,
    weight: o.Distill = FitSettings.distill,
    temperature: o.Temperature = FitSettings.temperature,
    align: Align = None,
    align_loss: AlignLoss = None,
    align_weight: AlignWeight = None,
    itself: Annotated[str | None, typer.Option("--self", help=" | ".join(SELF_METHODS))] = None,
    generations: Generations = None,
    decay: Decay = None,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = FitSettings.batch_size,
    lr: Lr = None,
    seed: o.Seed = FitSettings.seed,
    device: o.Device = FitSettings.device,
    gradient: Gradient = CircuitSettings.gradient,
    shots: Shots = 0,
    noise: Noise = 0.0,
    test_shots: TestShots = None,
    test_noise: TestNoise = None,
    resume: Resume = False,
    force: o.Force = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Distil a teacher into a student, or a student into itself."""
    arguments = parse_arguments(arch_args)
    source = ModelSettings(teacher, arch, arguments, weights, trust_pickle) if teacher else None
    settings = TeachSettings(
        student=student,
        data=data_settings(data, mean, std, validation),
        fit=FitSettings(weight, temperature, epochs or 0, batch_size, rate_of(student, lr), seed, device),
        out=out,
        teacher=source,
        align=align_settings(align, align_loss, align_weight),
        circuit=CircuitSettings(gradient, shots, noise, test_shots, test_noise),
        itself=self_settings([itself] if itself else [], generations, decay),
        resume=resume,
        force=force,
    )
    from qtrain_cli.cli.progress import shown_progress
    from qtrain_cli.commands import distill as command

    with shown_progress(quiet) as show:
        record = command.run(settings, show, logger(quiet))
    print_document(as_json, record.to_json(), lambda: render.as_terminal(record, ()))


@app.command("compare-students")
def compare_students(
    student: Annotated[list[str], typer.Option("--student", help=_STUDENT_HELP + " Repeatable.")],
    data: o.Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for the students' files.")],
    teacher: Annotated[
        Path | None, typer.Argument(metavar="[TEACHER]", help="A model's file, or a student's .qtrain.")
    ] = None,
    methods: Annotated[str | None, typer.Option("--methods", help="A list of: " + ", ".join(METHODS))] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="How many seeds, from 0.")] = 5,
    control: Annotated[
        bool, typer.Option("--control/--no-control", help="Each hybrid beside its classical control.")
    ] = True,
    mean: o.Mean = None,
    std: o.Std = None,
    validation: o.Validation = DataSettings.validation,
    arch: o.Arch = None,
    arch_args: o.ArchArgs = None,
    weights: o.Weights = None,
    trust_pickle: o.TrustPickle = False,
    weight: o.Distill = FitSettings.distill,
    temperature: o.Temperature = FitSettings.temperature,
    align: Align = None,
    align_loss: AlignLoss = None,
    align_weight: AlignWeight = None,
    generations: Generations = None,
    decay: Decay = None,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = FitSettings.batch_size,
    lr: Lr = None,
    device: o.Device = FitSettings.device,
    force: o.Force = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Train and distil students and their classical controls over seeds, and judge the differences."""
    arguments = parse_arguments(arch_args)
    source = ModelSettings(teacher, arch, arguments, weights, trust_pickle) if teacher else None
    base = TeachSettings(
        student="",
        data=data_settings(data, mean, std, validation),
        fit=FitSettings(
            weight, temperature, epochs or 0, batch_size, FitSettings.lr if lr is None else lr, 0, device
        ),
        out=out,
        teacher=source,
        align=align_settings(align, align_loss, align_weight),
    )
    chosen = methods.split(",") if methods else _methods(teacher is not None, align is not None)
    own = self_settings([method for method in chosen if method in METHODS], generations, decay)
    # The cells take its method from METHODS; a teacher may stand beside this one.
    settings = CompareStudentsSettings(
        base if own is None else replace(base, itself=replace(own, method="born-again")),
        tuple(student), tuple(chosen), seeds, out, control, lr, force,
    )  # fmt: skip
    from qtrain_cli.cli.progress import shown_progress
    from qtrain_cli.commands import compare_students as command

    with shown_progress(quiet) as show:
        table = command.run(settings, show, logger(quiet))
    print_document(as_json, table.to_json(), lambda: render.as_student_table(table.to_json()))


def _methods(taught: bool, aligned: bool) -> list[str]:
    """What can be compared with what was given."""
    if not taught:
        return ["labels", "born-again", "running-average"]
    return ["labels", "distill", *(["align", "distill+align"] if aligned else [])]


@app.command("compare-gradients")
def compare_gradients(
    student: Annotated[str, typer.Argument(metavar="STUDENT", help=_STUDENT_HELP)],
    data: o.Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for the students' files.")],
    gradients: Annotated[
        str, typer.Option("--gradients", help="A list of: " + ", ".join(GRADIENTS))
    ] = ",".join(GRADIENTS),
    shots: Annotated[
        str, typer.Option("--shots", help="A list; 0 is exact. Adjoint runs exactly.")
    ] = "0,100",
    seeds: Annotated[int, typer.Option("--seeds", help="How many seeds, from 0.")] = 5,
    qubits: Annotated[str, typer.Option("--qubits", help="Of random circuits: a list.")] = "2,4,6,8,10",
    layers: Annotated[str, typer.Option("--layers", help="Of random circuits: a list.")] = "1,4,16,64",
    plot: Annotated[Path | None, typer.Option("--plot", help="A picture: .png, .svg or .pdf.")] = None,
    mean: o.Mean = None,
    std: o.Std = None,
    validation: o.Validation = DataSettings.validation,
    noise: Noise = 0.0,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = FitSettings.batch_size,
    lr: Lr = None,
    force: o.Force = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Run the same training under every gradient estimator: loss, circuit runs, seconds, barren plateaus."""
    base = TeachSettings(
        student=student,
        data=data_settings(data, mean, std, validation),
        fit=FitSettings(
            0.0, FitSettings.temperature, epochs or 0, batch_size, rate_of(student, lr), 0, "cpu"
        ),
        out=out,
        circuit=CircuitSettings(noise=noise),
    )
    settings = CompareGradientsSettings(
        base, estimators_of(gradients, parse_whole(shots, "--shots")), seeds, out,
        parse_whole(qubits, "--qubits"), parse_whole(layers, "--layers"), plot, force,
    )  # fmt: skip
    from qtrain_cli.cli.progress import shown_progress
    from qtrain_cli.commands import compare_gradients as command
    from qtrain_cli.report.gradients_figure import gradients_figure

    with shown_progress(quiet) as show:
        table = command.run(settings, gradients_figure, show, logger(quiet))
    print_document(as_json, table.to_json(), lambda: render.as_gradient_table(table.to_json()))
