"""Noise of a quantum computer as plain data, and the words that name it.

    depolarizing:P   after every gate, on each wire that it touches, independently: with probability P one of
                     X, Y, Z, each with P / 3. That is rho -> (1 - P) rho + P/3 (X rho X + Y rho Y + Z rho Z),
                     PennyLane's DepolarizingChannel(P); a gate of two qubits is followed by two channels
    readout:P        each measured bit is flipped with probability P, independently

Two of them go together with a plus sign: ``depolarizing:0.001+readout:0.01``. `trajectories` simulates them.

Left out here: noise that is no Pauli channel (damping, drift, crosstalk), and noise of idle qubits.
"""

from __future__ import annotations

from dataclasses import dataclass

from qtrain_cli.errors import UsageError, suggestion

#: Each kind of noise by its name: what its probability is of.
NOISES = {
    "depolarizing": "of a Pauli error after a gate, on each wire it touches",
    "readout": "of reading a bit wrong",
}
NO_NOISE = "none"
_EXAMPLE = "write e.g. depolarizing:0.001, readout:0.01 or depolarizing:0.001+readout:0.01"


@dataclass(frozen=True)
class Noise:
    """One level of noise: the probability of each kind, 0 for none. Raises `UsageError` outside 0..1."""

    depolarizing: float = 0.0
    readout: float = 0.0

    def __post_init__(self) -> None:
        for name in NOISES:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UsageError(f"the probability of {name} noise is {value:g}; allowed: 0 to 1", _EXAMPLE)

    @property
    def name(self) -> str:
        """How a user writes it; ``none`` without any."""
        parts = [f"{name}:{float(getattr(self, name))!r}" for name in NOISES if getattr(self, name) > 0]
        return "+".join(parts) or NO_NOISE


def parse_noises(text: str | None) -> tuple[Noise, ...]:
    """``"none,depolarizing:1e-3"`` -> levels of noise in their order; nothing -> one level without any.

    Raises:
        UsageError: an unknown name, no number, a probability outside 0..1, or a level given twice.
    """
    levels = tuple(_level(part.strip()) for part in text.split(",")) if text else (Noise(),)
    for number, level in enumerate(levels):
        if level in levels[:number]:
            raise UsageError(f"the noise {level.name} is given twice", "give each level once")
    return levels


def _level(text: str) -> Noise:
    if text == NO_NOISE:
        return Noise()
    found: dict[str, float] = {}
    for part in text.split("+"):
        name, _, number = (word.strip() for word in part.partition(":"))
        if name not in NOISES:
            raise UsageError(f"unknown noise '{name}'", suggestion(name, (*NOISES, NO_NOISE)))
        if name in found:
            raise UsageError(f"the noise '{text}' has {name} twice", _EXAMPLE)
        found[name] = _probability(name, number)
    return Noise(**found)


def _probability(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"the probability of {name} noise is '{text}', not a number", _EXAMPLE) from None
