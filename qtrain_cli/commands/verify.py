"""`qtrain verify`: regenerates an artifact's weights and compares them with the stored digest.

A student's file stores its weights; there the circuit is simulated on the file's probe input, and the outputs
are compared with those that the file says.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from qtrain_cli.artifact.container import read_container
from qtrain_cli.artifact.numbers import decode_artifact
from qtrain_cli.artifact.student import is_student
from qtrain_cli.artifact.student_file import StudentFile, decode_student
from qtrain_cli.errors import Refused, UsageError
from qtrain_cli.models import build_architecture
from qtrain_cli.runs.grounds import opened_base
from qtrain_cli.runs.regenerate import regenerate, with_given
from qtrain_cli.runs.streaming import Share, require_digest, streams, unseen
from qtrain_cli.runs.teach import probes
from qtrain_cli.settings import VerifySettings

#: How far a student's outputs may be from the stored ones, of 1 plus the largest: another machine's float32.
PROBE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Verification:
    """What was compared: `agreement` is "exact" or "within tolerance" (a share of the weights' norm)."""

    artifact: str
    weights: int
    tensors: int
    sha256: str
    agreement: str
    tolerance: float


def run(settings: VerifySettings, share: Share = unseen) -> Verification:
    """Verifies one artifact; `share` is called with the weights that are regenerated so far.

    Raises:
        UsageError: --arch is needed, or has no use.
        BadInput: no such file, or no artifact. Refused: damaged, hostile, or of other weights.
    """
    path = settings.artifact
    container = read_container(path)
    if is_student(container):
        if settings.arch:
            raise UsageError(
                "--arch has no use for a student, whose file says what it is", "leave out --arch"
            )
        return _student(path, decode_student(container))
    artifact = decode_artifact(container)
    description = artifact.description
    opened = opened_base(description, settings)
    module = build_architecture(settings.arch, settings.arch_args) if settings.arch and not opened else None
    if streams(description):  # tensor by tensor, of which none is kept
        require_digest(with_given(artifact, module), share)
        tensors, digest, exact, tolerance = len(description.layout.entries), description.digest, True, 0.0
    else:
        found = regenerate(artifact, module, opened.ground if opened else None)
        tensors, digest, exact, tolerance = len(found.state), found.digest, found.exact, found.tolerance
    return Verification(
        artifact=path.name,
        weights=description.layout.generated,
        tensors=tensors,
        sha256=digest.sha256,
        agreement="exact" if exact else "within tolerance",
        tolerance=tolerance,
    )


def _student(path: Path, file: StudentFile) -> Verification:
    """Runs the student on its probe input. Raises `Refused` for other outputs than the file says."""
    expected = file.description.probes
    found = probes(file.description.student, file.state)
    bound = PROBE_TOLERANCE * (1 + max(map(abs, expected)))
    worst = max(abs(a - b) for a, b in zip(found, expected, strict=True))
    if worst > bound:
        raise Refused(
            f"'{path}': the student's outputs differ by {worst:.3g} from those that the file says;"
            f" allowed: {bound:.3g}",
            "get the file again from its source",
        )
    content = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in file.state.values()))
    return Verification(
        artifact=path.name,
        weights=file.description.student.parameters,
        tensors=len(file.state),
        sha256=content.hexdigest()[:32],
        agreement="exact" if found == expected else "within tolerance",
        tolerance=PROBE_TOLERANCE,
    )
