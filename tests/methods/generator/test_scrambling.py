"""The start's variance against that of random states, and what is said or refused of one that is far off."""

import pytest
import torch
from artifacts import spec_of

from qtrain_cli.errors import BadInput
from qtrain_cli.methods.generator.angles import start_angles
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.scrambling import check_start, random_variance, start_variance
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry

CPU = torch.device("cpu")
LARGE = LayoutSpec((TensorEntry("w", (2**21 + 1,), "F32", GENERATED, 9),))
SMALL = LayoutSpec((TensorEntry("w", (4096,), "F32", GENERATED, 9),))


@pytest.mark.parametrize(("ansatz", "usual"), [("real-amplitudes", 2), ("efficient-su2", 1)])
def test_deep_circuits_are_as_random_ones(ansatz, usual):
    deep = spec_of(SMALL, layers=24, ansatz=ansatz)
    assert random_variance(deep) == pytest.approx(usual, rel=1e-3)
    assert start_variance(deep, CPU) == pytest.approx(usual, rel=0.15)
    assert check_start(deep, start_variance(deep, CPU)) == ""


def test_it_is_that_of_all_outcomes():
    spec = spec_of(SMALL, layers=5, circuits=2)
    z = Generator(spec, dtype=torch.float64).standardised(start_angles(spec.circuit, spec.angles.start_seed))
    assert start_variance(spec, CPU) == pytest.approx(float(z.square().mean()), rel=1e-4)


def test_seeded_layers_spread():
    shallow, seeded = spec_of(SMALL, layers=2), spec_of(SMALL, layers=14, seeded=12)
    assert start_variance(shallow, CPU) > 4 * start_variance(seeded, CPU)
    assert "add --seeded-layers 10" in check_start(shallow, start_variance(shallow, CPU))


def test_a_large_model_is_refused():
    spec = spec_of(LARGE, circuits=33, layers=1)
    with pytest.raises(BadInput, match=r"1 layers of 16 qubits do not spread .* var\(z\) is \d+ at"):
        check_start(spec, start_variance(spec, CPU))
