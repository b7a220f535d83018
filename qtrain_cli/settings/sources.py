"""What a run begins with: a model's file, and data."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

from qtrain_cli.settings.option import Option, Otherwise
from qtrain_cli.settings.parsing import parse_floats, parse_names, parse_roles, parse_size, require
from qtrain_cli.settings.shared import Arch, ArchArgs, OutputPath, check_output_path
from qtrain_cli.settings.task import TaskSettings

#: What a column of data can be, and what a split.
COLUMN_ROLES = ("image", "text", "text2", "tokens", "table", "label", "split")
SPLIT_ROLES = ("train", "test", "validation")


@dataclass(frozen=True)
class ModelSettings:
    """Which model file, and how to read it. `weights` names the entry of a checkpoint dictionary, `output`
    what counts of several outputs."""

    path: Annotated[Path, Option("MODEL", "A trained model's file.")]
    arch: Arch = None
    arch_args: ArchArgs = field(default_factory=dict)
    weights: Annotated[str | None, Option("--weights", "Entry of a checkpoint dictionary.")] = None
    trust_pickle: Annotated[
        bool, Option("--trust-pickle", "Run the code in a pickled file.", kind="consent")
    ] = False
    output: OutputPath = None
    ignore_unexpected: Annotated[
        bool, Option("--ignore-unexpected", "Leave out tensors that --arch has no name for.")
    ] = False

    def __post_init__(self) -> None:
        check_output_path(self.output)
        require(
            self.arch is None or ":" in self.arch,
            f"--arch '{self.arch}' names no class",
            "write package.module:Class or file.py:Class",
        )
        require(
            bool(self.arch) or not self.arch_args, "--arch-args needs --arch", "give the class with --arch"
        )


@dataclass(frozen=True)
class DataSettings:
    """Which data, and how inputs are normalised: ``(x - mean) / std`` per channel after uint8 / 255.

    `validation` is the share of the training rows that is set apart to choose the best state, where the data
    have no such rows of their own (0: nothing chooses, and the last state is kept); `classes` orders labels,
    and `max_bytes` bounds what is decoded. `columns` and `splits` map a role (`COLUMN_ROLES`, `SPLIT_ROLES`)
    to the data's own name of it.
    """

    source: Annotated[
        str,
        Option(
            "--data", "Folder, file, hf:NAME, or file.py:function, which is run; from the current folder.",
            kind="data", completes="paths",
        ),
    ]  # fmt: skip
    mean: Annotated[
        tuple[float, ...],
        Option(
            "--mean", "Normalisation, one number or one a channel.",
            read=partial(parse_floats, option="--mean"), kind="numbers",
        ),
    ] = ()  # fmt: skip
    std: Annotated[
        tuple[float, ...],
        Option(
            "--std", "Normalisation, as --mean.", read=partial(parse_floats, option="--std"), kind="numbers"
        ),
    ] = ()
    validation: Annotated[
        float,
        Option(
            "--validation", "Share of train set apart; 0: none, and the last state is kept, not the best."
        ),
    ] = 0.1
    classes: Annotated[
        tuple[str, ...],
        Option(
            "--classes", "Labels in the order of the model's outputs, e.g. cat,dog.",
            read=parse_names, kind="row",
        ),
        Otherwise("sorted"),
    ] = ()  # fmt: skip
    columns: Annotated[
        tuple[tuple[str, str], ...],
        Option(
            "--columns", "Which column is what, e.g. image=img,label=fine_label.",
            read=partial(parse_roles, option="--columns", roles=COLUMN_ROLES), kind="row",
        ),
        Otherwise("told by names and types"),
    ] = ()  # fmt: skip
    splits: Annotated[
        tuple[tuple[str, str], ...],
        Option(
            "--split", "Which split is what, e.g. test=validation.",
            read=partial(parse_roles, option="--split", roles=SPLIT_ROLES), kind="row",
        ),
        Otherwise("train, test and validation"),
    ] = ()  # fmt: skip
    tokenizer: Annotated[
        Path | None,
        Option("--tokenizer", "Folder or tokenizer.json for columns of text."),
        Otherwise("the model's folder"),
    ] = None
    max_length: Annotated[
        int | None,
        Option("--max-length", "Tokens of a text at most.", least=1),
        Otherwise("what model and tokenizer take"),
    ] = None
    transform: Annotated[
        str | None,
        Option(
            "--transform",
            "Of pictures: none, or e.g. resize=256,crop=224,bicubic,rgb.",
        ),
        Otherwise("what the model's folder says"),
    ] = None
    skip_damaged: Annotated[bool, Option("--skip-damaged", "Leave damaged rows out, and count them.")] = False
    max_bytes: Annotated[
        int,
        Option(
            "--max-data-bytes",
            "Most bytes of data; what lies in a file counts a quarter.",
            read=parse_size,
            typed=str,
        ),
        Otherwise("2GB"),
    ] = 2 * 10**9
    asked: TaskSettings = field(default_factory=TaskSettings)

    def __post_init__(self) -> None:
        require(bool(self.mean) == bool(self.std), "--mean and --std go together", "give both or neither")
        require(
            len(self.mean) == len(self.std),
            f"--mean has {len(self.mean)} numbers and --std {len(self.std)}",
            "give one number for all channels, or one per channel",
        )
        require(
            all(value > 0 for value in self.std),
            "--std must be positive",
            "leave out inputs that never change, or give their --std as 1",
        )
        require(0 <= self.validation < 1, f"--validation is {self.validation}; allowed: 0 to below 1")
