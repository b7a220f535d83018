"""The rival's side of the conversation: one JSON object a line on stdin, one answer a line on stdout.

    {"do": "prepare", "case": FILE.npz, "answer": FILE.npz}   ->  {"modes": {name: seconds or error}}
    {"do": "run", "mode": NAME}                               ->  {"seconds"}
    {"do": "release"}                                         ->  {}
    anything that fails                                       ->  {"error"}

A worker's script gives `serve` one function, ``build(case) -> {mode: step}``; a step takes no arguments,
does one forward pass and one vector-Jacobian product, and returns ``(p (b, 2**n) or None, gradient (b, L,
n, r))``, finished and on the host. `prepare` calls every mode twice, so that compiling is over, and keeps
the fastest.

Runs in the rival's own environment: standard library and NumPy only. What libraries print goes to stderr.
"""

import contextlib
import gc
import json
import os
import sys
import time
from dataclasses import dataclass

import numpy as np

#: A step shorter than this is run once, untimed, before each timed one: the engine has emptied the caches. In
#: `prepare` a longer one is not called twice, unless its first call compiles.
SHORT = 1.0


@dataclass(frozen=True)
class Case:
    """A circuit gate by gate, its angles and the cotangent.

    `gates` are (name, wires, (layer, qubit, kind) or None); theta is (b, L, n, r), v (b, 2**n), both float32.
    """

    qubits: int
    layers: int
    circuits: int
    gates: list
    theta: np.ndarray
    v: np.ndarray

    @property
    def first_layer(self):
        """The gates of layer 0: the benchmark's entangler is the same in each, and answers are checked."""
        return self.gates[: len(self.gates) // self.layers]


def read_case(path):
    """What `suite.write_case` wrote."""
    with np.load(path) as file:
        gates = [
            (name, tuple(wires), None if at is None else tuple(at))
            for name, wires, at in json.loads(str(file["gates"]))
        ]
        b, layers, n, _ = file["theta"].shape
        return Case(n, layers, b, gates, file["theta"], file["v"])


def timed(step):
    """Seconds of one call, and what it returned."""
    start = time.perf_counter()
    answer = step()
    return time.perf_counter() - start, answer


def attempt(steps, compiled):
    """{mode: seconds or the error}, {mode: answer}; a mode that fails has no answer."""
    modes, answers = {}, {}
    for name, step in steps.items():
        try:
            modes[name], answers[name] = timed(step)
            if compiled or modes[name] < SHORT:
                modes[name], answers[name] = timed(step)
        except Exception as error:
            answers.pop(name, None)
            modes[name] = f"{type(error).__name__}: {error}"[:500]
    return modes, answers


def arrays(answers):
    """{"mode/p": ..., "mode/gradient": ...}, without what a mode does not give."""
    parts = {
        f"{mode}/{part}": value
        for mode, answer in answers.items()
        for part, value in zip(("p", "gradient"), answer, strict=True)
    }
    return {name: np.asarray(value) for name, value in parts.items() if value is not None}


class Session:
    """What a worker holds between two lines: the steps that are ready to run."""

    def __init__(self, build, compiled):
        self.build, self.compiled = build, compiled
        self.steps = {}

    def answer(self, line):
        """The answer to one line, as plain data."""
        try:
            return getattr(self, f"_{line['do']}")(line)
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"[:1000]}

    def _prepare(self, line):
        self._release(line)
        self.steps = self.build(read_case(line["case"]))
        modes, answers = attempt(self.steps, self.compiled)
        np.savez(line["answer"], **arrays(answers))
        return {"modes": modes}

    def _run(self, line):
        step = self.steps[line["mode"]]
        seconds = timed(step)[0]
        return {"seconds": timed(step)[0] if seconds < SHORT else seconds}

    def _release(self, line):
        self.steps = {}
        gc.collect()
        return {}


def serve(build, compiled=False):
    """Answers line after line until stdin ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # if memory runs out, this process is the one to end
    session = Session(build, compiled)
    for line in sys.stdin:
        replies.write(json.dumps(session.answer(json.loads(line))) + "\n")
        replies.flush()
