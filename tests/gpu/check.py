"""The rows of the GPU's table: tests, the engine, large models, ResNet-20. See `check.sh`.

    check            what is measured                                                  fails where
    tests            the tests that name CUDA                                          one fails
    engine           forward + VJP of all probabilities, L = 16: ms, first call, MB    it differs from the CPU
    lightning.gpu    the same gradient, where the package installs                     never: it is beside
    large            a step of 10 and 100 million weights, circuits, memory            `plan` fails
    fit              the digits, ten epochs, and their file on the CPU                 too little, another
    resnet20         8 KB beside random subspace and classical curve                   a run fails, no data

Each is a process of its own with its share of the eight minutes; one that takes longer has failed. Aims are
told with the figures, and fail nothing. `--device cpu` rehearses it at small sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: What the issue asks of one NVIDIA GPU: milliseconds of 20 qubits, RY+RZ, and seconds of the first call.
AIM_MS, AIM_FIRST = 5.0, 1.0
#: Of the largest probability gradient, between float32 here and float64 on the CPU.
AGREES = 1e-3
#: The test accuracy of the digits after ten epochs; 360 rows of ten classes.
LEARNS = 0.5
TESTS = (
    "tests/quantum/test_statevector.py",
    "tests/quantum/test_gpu.py",
    "tests/training/test_devices.py",
    "tests/files/test_checkpoint.py",
    "tests/students/test_circuit.py",
)


@dataclass(frozen=True)
class Check:
    """A row: its name, its command, the seconds that it may take, and its line of what it printed."""

    name: str
    command: tuple[str, ...]
    limit: float
    tell: Callable[[str], str] = lambda out: (out.strip().splitlines() or ["nothing was printed"])[-1]


@dataclass(frozen=True)
class Outcome:
    """What came of a row."""

    name: str
    failed: bool
    seconds: float
    said: str


def run(check: Check) -> Outcome:
    """One row, in a process of its own."""
    started = time.perf_counter()
    try:
        done = subprocess.run(
            check.command, cwd=ROOT, capture_output=True, text=True, timeout=check.limit, check=False
        )
        said = check.tell(done.stdout if done.returncode == 0 else done.stdout + done.stderr)
        return Outcome(check.name, done.returncode != 0, time.perf_counter() - started, said)
    except subprocess.TimeoutExpired:
        return Outcome(check.name, True, check.limit, f"not done after {check.limit:.0f} s")


def engine(device: str, qubits: int, ansatz: str) -> str:
    """Milliseconds of a round, seconds of the first call, peak memory; compared with the CPU in float64."""
    import torch

    from qtrain_cli.quantum.circuit import CircuitSpec
    from qtrain_cli.quantum.statevector import probabilities

    circuit, random = CircuitSpec(ansatz, "cnot-ring", qubits, 16), torch.Generator().manual_seed(0)
    angles = 6.28 * torch.rand(circuit.angle_shape, generator=random)
    v = torch.randn(1, 2**qubits, generator=random)

    def gradient(theta: torch.Tensor, cotangent: torch.Tensor) -> torch.Tensor:
        probabilities(circuit, theta).backward(cotangent)
        return theta.grad

    def once() -> float:
        theta, cotangent = angles.clone().to(device).requires_grad_(), v.to(device)
        _wait(device)
        started = time.perf_counter()
        gradient(theta, cotangent)
        _wait(device)
        return time.perf_counter() - started

    first, rounds = once(), [once() for _ in range(10)]
    apart = ""
    if qubits <= 20:
        found = gradient(angles.clone().to(device).requires_grad_(), v.to(device)).cpu().double()
        exact = gradient(angles.double().requires_grad_(), v.double())
        share = float((found - exact).abs().max() / exact.abs().max())
        if share > AGREES:
            raise SystemExit(f"{ansatz} {qubits}: the gradient is {share:.1g} of its largest entry off")
        apart = f", {share:.0e} off float64"
    milliseconds = 1e3 * min(rounds)
    aim = "" if (qubits, ansatz) != (20, "efficient-su2") else _aim(milliseconds, first)
    held = f", {torch.cuda.max_memory_allocated() / 1e6:,.0f} MB" if device == "cuda" else ""
    return f"{milliseconds:.2f} ms, first call {first:.2f} s{held}{apart}{aim}"


def _aim(milliseconds: float, first: float) -> str:
    met = milliseconds <= AIM_MS and first <= AIM_FIRST
    return f"; at most {AIM_MS:g} ms and {AIM_FIRST:g} s are {'met' if met else 'not met'}"


def lightning(qubits: int) -> str:
    """The adjoint gradient of <diag(v)> by lightning.gpu, complex64, 16 layers of RY+RZ."""
    import numpy as np
    import torch

    try:
        import pennylane as qml
        import scipy.sparse

        device = qml.device("lightning.gpu", wires=qubits, c_dtype=np.complex64)
    except Exception as error:
        return f"not run: {str(error).splitlines()[0]}"
    from qtrain_cli.quantum.circuit import CircuitSpec
    from qtrain_cli.quantum.operations import operations

    circuit = CircuitSpec("efficient-su2", "cnot-ring", qubits, 16)
    diagonal = scipy.sparse.diags(torch.randn(2**qubits).numpy().astype("complex64"), format="csr")
    observable = qml.SparseHamiltonian(diagonal, wires=range(qubits))

    @qml.qnode(device, interface="torch", diff_method="adjoint")
    def expectation(angles: torch.Tensor) -> object:
        for one in operations(circuit):
            at = () if one.angle is None else (angles[one.angle],)
            getattr(qml, one.gate.name)(*at, wires=one.wires)
        return qml.expval(observable)

    angles = torch.rand(circuit.angle_shape[1:], requires_grad=True)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        torch.autograd.grad(expectation(angles), angles)
        times.append(time.perf_counter() - started)
    return f"{1e3 * min(times):.1f} ms, first call {times[0]:.2f} s"


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def qtrain(*words: str) -> dict[str, Any]:
    """What a command prints as JSON. Raises `SystemExit` with what it says where it fails."""
    command = [sys.executable, "-m", "qtrain_cli", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def large(device: str, weights: float) -> str:
    """A step of a wide network, as `plan` measures it."""
    from benchmarks.scale import prepare, width_for

    width = width_for(weights)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, width, 1)
        found = qtrain(
            "plan", str(folder / "wide.safetensors"), "--params", "10000",
            "--arch", f"{folder / 'wide.py'}:wide", "--arch-args", json.dumps({"width": width}),
            "--input-shape", "784", "--batch-size", "128", "--device", device,
        )  # fmt: skip
    return (
        f"{1e3 * found['seconds_per_step']:.1f} ms a step, circuits {1e3 * found['circuit_seconds']:.1f};"
        f" {found['circuits']} x {found['qubits']} x {found['layers']}, {found['memory_bytes'] / 1e6:,.0f} MB"
    )


def fit(device: str) -> str:
    """A whole fit on the device, whose file gives its weights on the CPU."""
    digits = ROOT / "samples" / "digits"
    with tempfile.TemporaryDirectory() as name:
        out = str(Path(name, "digits.qtrain"))
        words = (str(digits / "digits_cnn_module.pt"), "--data", str(digits / "digits.npz"), "--epochs", "10")
        record = qtrain("compress", *words, "--device", device, "-o", out)
        qtrain("verify", out)
    found, where = record["test_accuracy"], record["device"]
    if found < LEARNS or not where.startswith(device):
        raise SystemExit(f"{found:.2%} on {where}; needed: {LEARNS:.0%} on {device}")
    return f"{found:.2%} in {record['seconds']:.1f} s; the CPU regenerates the same digest"


def resnet_words(device: str, checkpoint: Path, data: Path, epochs: int, state: Path) -> tuple[str, ...]:
    """The comparison of ours, random subspace and classical curve; a quarter of the epochs is run."""
    return (
        "compare", str(checkpoint), "--data", str(data),
        "--arch", f"{ROOT / 'samples' / 'resnet20_cifar10.py'}:ResNet20", "--mean", "0.485,0.456,0.406",
        "--std", "0.229,0.224,0.225", "--bytes", "8KB", "--methods", "ours,subspace,classical-curve",
        "--seeds", "1", "--epochs", str(epochs), "--batch-size", "512", "--augment", "flip,crop",
        "--precision", "bf16", "--quick", "--device", device, "--state", str(state),
    )  # fmt: skip


def resnet(device: str, shared: Path, epochs: int) -> str:
    """Test accuracies of ours, random subspace and classical curve at the bytes of 10,000 numbers."""
    checkpoint, data = shared / "models" / "resnet20-12fca82f.th", shared / "data" / "cifar10"
    if not (checkpoint.exists() and data.exists()):
        raise SystemExit(f"no {checkpoint.name} and cifar10 in '{shared}': --shared names where they are")
    with tempfile.TemporaryDirectory() as folder:
        return told_cells(qtrain(*resnet_words(device, checkpoint, data, epochs, Path(folder))))


def told_cells(document: dict[str, Any]) -> str:
    """Each method with its test accuracy. Raises `SystemExit` where one has none."""
    cells = document["cells"]
    if missing := [f"{cell['method']}: {cell['note']}" for cell in cells if cell["end"] != "done"]:
        raise SystemExit("; ".join(missing))
    return ", ".join(f"{cell['method']} {cell['test']:.2%}" for cell in cells)


PARTS: dict[str, Callable[..., str]] = {
    "engine": lambda device, qubits, ansatz: engine(device, int(qubits), ansatz),
    "lightning": lambda qubits: lightning(int(qubits)),
    "large": lambda device, weights: large(device, float(weights)),
    "fit": fit,
    "resnet": lambda device, shared, epochs: resnet(device, Path(shared), int(epochs)),
}


def checks(device: str, shared: Path) -> Iterator[Check]:
    """The rows: 480 seconds together on a GPU."""

    def part(*words: object) -> tuple[str, ...]:
        return (sys.executable, __file__, "--part", *map(str, words))

    gpu = device == "cuda"
    pytest = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "cuda", *TESTS)
    yield Check("tests that name CUDA", pytest, 60)
    for qubits in (16, 20, 24, 26) if gpu else (4, 8):
        for ansatz in ("real-amplitudes", "efficient-su2"):
            limit = 25 if qubits > 24 else 15
            yield Check(f"engine, {ansatz}, {qubits} qubits", part("engine", device, qubits, ansatz), limit)
    if gpu:
        yield Check("lightning.gpu, efficient-su2, 20 qubits", part("lightning", 20), 20)
    for weights in (1e7, 1e8) if gpu else (1e5,):
        yield Check(f"{weights:,.0f} weights", part("large", device, weights), 45)
    yield Check("a whole fit of the digits", part("fit", device), 40)
    if gpu:
        yield Check("ResNet-20, CIFAR-10", part("resnet", device, shared, 20), 130)


def main() -> int:
    """Runs the rows, prints the table, says what failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--only", action="append", default=[], help="rows whose name has this; repeatable")
    asked = parser.parse_args()
    print("| check | result | seconds |\n|---|---|---:|", flush=True)
    failed = 0
    for check in checks(asked.device, asked.shared):
        if asked.only and not any(part in check.name for part in asked.only):
            continue
        outcome = run(check)
        failed += outcome.failed
        word = "FAILED: " if outcome.failed else ""
        print(f"| {outcome.name} | {word}{outcome.said} | {outcome.seconds:.1f} |", flush=True)
    print(f"{failed} failed" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    os.environ["PYTHONPATH"] = f"{ROOT}:{ROOT / 'tests'}"
    if sys.argv[1:2] == ["--part"]:
        print(PARTS[sys.argv[2]](*sys.argv[3:]))
    else:
        sys.exit(main())
