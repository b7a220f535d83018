"""One case after the other: the engine and every rival on the same circuit, angles and cotangent, in turns.

A rival's time counts only after its gradient (and its probabilities, where it gives them) agreed with the
engine's. A rival that would take longer than the budget, or more memory than there is, is not run, and the
estimate stands in its place: time is taken to grow as in `work` from the rival's last measured case of the
same ansatz.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks import environments, physics
from benchmarks.conversation import Failed, Worker, describe, worker
from benchmarks.rivals import Rival

from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.operations import operations
from qtrain_cli.quantum.statevector import probabilities

#: Float32 through a thousand gates is off by about 1e-5; a circuit with one wrong gate by about 1.
TOLERANCE = 1e-3
#: About as many amplitudes take as long as calling a gate does.
CALL = 2**13
#: Of the free memory, what a rival may be expected to take.
MEMORY_SHARE = 0.6


@dataclass(frozen=True)
class Budget:
    """Seconds: what one call of a rival may be expected to take, what preparing it may (compiling and a few
    calls), and what its rounds of one case may take together."""

    call: float
    prepare: float
    rounds: float


SMALL, LARGE = Budget(5, 90, 4), Budget(600, 1800, 20)


@dataclass
class Outcome:
    """What became of one rival in one case: its best seconds, or why there are none."""

    seconds: float | None = None
    mode: str = ""
    modes: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    difference: float | None = None


@dataclass
class Row:
    """One case: the engine's best seconds, everybody else's, the two bounds in seconds."""

    circuit: CircuitSpec
    engine: float
    gpu: float | None
    bound: float
    bound_cached: float
    rivals: dict[str, Outcome]


def inputs(circuit: CircuitSpec, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Angles and cotangent, the same for everybody."""
    generator = torch.Generator().manual_seed(circuit.qubits * 1000 + circuit.layers)
    theta = torch.rand(circuit.angle_shape, generator=generator).mul(6).sub(3)
    v = torch.randn(circuit.circuits, 2**circuit.qubits, generator=generator)
    return theta.to(device).requires_grad_(), v.to(device)


def engine_step(circuit: CircuitSpec, device: str = "cpu") -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """One forward and backward pass of the engine, finished when it returns."""
    theta, v = inputs(circuit, device)

    def step() -> tuple[np.ndarray, np.ndarray]:
        p = probabilities(circuit, theta)
        (gradient,) = torch.autograd.grad(p, theta, v)
        return p.detach().cpu().numpy(), gradient.cpu().numpy()

    return step


def write_case(circuit: CircuitSpec, path: Path) -> None:
    """The case as `workers/protocol.read_case` reads it."""
    theta, v = inputs(circuit)
    np.savez(path, gates=describe(circuit), theta=theta.detach().numpy(), v=v.numpy())


