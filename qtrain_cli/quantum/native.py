"""The compiled kernel: the same probabilities and gradients as `statevector`, for float32 on a CPU.

    forward(circuit, theta, begun)              -> p (b, 2**n), state (opaque)
    backward(circuit, theta, state, v, first)   -> gradient (b, L - first, n, r)

The sources stand in the folder `native` with their derivation, kernel.md. The extension is optional: where
it was not built, or QTRAIN_NATIVE=0 is set, `supports_circuit` says no and plain PyTorch does the work. With
QTRAIN_KERNEL=base it does without AVX2 and AVX-512, as on a processor that has neither.
float64 is left to PyTorch as well; what is regenerated from an artifact and hashed has steps of its own
(`portable_circuit`).

`state` is planar, (b, planes, max(2**n, 16)), and stands before the last entangler: only `backward`
reads it.
"""

from __future__ import annotations

import array
import functools
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.errors import UsageError
from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec

try:
    from qtrain_cli.quantum import _kernels  # type: ignore[attr-defined]
except ImportError:  # not built: no compiler, or a processor or system it does not know
    _kernels = None


def _level_asked() -> str:
    """What QTRAIN_KERNEL names; without it the best that the processor runs. Raises `UsageError`."""
    name = os.environ.get("QTRAIN_KERNEL") or "best"
    try:
        found: str = _kernels.use(name) if _kernels is not None else ""
    except ValueError as error:
        raise UsageError(f"QTRAIN_KERNEL is '{name}': {error}", "set it to base, or unset it") from None
    return found


#: The instruction set that the kernel works with on this processor, as `x86-64-v4`; empty without the kernel.
COMPILED_FOR: str = _level_asked()
#: Below so many amplitudes of one circuit, passes are too short to share: where other work runs on the
#: machine, threads wait for each other longer than they work.
THREADED_AMPLITUDES = 2**16
#: A batch is shared circuit by circuit, without waiting, from so many amplitudes on.
NATIVE_THREADED_OUTCOMES = 2**14
_FEWEST = 16  # amplitudes of a state, as in circuit.h
_ENTANGLERS = {("CNOT",): 1, ("CZ",): 2, ("ControlledPhaseShift", "CRY", "ControlledPhaseShift"): 3}
_ROTATIONS = {("RY",): "Y", ("RY", "RZ"): "YZ", ("RZ", "RY"): "ZY", ("RZ", "RY", "RZ"): "ZYZ"}


def available() -> bool:
    """True when the extension was built and QTRAIN_NATIVE does not forbid it."""
    return _kernels is not None and allowed()


def allowed() -> bool:
    """True when QTRAIN_NATIVE does not forbid what is compiled."""
    return os.environ.get("QTRAIN_NATIVE", "1") != "0"


def supports_circuit(circuit: CircuitSpec, theta: Tensor) -> bool:
    """True when the kernel does this circuit at these angles."""
    return (
        theta.device.type == "cpu" and theta.dtype == torch.float32 and available() and knows_circuit(circuit)
    )


def holds(tensors: Iterable[Tensor]) -> bool:
    """True for float32 tensors on the CPU with memory behind them; in an export there is none."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    return all(
        type(one) in (Tensor, nn.Parameter) and one.device.type == "cpu" and one.dtype == torch.float32
        for one in tensors
    )


def knows_circuit(circuit: CircuitSpec) -> bool:
    """True when the kernel has the gates of the circuit."""
    return (
        ANSATZE[circuit.ansatz].rotations in _ROTATIONS and ENTANGLERS[circuit.entangler].gates in _ENTANGLERS
    )


def forward(
    circuit: CircuitSpec, theta: Tensor, begun: tuple[int, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Probabilities (b, 2**n), and the state that `backward` needs.

    Args:
        circuit: of the kernel's gates.
        theta: (b, L, n, r).
        begun: so many layers, and the state that `forward` left of those alone; they are not run.
    """
    b, outcomes = circuit.circuits, 2**circuit.qubits
    planes = 1 if ANSATZE[circuit.ansatz].real else 2
    if begun is None:
        first, state = 0, theta.new_empty(b, planes, max(outcomes, _FEWEST))
    else:
        first, state = begun[0], begun[1].clone()
    p, shape = theta.new_empty(b, outcomes), _shape(circuit)
    _kernels.forward(shape, _array(theta), state.numpy(), p.numpy(), _threads(circuit), first)
    return p, state


def backward(circuit: CircuitSpec, theta: Tensor, state: Tensor, v: Tensor, first: int = 0) -> Tensor:
    """Gradient of sum(v * p) by the angles from layer `first` on, shape (b, L - first, n, r)."""
    gradient = torch.empty(circuit.angle_shape, dtype=theta.dtype)
    shape, threads = _shape(circuit), _threads(circuit)
    _kernels.backward(shape, _array(theta), state.numpy(), _array(v), gradient.numpy(), threads, first)
    return gradient[:, first:]


def _array(tensor: Tensor) -> Any:
    """The same numbers as a contiguous buffer."""
    return tensor.detach().contiguous().numpy()


def _threads(circuit: CircuitSpec) -> int:
    """Whole circuits are shared among threads, and a large one is walked by all of them."""
    threads = torch.get_num_threads()
    if 2**circuit.qubits >= THREADED_AMPLITUDES:
        return threads
    return min(threads, circuit.circuits) if circuit.outcomes >= NATIVE_THREADED_OUTCOMES else 1


@functools.lru_cache(maxsize=32)
def _shape(circuit: CircuitSpec) -> tuple[Any, ...]:
    """What the kernel wants to know of a circuit; the pairs of layers until they repeat as flat int32."""
    entangler = ENTANGLERS[circuit.entangler]
    period = min(entangler.period(circuit.qubits), circuit.layers)
    layers = [entangler.pattern(circuit.qubits, layer) for layer in range(period)]
    return (
        circuit.qubits,
        circuit.layers,
        circuit.circuits,
        _ROTATIONS[ANSATZE[circuit.ansatz].rotations],
        _ENTANGLERS[entangler.gates],
        circuit.final_rotation,
        period,
        len(layers[0]),
        array.array("i", [qubit for pairs in layers for pair in pairs for qubit in pair]),
    )


def samples_forward(shape: tuple[Any, ...], theta: Tensor, x: Tensor, e: Tensor) -> None:
    """A student's batch: fills `e` (`batches`)."""
    _kernels.samples_forward(shape, theta.numpy(), x.numpy(), e.numpy())


def samples_backward(
    shape: tuple[Any, ...], theta: Tensor, x: Tensor, v: Tensor, by_theta: Tensor, by_x: Tensor
) -> None:
    """A student's batch: fills both gradients (`batches`)."""
    _kernels.samples_backward(shape, theta.numpy(), x.numpy(), _array(v), by_theta.numpy(), by_x.numpy())


def lanes() -> int:
    """How many samples of a batch the kernel works on at a time."""
    found: int = _kernels.lanes()
    return found


def front_forward(stages: Any, weights: Tensor, images: Tensor, out: Tensor, state: Tensor) -> None:
    """A student's convolutions: fills `out` (N, channels) and `state` (`native/batch.h`)."""
    _kernels.front_forward(stages, len(images), weights.numpy(), images.numpy(), out.numpy(), state.numpy())


def front_backward(stages: Any, weights: Tensor, state: Tensor, v: Tensor, gradient: Tensor) -> None:
    """A student's convolutions: fills the gradient by all weights, given v (N, channels)."""
    _kernels.front_backward(stages, len(v), weights.numpy(), state.numpy(), _array(v), gradient.numpy())
