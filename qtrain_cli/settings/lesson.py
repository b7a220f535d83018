"""How a student is taught besides its fit: alignment with a teacher's layer, its circuit, itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from qtrain_cli.errors import suggestion
from qtrain_cli.quantum.estimators import ESTIMATORS
from qtrain_cli.settings.option import Needs, Option, Otherwise, Said
from qtrain_cli.settings.parsing import require

ALIGNMENTS = ("mse", "cosine", "cka")
SELF_METHODS = ("born-again", "running-average")
#: Of one run of a student's circuit.
MAX_CIRCUIT_SHOTS = 10**6


def _with_layer(flag: str, said: Said) -> None:
    nothing = f"{flag} does nothing without a layer to align with"
    require(said["align"] is not None, nothing, "give --align LAYER")


def _with_method(method: str) -> Needs:
    def check(flag: str, said: Said) -> None:
        asked = (said.get("self"), *(said.get("methods") or ()))
        belongs = f"{flag} belongs to {method}, which is not asked for"
        require(method in asked, belongs, f"leave out {flag}")

    return check


Depolarising = Annotated[
    float, Option("--noise", "Depolarising, once a qubit after each encoding and each layer: 0 to 0.75.")
]
Generations = Annotated[
    int, Option("--generations", "Of born-again, after the first.", needs=_with_method("born-again"))
]
Decay = Annotated[
    float, Option("--decay", "Of running-average, a step.", needs=_with_method("running-average"))
]


@dataclass(frozen=True)
class AlignSettings:
    """Which layer of the teacher the student's features are aligned with, how, and how much."""

    layer: Annotated[str, Option("--align", "Layer of the teacher to align features with.")]
    loss: Annotated[str, Option("--align-loss", "{choices}.", choices=ALIGNMENTS, needs=_with_layer)] = "mse"
    weight: Annotated[float, Option("--align-weight", "Weight of the alignment loss.", needs=_with_layer)] = (
        0.3
    )

    def __post_init__(self) -> None:
        require(bool(self.layer), "--align names no layer", "`qtrain inspect MODEL` lists its tensors")
        require(self.loss in ALIGNMENTS, f"--align-loss is '{self.loss}'", suggestion(self.loss, ALIGNMENTS))
        require(
            math.isfinite(self.weight) and self.weight > 0,
            f"--align-weight is {self.weight}; allowed: above 0",
        )


@dataclass(frozen=True)
class CircuitSettings:
    """How a student's circuit runs: in training, and in the measurement at the end. 0 shots: exact."""

    gradient: Annotated[str, Option("--gradient", "{choices}.", choices=ESTIMATORS)] = "adjoint"
    shots: Annotated[int, Option("--shots", "Shots of every circuit run in training; 0: exact.")] = 0
    noise: Depolarising = 0.0
    test_shots: Annotated[
        int | None, Option("--test-shots", "Shots in the measurement at the end."), Otherwise("--shots")
    ] = None
    test_noise: Annotated[
        float | None, Option("--test-noise", "Noise in the measurement at the end."), Otherwise("--noise")
    ] = None

    def __post_init__(self) -> None:
        require(
            self.gradient in ESTIMATORS,
            f"--gradient is '{self.gradient}'",
            suggestion(self.gradient, ESTIMATORS),
        )
        for name, shots in (("--shots", self.shots), ("--test-shots", self.test_shots or 0)):
            require(
                0 <= shots <= MAX_CIRCUIT_SHOTS,
                f"{name} is {shots}; allowed: 0 (exact) to {MAX_CIRCUIT_SHOTS}",
            )
        for name, noise in (("--noise", self.noise), ("--test-noise", self.test_noise or 0.0)):
            require(0 <= noise <= 0.75, f"{name} is {noise}; allowed: 0 to 0.75 (wholly depolarised)")
        require(
            not (self.shots and self.gradient == "adjoint"),
            "--shots needs a gradient that shots can give; adjoint is a simulation's",
            "use --gradient parameter-shift, spsa or finite-difference, or --test-shots",
        )

    @property
    def measured_with(self) -> tuple[int, float]:
        """Shots and noise of the measurement at the end: those of training where nothing else was said."""
        return (
            self.shots if self.test_shots is None else self.test_shots,
            self.noise if self.test_noise is None else self.test_noise,
        )


@dataclass(frozen=True)
class SelfSettings:
    """Generations after the first one (born-again), or the decay of the running average."""

    method: Annotated[str, Option("--self", "{choices}.", choices=SELF_METHODS)]
    generations: Generations = 1
    decay: Decay = 0.99

    def __post_init__(self) -> None:
        require(
            self.method in SELF_METHODS, f"--self is '{self.method}'", suggestion(self.method, SELF_METHODS)
        )
        require(1 <= self.generations <= 100, f"--generations is {self.generations}; allowed: 1 to 100")
        require(0 < self.decay < 1, f"--decay is {self.decay}; allowed: between 0 and 1")
