"""Where the files of a split lie in a folder, as the Hugging Face hub has them.

    folder/[data/]train-00000-of-00002.ENDING ...    shards, in the order of their names
    folder/[data/]train.ENDING                       one file
    folder/[data/]train/*.ENDING                     a sub-folder

A missing shard is an error, and so are two of these side by side.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from qtrain_cli.errors import BadInput

_SHARD = re.compile(r".*-(?P<index>\d+)-of-(?P<total>\d+)\.[a-z]+")


def split_files(folder: Path, split: str, endings: Sequence[str], inside: Sequence[str]) -> list[Path]:
    """The files of one split, in the order of their names; `inside` are the endings in a sub-folder."""
    name = glob.escape(split)
    patterns = [f"{name}{middle}{ending}" for middle in ("", "-*") for ending in endings]
    patterns += [f"{name}/*{ending}" for ending in inside]
    bases = (folder, folder / "data")
    return sorted({path for base in bases for pattern in patterns for path in base.glob(pattern)})


def refuse_missing_shards(split: str, paths: Sequence[Path]) -> None:
    """Allowed are one whole set of shards, one file, or any files of one sub-folder; never two of these."""
    found = [match for path in paths if (match := _SHARD.fullmatch(path.name))]
    totals = {int(match["total"]) for match in found}
    indices = {int(match["index"]) for match in found}
    sets = {(path.parent, path.suffix) for path in paths}
    if len(sets) > 1 or len(totals) > 1 or (found and len(indices) < len(paths)):
        first, last = paths[0].name, paths[-1].name
        raise BadInput(f"the {split} split has files of two data sets ({first}, {last})", "leave one set")
    missing = sorted(set(range(max(totals, default=0))) - indices)
    if missing:
        raise BadInput(
            f"shard {missing[0]} of {max(totals)} of the {split} split is missing", "download it again"
        )
