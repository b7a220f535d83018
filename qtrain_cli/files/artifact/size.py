"""How large an artifact will be, before anything is trained: an upper bound, by writing one in memory.

Only the figures of the record, the probes and the shape of an input vary in length from run to run; here they
are as long as they can get: seven (nine for probes) significant digits, and the exponents of float32, since
losses and errors are computed in it.
"""

from __future__ import annotations

import torch

from qtrain_cli.files.artifact.container import BLANK
from qtrain_cli.files.artifact.description import (
    MAX_EXAMPLE_DIMENSIONS,
    PROBES,
    RUN_DIGITS,
    Description,
    Digest,
    Example,
)  # fmt: skip
from qtrain_cli.files.artifact.numbers import Artifact, Numbers, encode_artifact
from qtrain_cli.layout import DTYPES
from qtrain_cli.results import Measured, Scores
from qtrain_cli.spec import KEPT, RAW_BITS, GeneratorSpec
from qtrain_cli.versions import recorded_versions

_FIGURE = 1.234567e-05  # the longest that seven digits print
_PROBE = -1.23456789e-05
_LARGE = 10**9 - 1
_INPUT = (10**8,) + (1,) * (MAX_EXAMPLE_DIMENSIONS - 1)  # no shape of so few elements has more digits


def bytes_bound(spec: GeneratorSpec, model: str) -> int:
    """An upper bound in bytes of the finished file.

    Args:
        spec: the generator.
        model: the model's file name, which the record holds.
    """
    description = Description(
        spec=spec,
        digest=Digest(BLANK, (_PROBE,) * PROBES, 1e-06),
        example=Example("BOOL", _INPUT),
        measured=_longest(model),
        run="0" * RUN_DIGITS,
    )
    return len(encode_artifact(Artifact(description, _zeros(spec))))


def _longest(model: str) -> Measured:
    return Measured(
        model=model,
        scores=Scores(
            "regression", _FIGURE, _FIGURE, _FIGURE, _LARGE, _FIGURE, _FIGURE, (_FIGURE / 10, _FIGURE)
        ),
        train_loss=_FIGURE,
        test_loss=_FIGURE,
        epochs=_LARGE,
        seed=2**31 - 1,
        device="cuda:99",
        versions=recorded_versions(),
        data_sha256="0" * 64,
        model_sha256="0" * 64,
        trust="trusted-pickle",
    )


def _zeros(spec: GeneratorSpec) -> Numbers:
    coded = spec.angles.bits != RAW_BITS
    return Numbers(
        angles=torch.zeros(spec.circuit.angle_shape, dtype=torch.int64 if coded else torch.float32),
        steps=torch.ones(spec.circuit.circuits) if coded else None,
        mapping=torch.zeros(spec.mapping_numbers),
        kept={
            entry.name: torch.zeros(entry.shape, dtype=DTYPES[entry.dtype])
            for entry in spec.layout.of_role(KEPT)
        },
    )
