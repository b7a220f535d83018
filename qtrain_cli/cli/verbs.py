"""The commands: options -> settings -> one command -> one document.

Torch is imported by the commands only, inside these functions.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from qtrain_cli.cli import options as o
from qtrain_cli.errors import UsageError
from qtrain_cli.quantum.noise import NOISES, parse_noises
from qtrain_cli.report import render
from qtrain_cli.results.gates import gate_failure
from qtrain_cli.results.versions import VERSION
from qtrain_cli.settings import (
    BudgetSettings,
    CompressSettings,
    DataSettings,
    ExportSettings,
    FitSettings,
    GateSettings,
    GradientSettings,
    ModelSettings,
    PlanSettings,
    ReportSettings,
    SampleSettings,
    parse_arguments,
    parse_floats,
    parse_shape,
    parse_shots,
    parse_size,
)

app = typer.Typer(
    name="qtrain",
    help="Compress trained PyTorch models into small artifacts that regenerate ordinary weights.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        print(f"qtrain {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def compress(
    model: o.ModelPath,
    data: o.Data,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The artifact. [MODEL's name + .qtrain]")
    ] = None,
    mean: o.Mean = None,
    std: o.Std = None,
    validation: o.Validation = DataSettings.validation,
    arch: o.Arch = None,
    arch_args: o.ArchArgs = None,
    weights: o.Weights = None,
    trust_pickle: o.TrustPickle = False,
    params: o.Params = None,
    ratio: o.Ratio = None,
    bytes_: o.Bytes = None,
    bare: o.Bare = False,
    ansatz: o.AnsatzName = BudgetSettings.ansatz,
    entangler: o.Entangler = BudgetSettings.entangler,
    final_rotation: o.FinalRotation = False,
    layers: o.Layers = None,
    circuits: o.Circuits = None,
    mapping: o.MappingName = BudgetSettings.mapping,
    angle_bits: o.AngleBits = BudgetSettings.angle_bits,
    targets: o.Targets = None,
    ignore: o.Ignore = None,
    distill: o.Distill = FitSettings.distill,
    temperature: o.Temperature = FitSettings.temperature,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = FitSettings.batch_size,
    lr: Annotated[
        float | None,
        typer.Option(
            "--lr",
            help="Peak learning rate of the one-cycle schedule."
            " [0.013, 0.02 with --shots or spsa; less above 600 trained numbers]",
        ),
    ] = None,
    seed: o.Seed = FitSettings.seed,
    device: o.Device = FitSettings.device,
    gradient: o.Gradient = GradientSettings.method,
    shots: o.Shots = None,
    pennylane_device: o.PennylaneDevice = None,
    spsa_samples: o.SpsaSamples = GradientSettings.spsa_samples,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from an interrupted run's state.")] = False,
    force: o.Force = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Compress a trained model into an artifact."""
    settings = CompressSettings(
        model=ModelSettings(model, arch, parse_arguments(arch_args), weights, trust_pickle),
        data=DataSettings(data, parse_floats(mean, "--mean"), parse_floats(std, "--std"), validation),
        budget=BudgetSettings(
            params, ratio, parse_size(bytes_), ansatz, entangler, layers, circuits, mapping, angle_bits,
            tuple(targets or ()), tuple(ignore or ()), final_rotation, bare,
        ),
        fit=FitSettings(
            distill, temperature, epochs or 0, batch_size, FitSettings.lr if lr is None else lr, seed, device,
            GradientSettings(gradient, shots, pennylane_device, spsa_samples),
        ),
        out=out or Path(f"{model.stem}.qtrain"),
        resume=resume,
        force=force,
        own_lr=lr is None,
    )  # fmt: skip
    from qtrain_cli.cli.progress import shown_progress
    from qtrain_cli.commands import compress as command

    with shown_progress(quiet) as show:
        record = command.run(settings, show, logger(quiet))
    print_document(as_json, record.to_json(), lambda: render.as_terminal(record, ()))


