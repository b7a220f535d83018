"""Whether the outcomes of circuits at their start are spread as by chance, before anything is trained.

    var(z) = mean((2**n p - 1)**2)            of all outcomes, whose mean is exactly 0
    a random state of N amplitudes            (N - 1) / (N + 1) complex, 2 (N - 1) / (N + 2) real

(Porter and Thomas 1956.) Circuits that are less deep than wide stay near a product state: a few outcomes have
nearly all of the probability, z is -1 at the others, and nearly all weights are one and the same number. Such
a generator learns little; a loss that begins in the hundreds is the sign.
"""

from __future__ import annotations

import torch

from qtrain_cli.errors import BadInput
from qtrain_cli.methods.generator.angles import trained_start
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.planning import LARGE_WEIGHTS
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.quantum.circuit import ANSATZE

#: Times the variance of random states: above the first it is said, above the second a large model is refused.
SAID, REFUSED = 1.5, 4.0


def start_variance(spec: GeneratorSpec, device: torch.device) -> float:
    """Of z over all outcomes of all circuits, at the angles that training begins with."""
    generator = Generator(spec, device)
    with torch.no_grad():
        z = generator.all_probabilities(trained_start(spec).float().to(device))
        return float(z.mul_(z.shape[-1]).sub_(1).square_().mean(dtype=torch.float64))


def random_variance(spec: GeneratorSpec) -> float:
    """The same of random states of as many qubits."""
    amplitudes = 2**spec.circuit.qubits
    if ANSATZE[spec.circuit.ansatz].real:
        return 2 * (amplitudes - 1) / (amplitudes + 2)
    return (amplitudes - 1) / (amplitudes + 1)


def check_start(spec: GeneratorSpec, variance: float) -> str:
    """What is to be said of a start that is not spread; empty where it is.

    Raises:
        BadInput: of a large model, where it is far from that.
    """
    usual = random_variance(spec)
    if variance <= SAID * usual:
        return ""
    circuit = spec.circuit
    found = (
        f"{circuit.layers} layers of {circuit.qubits} qubits do not spread their outcomes: var(z) is"
        f" {variance:.3g} at the start, of random states {usual:.3g}"
    )
    advice = f"add --seeded-layers {max(1, circuit.qubits - circuit.layers + spec.angles.seeded)}"
    if spec.layout.generated > LARGE_WEIGHTS and variance > REFUSED * usual:
        raise BadInput(found, advice)
    return f"{found}; {advice}"