def disagreement(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    """The largest relative distance of a rival's answers to the engine's; infinite if not comparable."""
    worst = 0.0
    for name in theirs:
        if theirs[name].shape != ours[name].shape or not np.isfinite(theirs[name]).all():
            return float("inf")
        distance = np.linalg.norm((theirs[name] - ours[name]).astype(float))
        worst = max(worst, float(distance / np.linalg.norm(ours[name].astype(float))))
    return worst


def work(circuit: CircuitSpec) -> float:
    """What a rival's time is taken to grow with: gates x amplitudes, and what calling each gate costs."""
    return gates(circuit) * (circuit.outcomes + CALL)


def gates(circuit: CircuitSpec) -> int:
    """How many gates one of the circuits has."""
    return len(list(operations(circuit)))


def memory_needed(rival: Rival, circuit: CircuitSpec) -> float:
    """Bytes of the states that a rival keeps for its backward pass, complex64."""
    return rival.kept * 8 * gates(circuit) * circuit.outcomes


def memory_free() -> float:
    """Bytes that can be had; no limit where the system does not say."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    return float("inf")


def judged(modes: dict[str, Any], ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> Outcome:
    """The fastest mode that agrees with the engine; what is wrong with others stands in `modes`."""
    modes, right = dict(modes), {}
    for mode in [mode for mode, took in modes.items() if not isinstance(took, str)]:
        parts = {name: theirs[f"{mode}/{name}"] for name in ours if f"{mode}/{name}" in theirs}
        difference = disagreement(ours, parts) if "gradient" in parts else float("inf")
        if difference <= TOLERANCE:
            right[mode] = difference
        else:
            modes[mode] = f"wrong: differs from the engine by {difference:.1e}"
    if not right:
        return Outcome(modes=modes, reason="; ".join(dict.fromkeys(modes.values())))
    best = min(right, key=lambda mode: modes[mode])
    return Outcome(mode=best, modes=modes, difference=right[best])


class Contender:
    """One rival during a run: its process, and what it has taken so far."""

    def __init__(self, rival: Rival, process: Worker | None, error: str | None) -> None:
        self.rival, self.process, self.error = rival, process, error
        self.rates: dict[str, float] = {}

    def estimate(self, circuit: CircuitSpec) -> float | None:
        """Seconds a call is likely to take, None before its first case."""
        rate = self.rates.get(circuit.ansatz)
        return None if rate is None else rate * work(circuit)

    def declined(self, circuit: CircuitSpec, budget: Budget) -> str | None:
        """Why this case is not worth starting, or None."""
        if self.error is not None:
            return self.error
        if (seconds := self.estimate(circuit)) is not None and seconds > budget.call:
            return f"not run: over the budget of {budget.call:g} s a call (estimated {seconds:.1f} s)"
        if (needed := memory_needed(self.rival, circuit)) > MEMORY_SHARE * memory_free():
            return f"not run: needs about {needed / 2**30:.0f} GiB of memory"
        return None

    def prepare(
        self, circuit: CircuitSpec, ours: dict[str, np.ndarray], folder: Path, budget: Budget
    ) -> Outcome:
        """Compiles, warms up and checks; the outcome has no seconds yet."""
        if (reason := self.declined(circuit, budget)) is not None:
            return Outcome(reason=reason)
        answer = folder / "answer.npz"
        question = {"do": "prepare", "case": str(folder / "case.npz"), "answer": str(answer)}
        try:
            said = self.process.ask(question, budget.prepare)
        except Failed as failure:
            return Outcome(reason=str(failure))
        with np.load(answer) as theirs:
            outcome = judged(said["modes"], ours, dict(theirs))
        seconds = [took for took in said["modes"].values() if not isinstance(took, str)]
        if seconds:
            self.rates[circuit.ansatz] = min(seconds) / work(circuit)
        return outcome

    def round(self, outcome: Outcome, budget: Budget) -> None:
        """One timed call; the best counts."""
        try:
            took = self.process.ask({"do": "run", "mode": outcome.mode}, max(10 * budget.call, 60))["seconds"]
        except Failed as failure:
            outcome.seconds, outcome.reason = None, str(failure)
            return
        outcome.seconds = min(took, outcome.seconds or took)

    def release(self) -> None:
        """Lets the rival forget the case."""
        if self.process is not None:
            with contextlib.suppress(Failed):
                self.process.ask({"do": "release"}, 60)

    def close(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.close()


def contender(rival: Rival, folder: Path, threads: int) -> tuple[Contender, dict[str, str]]:
    """The rival, installed, and its versions; one that cannot be installed says so in every case."""
    python, error = environments.interpreter(rival, folder)
    if error is not None:
        return Contender(rival, None, f"not installed: {error}"), {}
    return Contender(rival, worker(python, rival.path, threads), None), environments.versions(rival, python)


class Match:
    """One case: `rounds` calls of everybody, one after the other."""

    def __init__(
        self, circuit: CircuitSpec, contenders: Iterable[Contender], folder: Path, budget: Budget
    ) -> None:
        self.circuit, self.budget = circuit, budget
        self.step = engine_step(circuit)
        p, gradient = self.step()
        write_case(circuit, folder / "case.npz")
        ours = {"p": p, "gradient": gradient}
        self.outcomes = {
            one.rival.name: (one, one.prepare(circuit, ours, folder, budget)) for one in contenders
        }
        self.spent = dict.fromkeys(self.outcomes, 0.0)
        self.best = float("inf")

    def before_round(self) -> None:
        """A round of every rival with time left, then the engine once untimed: they emptied the caches."""
        for name, (one, outcome) in self.outcomes.items():
            if outcome.reason is None and self.spent[name] < self.budget.rounds:
                start = time.perf_counter()
                one.round(outcome, self.budget)
                self.spent[name] += time.perf_counter() - start
        self.step()

    def round(self) -> None:
        """One call of the engine; the best counts."""
        start = time.perf_counter()
        self.step()
        self.best = min(self.best, time.perf_counter() - start)

    def finish(self) -> Row:
        """The row of the table; the rivals forget the case."""
        for one, _ in self.outcomes.values():
            one.release()
        size = physics.state_bytes(self.circuit)
        return Row(
            circuit=self.circuit,
            engine=self.best,
            gpu=gpu_seconds(self.circuit),
            bound=physics.bound(self.circuit, physics.bandwidth(physics.LARGE)),
            bound_cached=physics.bound(self.circuit, physics.bandwidth(size)),
            rivals={name: dataclasses.replace(outcome) for name, (_, outcome) in self.outcomes.items()},
        )


def gpu_seconds(circuit: CircuitSpec, rounds: int = 5) -> float | None:
    """The engine's best on the GPU, copies of the answer to the host included; None without one."""
    if not torch.cuda.is_available():
        return None
    step = engine_step(circuit, "cuda")
    step()
    return min(_seconds(step) for _ in range(rounds))


def _seconds(step: Callable[[], Any]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def cases(qubits: Iterable[int], layers: Iterable[int], ansatze: Iterable[str]) -> list[CircuitSpec]:
    """All combinations, small ones first: what a rival takes for one is its estimate for the next."""
    return [
        CircuitSpec(ansatz, "cnot-ring", n, depth)
        for n, depth, ansatz in itertools.product(qubits, layers, ansatze)
    ]
