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

from qtrain_cli import __version__, render, render_comparison
from qtrain_cli.cli import options as o
from qtrain_cli.errors import UsageError
from qtrain_cli.gates import gate_failure
from qtrain_cli.methods import METHODS
from qtrain_cli.results.verdict import verdict
from qtrain_cli.settings import (
    BudgetSettings,
    CompareSettings,
    CompressSettings,
    DataSettings,
    ExportSettings,
    FitSettings,
    GateSettings,
    ModelSettings,
    PlanSettings,
    ReportSettings,
    parse_arguments,
    parse_floats,
    parse_shape,
    parse_size,
    parse_sizes,
)  # fmt: skip

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
        print(f"qtrain {__version__}")
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
        float, typer.Option("--lr", help="Peak learning rate of the one-cycle schedule.")
    ] = FitSettings.lr,
    seed: o.Seed = FitSettings.seed,
    device: o.Device = FitSettings.device,
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
            tuple(targets or ()), tuple(ignore or ()), final_rotation,
        ),
        fit=FitSettings(distill, temperature, epochs or 0, batch_size, lr, seed, device),
        out=out or Path(f"{model.stem}.qtrain"),
        resume=resume,
        force=force,
    )  # fmt: skip
    from qtrain_cli.commands import compress as command
    from qtrain_cli.progress import shown_progress

    with shown_progress(quiet) as show:
        record = command.run(settings, show, _logger(quiet))
    _print(as_json, record.to_json(), lambda: render.as_terminal(record, ()))


@app.command()
def compare(
    model: o.ModelPath,
    data: o.Data,
    bytes_: Annotated[str, typer.Option("--bytes", help="Budgets of the finished file, e.g. 600,1KB,2KB.")],
    methods: Annotated[
        str, typer.Option("--methods", help=" | ".join(METHODS) + "; several with commas. [all]")
    ] = ",".join(METHODS),
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds: 0, 1, ...")] = 3,
    quick: Annotated[
        bool, typer.Option("--quick", help="One seed, a quarter of the epochs, nothing tuned: a first look.")
    ] = False,
    mean: o.Mean = None,
    std: o.Std = None,
    validation: o.Validation = DataSettings.validation,
    arch: o.Arch = None,
    arch_args: o.ArchArgs = None,
    weights: o.Weights = None,
    trust_pickle: o.TrustPickle = False,
    distill: o.Distill = FitSettings.distill,
    temperature: o.Temperature = FitSettings.temperature,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = FitSettings.batch_size,
    device: o.Device = FitSettings.device,
    state: Annotated[
        Path | None, typer.Option("--state", help="Folder for finished cells. [MODEL's name + .compare]")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Also write Markdown to this file.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Also draw it: .png, .svg or .pdf.")] = None,
    force: o.Force = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Set qtrain against what you would use instead, at equal bytes, and say who wins.

    Each method is tuned alike, writes a real file, and is tested on what that file gives back.

    It takes long: budgets x methods x (seeds + about one for tuning) trainings, each as long as one of
    `qtrain compress` or shorter. The shipped digits at four budgets take about 40 minutes on two cores, with
    --quick about 3. Killed or interrupted: run it again, finished cells are kept.
    """
    settings = CompareSettings(
        model=ModelSettings(model, arch, parse_arguments(arch_args), weights, trust_pickle),
        data=DataSettings(data, parse_floats(mean, "--mean"), parse_floats(std, "--std"), validation),
        budgets=parse_sizes(bytes_),
        methods=tuple(name.strip() for name in methods.split(",") if name.strip()),
        seeds=(0,) if quick else tuple(range(seeds)),
        fit=FitSettings(distill, temperature, epochs or 0, batch_size, device=device),
        state=state or Path(f"{model.stem}.compare"),
        quick=quick,
        markdown=markdown,
        plot=plot,
        force=force,
    )
    from qtrain_cli.commands import compare as command
    from qtrain_cli.commands import compress as ours

    outputs = command.Outputs(render_comparison.as_markdown, render_comparison.draw)
    found = command.run(settings, ours.run, outputs, _logger(quiet))
    document = found.to_json(verdict(found))
    _print(as_json, document, lambda: render_comparison.as_terminal(found))


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
            tuple(targets or ()), tuple(ignore or ()), final_rotation,
        ),
        fit=FitSettings(batch_size=batch_size, seed=seed, device=device),
        input_shape=parse_shape(input_shape),
    )  # fmt: skip
    from qtrain_cli.commands import plan as command

    found = vars(command.run(settings))
    _print(as_json, found, lambda: render.as_key_values("plan", found))


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
    _print(as_json, found, lambda: render.as_key_values("inspect", found))


@app.command()
def export(
    artifact: o.ArtifactPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="Ending: .safetensors, .pt, .pt2 or .onnx.")],
    classical: Annotated[bool, typer.Option("--classical", help="Regenerated weights.")] = False,
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
    """Write the regenerated weights in a format that others read."""
    if not classical:
        raise UsageError("export needs to know what to write", "add --classical for ordinary weights")
    arguments = parse_arguments(arch_args)
    source = ModelSettings(model, arch, arguments, weights, trust_pickle) if model else None
    settings = ExportSettings(artifact, out, source, arch, arguments, force)
    from qtrain_cli.commands import export as command

    done = command.run(settings)
    found = {**vars(done), "path": str(done.path)}
    _print(as_json, found, lambda: render.as_key_values("export", found))


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
    _print(as_json, document, lambda: render.as_terminal(outcome.record, outcome.gates))
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
    _print(as_json, found, lambda: render.as_key_values("verify", found))


@app.command()
def env(as_json: o.Json = False, quiet: o.Quiet = False, verbose: o.Verbose = False) -> None:
    """Show versions and hardware, for a bug report."""
    from qtrain_cli.commands import env as command

    found = command.run()
    _print(as_json, found, lambda: render.as_key_values("env", found))


def _logger(quiet: bool) -> Callable[[str], None]:
    return (lambda line: None) if quiet else (lambda line: print(line, file=sys.stderr, flush=True))


def _print(as_json: bool, document: dict[str, Any], renderable: Callable[[], Any]) -> None:
    if as_json:
        sys.stdout.write(render.as_json(document))
    else:
        render.show(renderable())