@app.command()
def plan(
    model: o.ModelPath,
    arch: o.Arch = None,
    arch_args: o.ArchArgs = None,
    weights: o.Weights = None,
    trust_pickle: o.TrustPickle = False,
    params: o.Params = None,
    ratio: o.Ratio = None,
    bytes_: o.Bytes = None,
    bare: o.Bare = False,
    ansatz: o.AnsatzName = BudgetSettings.ansatz,
    entangler: o.Entangler = BudgetSettings.entangler,
    final_rotation: o.FinalRotation = False,
    layers: o.Layers = None,
    circuits: o.Circuits = None,
    mapping: o.MappingName = BudgetSettings.mapping,
    angle_bits: o.AngleBits = BudgetSettings.angle_bits,
    targets: o.Targets = None,
    ignore: o.Ignore = None,
    input_shape: Annotated[
        str | None, typer.Option("--input-shape", help="Of one input, e.g. 1,28,28: times whole steps.")
    ] = None,
    batch_size: o.BatchSize = FitSettings.batch_size,
    seed: o.Seed = FitSettings.seed,
    device: o.Device = FitSettings.device,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Show what a budget buys: qubits, layers, file size, memory, seconds a step. Trains nothing."""
    settings = PlanSettings(
        model=ModelSettings(model, arch, parse_arguments(arch_args), weights, trust_pickle),
        budget=BudgetSettings(
            params, ratio, parse_size(bytes_), ansatz, entangler, layers, circuits, mapping, angle_bits,
            tuple(targets or ()), tuple(ignore or ()), final_rotation, bare,
        ),
        fit=FitSettings(batch_size=batch_size, seed=seed, device=device),
        input_shape=parse_shape(input_shape),
    )  # fmt: skip
    from qtrain_cli.commands import plan as command

    found = vars(command.run(settings))
    print_document(as_json, found, lambda: render.as_key_values("plan", found))


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A model, a checkpoint or an artifact.")],
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Show what a file holds, without running anything in it."""
    from qtrain_cli.commands import inspect as command

    found = command.run(file)
    print_document(as_json, found, lambda: render.as_key_values("inspect", found))


@app.command()
def export(
    artifact: o.ArtifactPath,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Ending: .safetensors, .pt, .pt2 or .onnx; .qasm with --quantum."),
    ],
    classical: Annotated[bool, typer.Option("--classical", help="Regenerated weights.")] = False,
    quantum: Annotated[bool, typer.Option("--quantum", help="The trained circuits, as OpenQASM 3.")] = False,
    circuit: Annotated[
        int | None, typer.Option("--circuit", help="With --quantum: this circuit alone, from 0. [all]")
    ] = None,
    model: Annotated[Path | None, typer.Option("--model", help="Whose graph .pt2 and .onnx carry.")] = None,
    arch: o.Arch = None,
    arch_args: o.ArchArgs = None,
    weights: o.Weights = None,
    trust_pickle: o.TrustPickle = False,
    force: o.Force = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Write the regenerated weights, or the trained circuits, in a format that others read."""
    if classical == quantum:
        given = (
            "both --classical and --quantum are given" if quantum else "export needs to know what to write"
        )
        raise UsageError(given, "add --classical for ordinary weights or --quantum for the circuits")
    arguments = parse_arguments(arch_args)
    source = ModelSettings(model, arch, arguments, weights, trust_pickle) if model else None
    settings = ExportSettings(artifact, out, source, arch, arguments, force, quantum, circuit)
    from qtrain_cli.commands import export as command

    done = command.run(settings)
    found = {**vars(done), "path": str(done.path)}
    print_document(as_json, found, lambda: render.as_key_values("export", found))


@app.command()
def report(
    artifact: o.ArtifactPath,
    min_accuracy: Annotated[
        float | None, typer.Option("--min-accuracy", help="Gate: test accuracy, 0 to 1.")
    ] = None,
    max_error: Annotated[
        float | None, typer.Option("--max-error", help="Gate: test error of a regression.")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option("--max-drop", help="Gate: how far below the teacher.")
    ] = None,
    min_ratio: Annotated[
        float | None, typer.Option("--min-ratio", help="Gate: model bytes / file bytes.")
    ] = None,
    max_bytes: Annotated[
        str | None, typer.Option("--max-bytes", help="Gate: size of the file, e.g. 2KB.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="An older record (report --json).")
    ] = None,
    max_regression: Annotated[
        float | None, typer.Option("--max-regression", help="Gate: how far below --baseline.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Also write Markdown to this file.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write JUnit XML to this file.")] = None,
    force: o.Force = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Show an artifact's record and hold it against gates. Exit code 3 when one fails."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    gates = GateSettings(
        min_accuracy, max_error, max_drop, min_ratio, parse_size(max_bytes), baseline,
        max_regression,
    )  # fmt: skip
    settings = ReportSettings(artifact, gates, markdown, junit, Path(summary) if summary else None, force)
    from qtrain_cli.commands import report as command

    outcome = command.run(settings, render.as_markdown, render.as_junit)
    failure = gate_failure(outcome.gates)
    document = {**outcome.record.to_json(), **(failure.as_json() if failure else {})}
    print_document(as_json, document, lambda: render.as_terminal(outcome.record, outcome.gates))
    if failure:
        raise failure


@app.command()
def verify(
    artifact: o.ArtifactPath,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Regenerate an artifact's weights and compare them with its digest."""
    from qtrain_cli.commands import verify as command

    found = vars(command.run(artifact))
    print_document(as_json, found, lambda: render.as_key_values("verify", found))


@app.command()
def sample(
    artifact: o.ArtifactPath,
    shots: Annotated[
        str, typer.Option("--shots", help="Of each circuit: one number or a list, e.g. 1e3,1e5,exact.")
    ],
    data: Annotated[str, typer.Option("--data", help="As compress takes it; its test rows count.")],
    mean: Annotated[
        str | None, typer.Option("--mean", help="Normalisation, one number or one a channel.")
    ] = None,
    std: Annotated[str | None, typer.Option("--std", help="Normalisation, as --mean.")] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            "--noise",
            help="One level or a list (depolarizing: at each gate): none | "
            + " | ".join(f"{n}:P" for n in NOISES),
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="A PennyLane device in place of the own simulator.")
    ] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", help="Independent repetitions of each cell.")
    ] = SampleSettings.repeat,
    trajectories: Annotated[
        int, typer.Option("--trajectories", help="Noisy runs that are simulated for a repetition.")
    ] = SampleSettings.trajectories,
    model: Annotated[Path | None, typer.Option("--model", help="The model that was compressed.")] = None,
    arch: o.Arch = None,
    arch_args: o.ArchArgs = None,
    weights: o.Weights = None,
    trust_pickle: o.TrustPickle = False,
    seed: o.Seed = SampleSettings.seed,
    plot: Annotated[Path | None, typer.Option("--plot", help="Also draw it: .png, .svg or .pdf.")] = None,
    force: o.Force = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Measure the accuracy that finite shots and noise leave."""
    arguments = parse_arguments(arch_args)
    settings = SampleSettings(
        artifact=artifact,
        shots=parse_shots(shots),
        data=DataSettings(data, parse_floats(mean, "--mean"), parse_floats(std, "--std")),
        noises=parse_noises(noise),
        model=ModelSettings(model, arch, arguments, weights, trust_pickle) if model else None,
        arch=arch,
        arch_args=arguments,
        device=device,
        repeat=repeat,
        trajectories=trajectories,
        seed=seed,
        plot=plot,
        force=force,
    )
    from qtrain_cli.commands import sample as command
    from qtrain_cli.report.sampling_figure import sampling_figure

    record = command.run(settings, sampling_figure, logger(quiet))
    print_document(as_json, record.to_json(), lambda: render.as_sampling(record))


@app.command()
def env(as_json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False) -> None:
    """Show versions and hardware, for a bug report."""
    from qtrain_cli.commands import env as command

    found = command.run()
    print_document(as_json, found, lambda: render.as_key_values("env", found))


def logger(quiet: bool) -> Callable[[str], None]:
    """Where a command's lines go: stderr, or nowhere."""
    return (lambda line: None) if quiet else (lambda line: print(line, file=sys.stderr, flush=True))


def print_document(as_json: bool, document: dict[str, Any], renderable: Callable[[], Any]) -> None:
    """The one document of a command, as JSON or for people."""
    if as_json:
        sys.stdout.write(render.as_json(document))
    else:
        render.show(renderable())
