"""Whether a file holds a model, or how it differs from a base."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from qtrain_cli.settings.option import Option, Otherwise, Said
from qtrain_cli.settings.parsing import require
from qtrain_cli.targets.change import WHOLE, Wanted, parse_target

BasePath = Annotated[
    Path | None, Option("--base", "The model that the file changes, which is no part of it.", kind="path")
]
BasePaths = Annotated[
    tuple[Path, ...],
    Option(
        "--bases", "Where the base may be, by its digest, without --base. Repeatable.", typed=list[str],
        read=lambda texts: tuple(map(Path, texts)), kind="paths",
    ),
]  # fmt: skip


@dataclass(frozen=True)
class ChangeSettings:
    """`base` is a file or folder as the model's, read with the same --arch; None: the file holds the model.

    `target` None: chosen by the model (`targets.changes.settled_target`).
    """

    base: BasePath = None
    target: Annotated[
        Wanted | None,
        Option(
            "--target",
            "whole | delta[:scale=S] | lora[:rank=R,scale=S] | lora-xs[:rank=R,scale=S].",
            read=parse_target,
        ),
        Otherwise("with --base: delta; of large transformers what validates better of it and lora"),
    ] = None

    def __post_init__(self) -> None:
        kind = self.target.kind if self.target else None
        require(
            self.base is not None or kind in (None, WHOLE),
            f"--target {kind} needs --base",
            "name the model that is changed",
        )
        require(
            self.base is None or kind != WHOLE,
            "--target whole has no use for --base",
            "leave --base out, or choose delta, lora or lora-xs",
        )


def model_or_base(said: Said) -> Path:
    """MODEL where it is not said: the base itself, which learns from labels alone. Raises `UsageError`."""
    base = said.get("base")
    require(base is not None, "MODEL is missing", "name the model's file, or a base to begin at with --base")
    found: Path = base  # type: ignore[assignment]
    return found


#: On a `ModelSettings`: its path need not be said where a base is.
BASE_ITSELF = Otherwise("the base", model_or_base)
