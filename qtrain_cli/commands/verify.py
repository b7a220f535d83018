"""`qtrain verify`: regenerates an artifact's weights and compares them with the stored digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qtrain_cli.files.artifact.numbers import read_artifact
from qtrain_cli.regenerate import regenerate


@dataclass(frozen=True)
class Verification:
    """What was compared: `agreement` is "exact" or "within tolerance" (a share of the weights' norm)."""

    artifact: str
    weights: int
    tensors: int
    sha256: str
    agreement: str
    tolerance: float


def run(path: Path) -> Verification:
    """Verifies one artifact.

    Raises:
        BadInput: no such file, or no artifact. Refused: damaged, hostile, or of other weights.
    """
    artifact = read_artifact(path)
    found = regenerate(artifact)
    return Verification(
        artifact=path.name,
        weights=artifact.description.spec.layout.generated,
        tensors=len(found.state),
        sha256=found.digest.sha256,
        agreement="exact" if found.exact else "within tolerance",
        tolerance=found.tolerance,
    )
