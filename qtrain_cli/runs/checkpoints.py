"""Where a student's run keeps its state meanwhile: one checkpoint a generation, beside the output.

net.qtrain  ->  net.qtrain.ckpt, net.qtrain.1.ckpt, net.qtrain.2.ckpt, ...
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.files.checkpoint import load_checkpoint


def checkpoint_path(out: Path, generation: int = 0) -> Path:
    """Where a generation's state is kept meanwhile: ``net.qtrain`` -> ``net.qtrain.ckpt``."""
    number = f".{generation}" if generation else ""
    return out.with_name(f"{out.name.removesuffix('.qtrain')}.qtrain{number}.ckpt")


def checkpoints(out: Path) -> list[Path]:
    """Those of this output that are there, of any generation."""
    start = re.escape(checkpoint_path(out).name.removesuffix(".ckpt"))
    form = re.compile(start + r"([.][1-9][0-9]*)?[.]ckpt")
    return sorted(path for path in out.parent.glob("*.ckpt") if form.fullmatch(path.name))


def of_generation(identity: dict[str, Any], number: int) -> dict[str, Any]:
    """The identity of one generation's checkpoint."""
    return {**identity, "generation": number}


def drop_strangers(out: Path, identity: dict[str, Any], generations: int) -> None:
    """Removes the checkpoints beside `out` that this run of 1 + `generations` trainings cannot go on from:
    those of other runs, and damaged ones."""
    own = {checkpoint_path(out, number): number for number in range(generations + 1)}
    for path in checkpoints(out):
        try:
            if path in own:
                load_checkpoint(path, of_generation(identity, own[path]))
                continue
        except (BadInput, Refused):
            pass
        path.unlink()
