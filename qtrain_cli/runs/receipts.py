"""What says of a finished bare file which run wrote it: its checkpoint, emptied of everything but that.

A bare file holds no record and no digest of its run, so that `--resume` could not know it again. Where its
checkpoint lay, a receipt of less than 3 KB stays: the run's identity, the file's SHA-256, and the record.

    checkpoint -> announced: with the record beside the state -> the file -> shrunk to the receipt

so that a run that is killed anywhere in between is finished by the next one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from qtrain_cli.errors import BadInput
from qtrain_cli.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from qtrain_cli.files.hashing import file_sha256
from qtrain_cli.results import Record
from qtrain_cli.training.recovery import MACHINE

_RECORD = "finished"


def announce(path: Path, identity: dict[str, Any], record: Record) -> None:
    """Adds to a run's checkpoint the record of the file that comes next."""
    found = load_checkpoint(path, identity)
    save_checkpoint(path, replace(found, state={**found.state, _RECORD: record.to_json()}))


def shrink(path: Path, identity: dict[str, Any]) -> None:
    """Leaves of a checkpoint the receipt of what it became. Raises as `load_checkpoint`."""
    found = load_checkpoint(path, identity)
    if found.tensors:
        save_checkpoint(path, Checkpoint({}, {_RECORD: found.state[_RECORD]}, identity))


def known_record(path: Path, identity: dict[str, Any], out: Path) -> Record | None:
    """The record of `out`, if a receipt says that this very run wrote these very bytes.

    A receipt whose file is gone or changed is removed, unless there is a state in it to go on from.

    Raises:
        BadInput: the receipt or checkpoint belongs to another run. Refused: it is damaged.
    """
    if not path.exists():
        return None
    checkpoint = load_checkpoint(path, identity, apart=MACHINE)
    found = checkpoint.state.get(_RECORD)
    if found is None:
        return None
    record = Record.from_json(found)
    if out.is_file() and file_sha256(out) == record.artifact_sha256:
        return record
    if not checkpoint.tensors:
        path.unlink()
    if out.exists():
        raise BadInput(f"'{out}' is not what this run has written", "name another output, or use --force")
    return None
