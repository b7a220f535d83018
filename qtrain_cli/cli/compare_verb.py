"""`qtrain compare`: options -> settings -> the comparison -> one document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qtrain_cli.cli import options as o
from qtrain_cli.cli.verbs import app, logger, print_document
from qtrain_cli.methods.table import METHODS
from qtrain_cli.report import comparison as render_comparison
from qtrain_cli.results.verdict import verdict
from qtrain_cli.settings import (
    CompareSettings,
    DataSettings,
    FitSettings,
    ModelSettings,
    parse_arguments,
    parse_floats,
    parse_sizes,
)


@app.command()
def compare(
    model: o.ModelPath,
    data: o.Data,
    bytes_: Annotated[str, typer.Option("--bytes", help="Budgets of the finished file, e.g. 600,1KB,2KB.")],
    methods: Annotated[
        str, typer.Option("--methods", help=" | ".join(METHODS) + "; several with commas. [all]")
    ] = ",".join(METHODS),
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="How many seeds: 0, 1, ... [3, or 1 with --quick]")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A quarter of the epochs, nothing tuned: a first look.")
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
    `qtrain compress` or shorter. The shipped digits, four budgets and 60 epochs, take half an hour on two
    busy cores, --quick some minutes. Killed or interrupted: run it again, finished cells are kept.
    """
    settings = CompareSettings(
        model=ModelSettings(model, arch, parse_arguments(arch_args), weights, trust_pickle),
        data=DataSettings(data, parse_floats(mean, "--mean"), parse_floats(std, "--std"), validation),
        budgets=parse_sizes(bytes_),
        methods=tuple(name.strip() for name in methods.split(",") if name.strip()),
        seeds=tuple(range(seeds or (1 if quick else 3))),
        fit=FitSettings(distill, temperature, epochs or 0, batch_size, device=device),
        state=state or Path(f"{model.stem}.compare"),
        quick=quick,
        markdown=markdown,
        plot=plot,
        force=force,
    )
    from qtrain_cli.commands import compare as command

    found = command.run(settings, logger(quiet))
    document = found.to_json(verdict(found))
    print_document(as_json, document, lambda: render_comparison.as_terminal(found))
