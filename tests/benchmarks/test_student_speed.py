"""An epoch of the hybrid student on MNIST's 60,000 images, and as PennyLane's TorchLayer beside it.

    python -m pytest tests/benchmarks/test_student_speed.py -q -s

Not part of the plain test run, and no time is asserted: machines are shared and noisy. Both students are the
same network: the same front (one module, ours) and head, 6 qubits, the same feature map and EfficientSU2. One
step is forward, backward and a fused Adam step on a batch of 128. Rounds of both alternate within one process
and take about as long, the median of each counts, and an epoch is 469 steps, extrapolated. The rival is
`qml.qnn.TorchLayer` on `default.qubit` with backprop, which takes the batch by broadcasting. Images are
random: a step's time does not depend on them. Circuit and head are timed alone too.

Measured on two idle cores, one thread, times of the whole step: 46 for Qiskit's defaults, 82 with a linear
front, 19.9 for `reps=2` behind the map `z`; with two threads 41, 92 and 17. Busy cores make two threads lose.
"""

import os
import statistics
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from qtrain_cli.quantum.pennylane_bridge import student_qnode
from qtrain_cli.students.networks import build
from qtrain_cli.students.spec import Student, parse_student

BATCH, STEPS, ROUNDS = 128, 469, 7
#: Steps in a round: about as long for both, and longer than a slice of a shared processor.
OURS, THEIRS = 100, 5


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


def step_of(module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    """One training step, the same for both."""
    optimizer = torch.optim.Adam(module.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images), labels).backward()
        optimizer.step()

    return step


def clocks() -> tuple[float, float]:
    """Seconds on the wall, and of processors."""
    return time.perf_counter(), time.process_time()


def seconds(step: Callable[[], None], steps: int) -> tuple[float, float]:
    """Of one step, by either clock."""
    wall, processor = clocks()
    for _ in range(steps):
        step()
    after = clocks()
    return (after[0] - wall) / steps, (after[1] - processor) / steps


def compared(ours: nn.Module, theirs: nn.Module, images: torch.Tensor) -> list[tuple[float, float]]:
    """Median seconds of a step of ours and theirs by either clock: ((ours, theirs) wall, (...) processor)."""
    labels = torch.arange(BATCH) % 10
    steps = [(step_of(ours, images, labels), OURS), (step_of(theirs, images, labels), THEIRS)]
    for step, _ in steps:
        step()
    rounds = [[seconds(step, count) for step, count in steps] for _ in range(ROUNDS)]
    medians = [[statistics.median(one[who][clock] for one in rounds) for who in (0, 1)] for clock in (0, 1)]
    return [(pair[0], pair[1]) for pair in medians]


@pytest.mark.parametrize(
    "text",
    (
        "hybrid:qubits=6,reps=2",
        "hybrid:qubits=6,reps=3,feature-map=zz,map-reps=2",
        "hybrid:qubits=6,reps=3,feature-map=zz,map-reps=2,front=linear",
    ),
)
@pytest.mark.parametrize("threads", sorted({1, os.cpu_count() or 1}))
def test_an_epoch_of_the_hybrid_student(text, threads, capsys):
    student = Student(parse_student(text), (1, 28, 28), 10)
    ours, theirs = build(student, seed=0), rival_of(text)
    images = torch.rand(BATCH, 1, 28, 28)
    torch.testing.assert_close(ours(images), theirs(images).float(), rtol=0, atol=1e-4)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    whole = compared(ours, theirs, images)
    alone = compared(nn.Sequential(ours.circuit, ours.head), theirs[1:], torch.rand(BATCH, 6))
    torch.set_num_threads(before)
    with capsys.disabled():
        print(f"\n{text}, {threads} threads")
        for clock, epoch, circuit in zip(("wall", "processor"), whole, alone, strict=True):
            times, inner = epoch[1] / epoch[0], circuit[1] / circuit[0]
            print(
                f"  {clock}: an epoch {STEPS * epoch[0]:.2f} s, TorchLayer {STEPS * epoch[1]:.1f} s,"
                f" {times:.1f} times; circuit and head {1e3 * circuit[0]:.2f} ms a step,"
                f" TorchLayer {1e3 * circuit[1]:.1f} ms, {inner:.1f} times"
            )
