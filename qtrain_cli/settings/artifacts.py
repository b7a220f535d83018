"""What is made of a finished artifact: exports, a report with its gates, samples. One record a command."""

from __future__ import annotations

import math
import os
import reprlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from qtrain_cli.quantum.noise import NOISES, Noise, parse_noises
from qtrain_cli.settings.change import BasePath, BasePaths
from qtrain_cli.settings.option import Option, Otherwise, Said
from qtrain_cli.settings.parsing import parse_marks, parse_shots, parse_size, require
from qtrain_cli.settings.shared import (
    Arch,
    ArchArgs,
    ArtifactPath,
    DryRun,
    Force,
    Html,
    Markdown,
    OutputPath,
    Plot,
    Seed,
    check_plot,
    check_seed,
)
from qtrain_cli.settings.sources import DataSettings, ModelSettings

MAX_REPEAT, MAX_TRAJECTORIES = 10_000, 10**9


@dataclass(frozen=True)
class ExportSettings:
    """`qtrain export`: `model` supplies the graph that `.pt2` and `.onnx` need.

    `output` is what a graph returns of several outputs; None: what the artifact's record says. On rows of
    `data` that were set apart a graph is compared, too.
    `quantum`: the circuits in place of the weights; `circuit` one of them by its number, None all. On a
    command line one of `classical` and `quantum` must be said; None: it was not asked.
    """

    artifact: ArtifactPath
    out: Annotated[
        Path,
        Option(
            "--out", "Ending: .safetensors, .pt, .pt2 or .onnx; .qasm with --quantum.", short="-o",
            kind="output",
        ),
    ]  # fmt: skip
    model: Annotated[ModelSettings | None, Option("--model", "Whose graph .pt2 and .onnx carry.")] = None
    arch: Arch = None
    arch_args: ArchArgs = field(default_factory=dict)
    force: Force = False
    quantum: Annotated[bool, Option("--quantum", "The trained circuits, as OpenQASM 3.")] = False
    circuit: Annotated[
        int | None, Option("--circuit", "With --quantum: this circuit alone, from 0."), Otherwise("all")
    ] = None
    classical: Annotated[bool | None, Option("--classical", "Regenerated weights.")] = None
    output: OutputPath = None
    base: BasePath = None
    bases: BasePaths = ()
    data: DataSettings | None = None
    shard_size: Annotated[
        int | None,
        Option(
            "--shard-size", "Above so many bytes, e.g. 2GB, .safetensors becomes several files and an index.",
            read=parse_size,
        ),
        Otherwise("5GB"),
    ] = None  # fmt: skip

    def __post_init__(self) -> None:
        require(
            self.shard_size is None or self.out.suffix.lower() == ".safetensors",
            f"--shard-size goes with .safetensors, and the output is '{self.out.name}'",
            "name an output with that ending",
        )
        given = (
            "both --classical and --quantum are given"
            if self.quantum
            else "export needs to know what to write"
        )
        require(
            self.classical is None or self.classical != self.quantum,
            given,
            "add --classical for ordinary weights or --quantum for the circuits",
        )
        require(
            self.quantum or self.circuit is None,
            "--circuit goes with --quantum",
            "weights come from all circuits",
        )
        require(
            not self.quantum or (self.model is None and self.arch is None),
            "--quantum has no use for --model and --arch",
            "circuits need the artifact alone",
        )
        require(
            self.data is None or self.model is not None or self.arch is not None,
            "--data is for what has a graph",
            "give --model or --arch, and write .pt2 or .onnx",
        )


@dataclass(frozen=True)
class VerifySettings:
    """`qtrain verify`: `arch` gives what a file leaves out because every module of it has it."""

    artifact: ArtifactPath
    arch: Arch = None
    arch_args: ArchArgs = field(default_factory=dict)
    base: BasePath = None
    bases: BasePaths = ()


@dataclass(frozen=True)
class GateSettings:
    """What `qtrain report` demands. None: no such gate. Accuracies and drops are fractions of 1."""

    min_accuracy: Annotated[float | None, Option("--min-accuracy", "Gate: test accuracy, 0 to 1.")] = None
    max_error: Annotated[float | None, Option("--max-error", "Gate: test error of a regression.")] = None
    max_drop: Annotated[float | None, Option("--max-drop", "Gate: how far below the teacher.")] = None
    min_ratio: Annotated[float | None, Option("--min-ratio", "Gate: model bytes / file bytes.")] = None
    max_bytes: Annotated[
        int | None, Option("--max-bytes", "Gate: size of the file, e.g. 2KB.", read=parse_size)
    ] = None
    baseline: Annotated[Path | None, Option("--baseline", "An older record (report --json).")] = None
    max_regression: Annotated[float | None, Option("--max-regression", "Gate: how far below --baseline.")] = (
        None
    )
    min_metric: Annotated[
        tuple[tuple[str, float], ...],
        Option(
            "--min-metric", "Gate: any figure of the test rows, e.g. f1=0.9 or perplexity=30. Repeatable.",
            read=parse_marks, typed=list[str], kind="list",
        ),
    ] = ()  # fmt: skip

    @property
    def of_size_alone(self) -> bool:
        """Whether the file's size is demanded, and nothing that only a record can tell."""
        return self.max_bytes is not None and self == GateSettings(max_bytes=self.max_bytes)

    def __post_init__(self) -> None:
        for name in ("min_accuracy", "max_error", "max_drop", "min_ratio", "max_regression"):
            value = getattr(self, name)
            require(
                value is None or (math.isfinite(value) and value >= 0),
                f"--{name.replace('_', '-')} is {value}; allowed: 0 or more",
            )
        require(
            self.min_accuracy is None or self.min_accuracy <= 1,
            f"--min-accuracy is {self.min_accuracy}; allowed: 0 to 1 (0.973 is 97.3 %)",
        )
        require(
            (self.baseline is None) == (self.max_regression is None),
            "--baseline and --max-regression go together",
            "give both: the older record and how much worse the new one may be",
        )


