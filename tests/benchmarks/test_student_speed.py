"""An epoch of the hybrid student on MNIST's 60,000 images, and as PennyLane's TorchLayer beside it.

    python -m pytest tests/benchmarks/test_student_speed.py -q -s

Not part of the plain test run, and no time is asserted: machines are shared and noisy. Both students are the
same network: the same front and head, 6 qubits, the same feature map and EfficientSU2. One step is forward,
backward and an Adam step on a batch of 128; rounds alternate within one process, the median of each counts,
and an epoch is 469 steps. The rival is `qml.qnn.TorchLayer` on `default.qubit` with backprop, which takes the
batch by broadcasting. Images are random: a step's time does not depend on them. Circuit and head are timed
alone too, without the front that both share.
"""

import statistics
import time

import pytest
import torch
from torch import nn

from qtrain_cli.quantum.pennylane_bridge import student_qnode
from qtrain_cli.students.spec import Student, parse_student
from qtrain_cli.training.students import build

BATCH, STEPS, ROUNDS = 128, 469, 7


def rival_of(text: str) -> nn.Module:
    """The same student with PennyLane's layer in place of ours; parameters start alike."""
    import pennylane as qml

    module = build(Student(parse_student(text), (1, 28, 28), 10), seed=0)
    layout = module.circuit.layout
    run = student_qnode(layout.encoding, layout.circuit)

    def circuit(inputs, theta):
        return run.func(inputs, theta[None])

    node = qml.QNode(circuit, run.device, interface="torch", diff_method="backprop")
    layer = qml.qnn.TorchLayer(node, {"theta": layout.circuit.angle_shape[1:]})
    with torch.no_grad():
        layer.theta.copy_(module.circuit.theta[0])
    return nn.Sequential(module.front, layer, module.head)


def step_of(module: nn.Module, images: torch.Tensor, labels: torch.Tensor):
    """One training step, and its seconds."""
    optimizer = torch.optim.Adam(module.parameters())

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images), labels).backward()
        optimizer.step()
        return time.perf_counter() - start

    return step


def compared(ours: nn.Module, theirs: nn.Module, images: torch.Tensor) -> tuple[float, float]:
    """Median seconds of a step of each, in turn."""
    labels = torch.arange(BATCH) % 10
    steps = [step_of(module, images, labels) for module in (ours, theirs)]
    for step in steps:
        step()
    rounds = [(steps[0](), steps[0](), steps[1]()) for _ in range(ROUNDS)]
    return statistics.median(t for a, b, _ in rounds for t in (a, b)), statistics.median(
        c for *_, c in rounds
    )


@pytest.mark.parametrize(
    "text",
    (
        "hybrid:qubits=6,reps=2",
        "hybrid:qubits=6,reps=3,feature-map=zz,map-reps=2",
        "hybrid:qubits=6,reps=3,feature-map=zz,map-reps=2,front=linear",
    ),
)
def test_an_epoch_of_the_hybrid_student(text, capsys):
    student = Student(parse_student(text), (1, 28, 28), 10)
    ours, theirs = build(student, seed=0), rival_of(text)
    images = torch.rand(BATCH, 1, 28, 28)
    torch.testing.assert_close(ours(images), theirs(images).float(), rtol=0, atol=1e-4)
    took, other = compared(ours, theirs, images)
    features = torch.rand(BATCH, 6)
    alone = compared(nn.Sequential(ours.circuit, ours.head), theirs[1:], features)
    with capsys.disabled():
        print(f"\n{text}: an epoch {STEPS * took:.1f} s, TorchLayer {STEPS * other:.1f} s")
        print(f"  {other / took:.1f} times; circuit and head alone {alone[1] / alone[0]:.1f} times,")
        print(f"  {1e3 * alone[0]:.2f} ms and {1e3 * alone[1]:.1f} ms a step")
