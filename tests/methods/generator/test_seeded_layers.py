"""Layers before the trained ones that stay at their seeded start: no bytes, no gradient, all the mixing."""

import format_reader
import pytest
import torch
from artifacts import artifact_of, numbers_of, weights_of
from artifacts import spec_of as small_spec

from qtrain_cli.artifact.container import container_of
from qtrain_cli.artifact.numbers import decode_artifact, encode_artifact
from qtrain_cli.errors import BadInput
from qtrain_cli.methods.generator.angles import start_angles
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.method import Weights
from qtrain_cli.methods.generator.plan import ANGLES, MAPPING, forms, plan_of, spec_of
from qtrain_cli.methods.generator.sizes import MAX_CODED_ANGLES, check_work
from qtrain_cli.methods.generator.spec import RAW_BITS
from qtrain_cli.quantum import statevector
from qtrain_cli.quantum.circuit import ANSATZE
from qtrain_cli.runs.regenerate import stored_angles
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry

WIDE = LayoutSpec((TensorEntry("w", (90, 40), "F32", GENERATED, 30),))


@pytest.mark.parametrize("bits", [5, RAW_BITS])
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_a_file_holds_the_trained_layers_alone(ansatz, bits):
    spec = small_spec(layers=5, circuits=2, bits=bits, ansatz=ansatz, seeded=3)
    plain = small_spec(layers=2, circuits=2, bits=bits, ansatz=ansatz)
    assert spec.trained_shape == plain.circuit.angle_shape and spec.trained_numbers == plain.trained_numbers
    assert spec_of(spec.layout, plan_of(spec)) == spec and plan_of(spec)["angles"][2:] == [3]
    artifact = artifact_of(spec, numbers_of(spec), measured=None)
    data = encode_artifact(artifact)
    own = decode_artifact(container_of("x", data))
    whole, start = stored_angles(spec, own.numbers), start_angles(spec.circuit, spec.angles.start_seed)
    assert whole.shape == spec.circuit.angle_shape and torch.equal(whole[:, :3], start[:, :3])
    assert not torch.equal(whole[:, 3:], start[:, 3:])
    found = format_reader.read(data)  # from the page alone
    assert found.sha256 == found.digest == artifact.description.digest.sha256


def test_training_and_the_file_agree_and_the_first_layers_run_once(monkeypatch):
    spec = small_spec(WIDE, layers=9, circuits=4, bits=6, seeded=7)
    numbers = numbers_of(spec)
    ran, real = [], statevector._Probabilities.apply
    weights = Weights(spec.layout, plan_of(spec), torch.device("cpu"), torch.float32)
    monkeypatch.setattr(statevector._Probabilities, "apply", lambda *args: ran.append(args) or real(*args))
    theta = stored_angles(spec, numbers)[:, 7:].float().requires_grad_()
    mapping = numbers.groups[MAPPING].float()
    for _ in range(2):
        made = weights({ANGLES: theta, MAPPING: mapping})["w"]
    made.square().sum().backward()
    assert theta.grad.shape == spec.trained_shape and bool(theta.grad.any())
    assert [args[2].first for args in ran] == [7, 7] and ran[0][2] is ran[1][2]
    torch.testing.assert_close(made.flatten().double(), weights_of(spec, numbers), rtol=1e-4, atol=1e-5)


def test_a_shallow_circuit_behind_them_is_as_spread_as_a_deep_one():
    """var(z) is 2 for real amplitudes that are spread as by chance; one layer alone has far more."""
    layout = LayoutSpec((TensorEntry("w", (2**14,), "F32", GENERATED, 30),))
    found = {}
    for seeded in (0, 11):
        spec = small_spec(layout, layers=1 + seeded, circuits=8, seeded=seeded)
        start = start_angles(spec.circuit, 0)[:, seeded:]
        found[seeded] = float(Generator(spec, dtype=torch.float64).standardised(start).var())
    assert abs(found[11] - 2) < 0.5 and found[0] > 10


def test_a_small_file_asks_for_no_more_seeded_angles_than_others_may_code():
    """A stranger's: they cost it nothing, and the reader memory."""
    layout = LayoutSpec((TensorEntry("w", (4,), "F32", GENERATED, 30),))
    check_work(small_spec(layout, layers=MAX_CODED_ANGLES // 2, seeded=MAX_CODED_ANGLES // 2 - 1))
    more = small_spec(layout, layers=MAX_CODED_ANGLES, seeded=MAX_CODED_ANGLES - 1)
    with pytest.raises(BadInput, match="with the seeded ones there are 8388608 angles; allowed: 4194304"):
        check_work(more)


def test_none_is_left_to_train_or_too_few_are_seeded():
    with pytest.raises(BadInput, match="3 of 3 layers are seeded: none is left to train"):
        small_spec(layers=3, seeded=3)
    spec = small_spec(layers=4, seeded=1)
    for angles in ([8, 7, 0], [8, 7, -1], [8, 7, 1, 1], [8, 7, 1.0]):
        with pytest.raises(BadInput):
            spec_of(spec.layout, plan_of(spec) | {"angles": angles})
    assert forms(spec.layout, plan_of(spec))[ANGLES].shape == spec.trained_shape
