"""Options that several records have, each with a name: they are written here once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from qtrain_cli.settings.option import Option, Otherwise
from qtrain_cli.settings.parsing import parse_arguments, parse_log, require

PLOT_ENDINGS = (".png", ".svg", ".pdf")
MAX_SEED = 2**31 - 1
#: Of a table of students or gradients.
MAX_SEEDS = 100

ArtifactPath = Annotated[Path, Option("ARTIFACT", "A .qtrain file.", completes="artifacts")]
AnyPath = Annotated[Path, Option("FILE", "A model, a checkpoint or an artifact.")]
Arch = Annotated[
    str | None,
    Option(
        "--arch",
        "package.module:Class or file.py:Class, which is run; from the current folder.",
        kind="arch",
        completes="architectures",
    ),
]
ArchArgs = Annotated[
    dict[str, Any], Option("--arch-args", "JSON object for the class.", read=parse_arguments, kind="json")
]
OutputPath = Annotated[
    str | None,
    Option("--output", "Which of a model's outputs counts: its name or place, dotted where nested."),
    Otherwise("logits, else the first"),
]
GeneratedOnly = Annotated[
    tuple[str, ...],
    Option("--targets", "Generate only these: name, glob or re:. Repeatable.", completes="tensors"),
]
KeptAsTheyAre = Annotated[
    tuple[str, ...],
    Option("--ignore", "Keep these as they are: name, glob or re:. Repeatable.", completes="tensors"),
]
Seed = Annotated[int, Option("--seed", "Seed of everything random.")]
Seeds = Annotated[int, Option("--seeds", "How many seeds, from 0.")]
CellsFolder = Annotated[Path, Option("--out", "A folder for the students' files.", short="-o", kind="output")]
Force = Annotated[bool, Option("--force", "Replace an existing output.", kind="replacing")]
Resume = Annotated[bool, Option("--resume", "Go on from an interrupted run's state.")]
TeacherAny = Annotated[bool, Option("--teacher-any", "Go on with a model that is no better than chance.")]
Markdown = Annotated[Path | None, Option("--markdown", "Also write Markdown to this file.", kind="output")]
DryRun = Annotated[
    bool, Option("--dry-run", "Say what it would do, how long and with how much memory; write nothing.",
                 kind="absent")
]  # fmt: skip
Html = Annotated[
    Path | None, Option("--html", "Also write a page to this file; it loads nothing.", kind="output")
]
Plot = Annotated[
    Path | None, Option("--plot", "Also draw it: {choices}.", choices=PLOT_ENDINGS, kind="output")
]
LOG = Option(
    "--log", "A line an epoch: FILE.jsonl, or with tensorboard:DIR events for TensorBoard too; or none.",
    read=parse_log, kind="log",
)  # fmt: skip
#: Of fields whose types differ.
LEARNING_RATE = Option("--lr", "Learning rate, of one-cycle its peak.")


def check_output_path(output: str | None) -> None:
    """Raises `UsageError` for a path that has no names."""
    require(
        output is None or all(output.split(".")),
        f"--output '{output}' is no name",
        "write the output's name or place, e.g. logits, 0 or hidden_states.3",
    )


def check_seed(seed: int) -> None:
    """Raises `UsageError` for a seed that some generator would not take."""
    require(0 <= seed <= MAX_SEED, f"--seed is {seed}; allowed: 0 to {MAX_SEED}")


def check_chosen(validation: float, what: str) -> None:
    """Raises `UsageError` where no rows are set apart for what goes by them."""
    require(validation > 0, f"{what} by rows that --validation 0 does not set apart", "leave it out")


def check_seeds(seeds: int) -> None:
    """Raises `UsageError` for no seeds, or far too many."""
    require(1 <= seeds <= MAX_SEEDS, f"--seeds is {seeds}; allowed: 1 to {MAX_SEEDS}")


def check_plot(path: Path | None) -> None:
    """Raises `UsageError` for a picture in a form that is not drawn; the ending's case does not matter."""
    require(
        path is None or path.suffix.lower() in PLOT_ENDINGS,
        f"--plot '{path}' has no ending for pictures; allowed: {', '.join(PLOT_ENDINGS)}",
    )
