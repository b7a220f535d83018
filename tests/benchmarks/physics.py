"""The physical limit: the bytes that a forward and backward pass must move, at this machine's bandwidth.

    S = b * 2**n * (4 bytes a real amplitude, 8 a complex one)
    forward    reads and writes psi once a layer                     2 S L
    backward   reads and writes psi and lambda once a layer          4 S L
    bound      6 S L / bandwidth

It holds for whatever goes through all layers one after the other and stores the state between them. An
engine that keeps a block of the state in a cache for several layers moves less, and may pass it. The
bandwidth is that of copying arrays over all threads, read plus written, the best of several, as STREAM
counts it: once with arrays far larger than any cache, once with arrays of the state's own size, since a
small state never leaves the cache.
"""

from __future__ import annotations

import functools
import time

import torch

from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec

LARGE = 2**28
REPEATS = 7
#: A single copy of a small array is over before the clock has moved.
LEAST_BYTES = 2**26


def state_bytes(circuit: CircuitSpec) -> int:
    """S: one state of every circuit of the batch, float32 or complex64."""
    return circuit.outcomes * (4 if ANSATZE[circuit.ansatz].real else 8)


def bytes_moved(circuit: CircuitSpec) -> int:
    """6 S L."""
    return 6 * state_bytes(circuit) * circuit.layers


def bound(circuit: CircuitSpec, bandwidth: float) -> float:
    """Seconds; `bandwidth` in bytes a second."""
    return bytes_moved(circuit) / bandwidth


@functools.cache
def bandwidth(size: int, device: str = "cpu") -> float:
    """Bytes a second, read plus written, of copying `size` bytes to another place."""
    source = torch.ones(size // 4, device=device)
    target = torch.zeros_like(source)
    copies = max(1, LEAST_BYTES // size)
    return max(2 * size * copies / _seconds(source, target, copies) for _ in range(REPEATS))


def _seconds(source: torch.Tensor, target: torch.Tensor, copies: int) -> float:
    wait = torch.cuda.synchronize if source.is_cuda else (lambda: None)
    wait()
    start = time.perf_counter()
    for _ in range(copies):
        target.copy_(source)
    wait()
    return time.perf_counter() - start
