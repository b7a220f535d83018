"""The options that several commands share, each typed once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qtrain_cli.methods.generator.spec import MAPPINGS
from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS
from qtrain_cli.quantum.estimators import ESTIMATORS

Arch = Annotated[str | None, typer.Option("--arch", help="package.module:Class or file.py:Class.")]
ArchArgs = Annotated[str | None, typer.Option("--arch-args", help="JSON object for the class.")]
Weights = Annotated[str | None, typer.Option("--weights", help="Entry of a checkpoint dictionary.")]
TrustPickle = Annotated[bool, typer.Option("--trust-pickle", help="Run the code in a pickled file.")]
Data = Annotated[str, typer.Option("--data", help="Folder, file, hf:NAME or file.py:function.")]
Mean = Annotated[str | None, typer.Option("--mean", help="Normalisation, one number or one a channel.")]
Std = Annotated[str | None, typer.Option("--std", help="Normalisation, as --mean.")]
Validation = Annotated[float, typer.Option("--validation", help="Share of train set apart.")]
Distill = Annotated[float, typer.Option("--distill", help="Weight of the teacher's outputs, 0 to 1.")]
Temperature = Annotated[float, typer.Option("--temperature", help="Of the teacher's outputs.")]
Epochs = Annotated[
    int | None, typer.Option("--epochs", min=1, help="Passes over the rows. [10; more below 2,000 steps]")
]
Params = Annotated[int | None, typer.Option("--params", help="Budget: at most N trained numbers.")]
Ratio = Annotated[float | None, typer.Option("--ratio", help="Budget: R times fewer numbers. [10]")]
Bytes = Annotated[
    str | None, typer.Option("--bytes", help="Budget: finished file of at most SIZE, e.g. 2KB.")
]
AnsatzName = Annotated[str, typer.Option("--ansatz", help=" | ".join(ANSATZE))]
Entangler = Annotated[
    str | None, typer.Option("--entangler", help=" | ".join(ENTANGLERS) + ". [the ansatz's first]")
]
FinalRotation = Annotated[
    bool, typer.Option("--final-rotation", help="No entangler after the last layer, as in Qiskit.")
]
Bare = Annotated[
    bool,
    typer.Option(
        "--bare/--no-bare",
        help="Leave out the record and the digests of data, model and run: smaller, but not for `report`.",
    ),
]
Layers = Annotated[int | None, typer.Option("--layers", help="Layers of each circuit, in place of a budget.")]
Circuits = Annotated[int | None, typer.Option("--circuits", help="How many circuits. [planned]")]
MappingName = Annotated[str, typer.Option("--mapping", help=" | ".join(MAPPINGS))]
AngleBits = Annotated[
    int, typer.Option("--angle-bits", help="Bits of a stored angle on the average: 2 to 16, or 32.")
]
Targets = Annotated[
    list[str] | None, typer.Option("--targets", help="Generate only these: name, glob or re:. Repeatable.")
]
Ignore = Annotated[
    list[str] | None, typer.Option("--ignore", help="Keep these as they are: name, glob or re:. Repeatable.")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:1.")]
BatchSize = Annotated[int, typer.Option("--batch-size", help="Rows of a training step.")]
Gradient = Annotated[
    str,
    typer.Option(
        "--gradient", help=" | ".join(ESTIMATORS) + ". What a measured one spent is said on stderr."
    ),
]
Shots = Annotated[int | None, typer.Option("--shots", help="Of each circuit. [exact probabilities]")]
PennylaneDevice = Annotated[
    str | None, typer.Option("--pennylane-device", help="Runs the circuits, e.g. default.qubit. [the engine]")
]
SpsaSamples = Annotated[
    int, typer.Option("--spsa-samples", help="Random directions of a step of --gradient spsa.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only on stderr.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More on stderr.")]
ArtifactPath = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A .qtrain file.")]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A trained model's file.")]
