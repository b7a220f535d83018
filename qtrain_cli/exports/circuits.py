"""A program of circuits as a file: written, read back and checked before it gets its name.

Left out here: the language (`quantum.qasm` in the caller's hands).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qtrain_cli.errors import UsageError
from qtrain_cli.files.atomic import replacing

CIRCUIT_ENDING = ".qasm"


@dataclass(frozen=True)
class CircuitExport:
    """A finished export of circuits: the file, what it holds, and how it was checked."""

    path: Path
    bytes: int
    sha256: str
    format: str
    circuits: int
    qubits: int
    gates: int
    checked: str


def require_circuit_ending(path: Path) -> None:
    """Raises `UsageError` for another ending than that of OpenQASM."""
    if path.suffix.lower() != CIRCUIT_ENDING:
        raise UsageError(
            f"'{path.name}' has the ending '{path.suffix}'; allowed with --quantum: {CIRCUIT_ENDING}",
            "weights go with --classical",
        )


def write_program(
    path: Path, text: str, check: Callable[[str], int], circuits: int, qubits: int, force: bool = False
) -> CircuitExport:
    """Makes `text` the content of `path`.

    Args:
        check: is given what was read back; returns the number of gates, or raises `RunFailed`.

    Raises:
        UsageError, BadInput, RunFailed: as `replacing`, and as `check`. Nothing is left behind.
    """
    require_circuit_ending(path)
    with replacing(path, force) as temporary:
        temporary.write_text(text, encoding="ascii")
        written = temporary.read_bytes()
        gates = check(written.decode("ascii"))
    return CircuitExport(
        path=path,
        bytes=len(written),
        sha256=hashlib.sha256(written).hexdigest(),
        format="OpenQASM 3",
        circuits=circuits,
        qubits=qubits,
        gates=gates,
        checked="every gate and angle, read back, equal to the artifact's",
    )
