"""The state folder of a comparison: each finished cell is a JSON file and the very file that was measured.

    STATE/FINGERPRINT/ours-2000-s0-lr0.02-b8-e200.json       the cell
    STATE/FINGERPRINT/ours-2000-s0-lr0.02-b8-e200.bin        its file, with the SHA-256 that the cell names
    STATE/FINGERPRINT/target.json                           the form of changes that was chosen

The fingerprint is that of model, data and settings, so that a stranger's cells are never mistaken for ours. A
cell appears whole or not at all; killed means "run it again". One that is damaged, or whose file is missing
or was changed, counts as not done, and is said. One that was made on another machine is a finished
measurement: it is kept, and said too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.files.atomic import write_bytes_atomically, write_failure
from qtrain_cli.files.hashing import file_sha256
from qtrain_cli.quantum.machine import differing, machine
from qtrain_cli.results.comparison import DONE, Cell
from qtrain_cli.results.comparison_file import COMPARISON_FILE
from qtrain_cli.training.recovery import MACHINE

FINGERPRINT_DIGITS = 16
_TARGET = "target.json"


def cells_in(folder: Path) -> int:
    """How many cells a comparison's own folder has, which need not be there."""
    return sum(path.name not in (_TARGET, COMPARISON_FILE) for path in folder.glob("*.json"))


class CellFolder:
    """The cells of one comparison.

    Args:
        folder: the state folder, made if it is not there.
        identity: canonical text of everything that the cells depend on.
        log: is told of every damaged cell.

    Raises:
        UsageError: the folder's name is taken by something else. BadInput: it cannot be made.
    """

    def __init__(self, folder: Path, identity: str, log: Callable[[str], None]) -> None:
        self.folder = folder / hashlib.sha256(identity.encode()).hexdigest()[:FINGERPRINT_DIGITS]
        self.log, self.machine = log, machine()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UsageError(
                f"the state folder '{folder}' is no folder", "name another with --state"
            ) from None
        except OSError as error:
            raise write_failure(folder, error) from error

    @property
    def target(self) -> str:
        """The kind of changes that was chosen for all of the cells; "" for none yet."""
        try:
            found = json.loads((self.folder / _TARGET).read_bytes())
        except (OSError, ValueError, RecursionError):
            return ""
        return found if isinstance(found, str) else ""

    def keep_target(self, kind: str) -> None:
        """Remembers it, so that another call goes on with these cells."""
        write_bytes_atomically(self.folder / _TARGET, json.dumps(kind).encode(), force=True)

    def file_of(self, name: str) -> Path:
        """Where the file of a cell lies."""
        return self.folder / f"{name}.bin"

    def load(self, name: str) -> Cell | None:
        """A finished cell; None when it is not there, or damaged."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            return None
        try:
            document = json.loads(path.read_bytes())
            there = document.pop(MACHINE, {}) if isinstance(document, dict) else {}
            cell = Cell.from_json(document)
            if cell.end == DONE and file_sha256(self.file_of(name)) != cell.file_sha256:
                raise BadInput("its file is not the one that was measured")
        except (BadInput, OSError, ValueError, RecursionError) as error:
            self.log(f"the cell '{path.name}' is damaged and is made again ({error})")
            return None
        if isinstance(there, dict) and there != self.machine:
            self.log(f"the cell '{path.name}' is kept, of another machine: {differing(there, self.machine)}")
        return cell

    def save(self, name: str, cell: Cell, data: bytes | None) -> None:
        """Writes a cell, and its file first; no data: the file is there already, or there is none."""
        if data is not None:
            write_bytes_atomically(self.file_of(name), data, force=True)
        text = json.dumps({**cell.to_json(), MACHINE: self.machine}, indent=1)
        write_bytes_atomically(self.folder / f"{name}.json", text.encode(), force=True)