def _step_summary(said: Said) -> Path | None:
    """The file that a pipeline's step writes its summary to, where it runs in one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(path) if path else None


@dataclass(frozen=True)
class ReportSettings:
    """`qtrain report`: the artifact, the gates, and the files to write beside the terminal's table."""

    artifact: ArtifactPath
    gates: GateSettings = field(default_factory=GateSettings)
    markdown: Markdown = None
    junit: Annotated[Path | None, Option("--junit", "Also write JUnit XML to this file.", kind="output")] = (
        None
    )
    step_summary: Annotated[Path | None, Otherwise(rule=_step_summary)] = None
    force: Force = False
    html: Html = None
    model: Annotated[
        ModelSettings | None, Option("--model", "Of --html: the model that was compressed, to compare with.")
    ] = None
    arch: Arch = None
    arch_args: ArchArgs = field(default_factory=dict)
    data: DataSettings | None = None
    output: OutputPath = None
    base: BasePath = None
    bases: BasePaths = ()

    @property
    def looks(self) -> bool:
        """Whether the model or its rows are to be looked at again, which needs torch."""
        return self.model is not None or self.data is not None

    def __post_init__(self) -> None:
        require(
            self.html is not None or not self.looks,
            "--model and --data are looked at for a page, and none is asked for",
            "add --html PAGE.html",
        )
        asked = (self.arch, self.arch_args, self.output, self.base)
        require(
            self.looks or not any(asked),
            "--arch, --base and --output say how a model is looked at, and none is to be",
            "add --model or --data, or leave them out",
        )
        require(
            self.data is None or bool(self.model or self.arch or self.base or self.bases),
            "--data needs a model to ask",
            "give its file with --model, its class with --arch, or of a fine-tune the base with --base",
        )


@dataclass(frozen=True)
class SampleSettings:
    """`qtrain sample`: shots of each circuit, levels of noise, and what the weights are evaluated on.

    `device` None: the own simulator. `model` or `arch` supplies the module, `output` (None: the record's)
    says what counts of several outputs.
    """

    artifact: ArtifactPath
    shots: Annotated[
        tuple[int | None, ...],
        Option(
            "--shots", "Of each circuit: one number or a list, e.g. 1e3,1e5,exact.", read=parse_shots,
            kind="row",
        ),
    ]  # fmt: skip
    data: DataSettings
    noises: Annotated[
        tuple[Noise, ...],
        Option(
            "--noise", "One level or a list (depolarizing: at each gate): none | {choices}.",
            choices=[f"{name}:P" for name in NOISES], read=parse_noises, kind="row",
        ),
        Otherwise("none"),
    ] = (Noise(),)  # fmt: skip
    model: Annotated[ModelSettings | None, Option("--model", "The model that was compressed.")] = None
    arch: Arch = None
    arch_args: ArchArgs = field(default_factory=dict)
    device: Annotated[str | None, Option("--device", "A PennyLane device in place of the own simulator.")] = (
        None
    )
    repeat: Annotated[int, Option("--repeat", "Independent repetitions of each cell.")] = 5
    trajectories: Annotated[
        int, Option("--trajectories", "Noisy runs that are simulated for a repetition.")
    ] = 1000
    seed: Seed = 0
    plot: Plot = None
    force: Force = False
    output: OutputPath = None
    base: BasePath = None
    bases: BasePaths = ()
    html: Html = None
    dry_run: DryRun = False

    def __post_init__(self) -> None:
        require(
            bool(self.model or self.arch or self.base or self.bases),
            "sample needs to know the model to evaluate",
            "give its file with --model, its class with --arch, or of a fine-tune the base with --base",
        )
        for name, most in (("repeat", MAX_REPEAT), ("trajectories", MAX_TRAJECTORIES)):
            value: Any = getattr(self, name)
            require(1 <= value <= most, f"--{name} is {reprlib.repr(value)}; allowed: 1 to {most}")
        check_seed(self.seed)
        require(
            self.device is None or self.noises == (Noise(),),
            "--device and --noise are given",
            "a device brings its own noise: give one of the two",
        )
        check_plot(self.plot)
