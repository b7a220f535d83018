"""One reader under atheris, until libFuzzer's time is over.

Findings are written to FOLDER/findings/READER, one file a fault, and the run goes on; what ends a process (a
crash, a hang, too much memory) is written there by libFuzzer. FOLDER/READER.json counts the inputs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import sys
import time
import warnings
from pathlib import Path
from random import Random
from typing import Any

import atheris
import torch
from torch._weights_only_unpickler import Unpickler

with atheris.instrument_imports(include=["qtrain_cli", "tomllib", "pickletools"]):
    from fuzz import readers
    from fuzz.judge import Finding, judged, was_read
    from fuzz.shapes import mutated

    import qtrain_cli.models.untrusted.stock_layers  # noqa: F401

#: Of one input: bytes, seconds of the processor, seconds until the process is ended, its megabytes.
MOST_BYTES, MOST_SECONDS, ENDED_AFTER, MEGABYTES = 2**16, 10, 60, 2048
#: For all seeds together.
WARM_AFTER = 900


class Harness:
    """One reader's inputs: each in the same file, judged and counted."""

    def __init__(self, name: str, folder: Path, work: Path) -> None:
        self._reader = readers.READERS[name]
        self._count, self._out, self._folder = folder / f"{name}.json", folder / "findings" / name, work
        self._known = {path.name for path in self._out.iterdir()}
        self._inputs, self._slowest = 0, 0.0
        self._began = self._told = time.monotonic()

    def warm_up(self, corpus: Path) -> None:
        """Writes the seeds for libFuzzer, as it names files; reads each, so that honest imports are known."""
        ended = {path.name.rpartition("-")[2] for path in self._out.iterdir()}
        for data in self._reader.seeds():
            name = hashlib.sha1(data).hexdigest()
            if len(data) > MOST_BYTES or name in ended:
                continue
            (corpus / name).write_bytes(data)
            path = self._reader.place(data, self._folder)
            for door in self._reader.doors:
                with contextlib.suppress(Exception):  # a finding, which the run will judge
                    was_read(door, path)

    def begin(self) -> None:
        """Time counts from now on."""
        self._began = time.monotonic()

    def one(self, data: bytes) -> None:
        """Judges one input."""
        path = self._reader.place(data, self._folder)
        started = time.process_time()
        found = judged(self._reader.doors, path, self._folder)
        took = time.process_time() - started
        if took > MOST_SECONDS and not found:
            found = Finding("slow", f"{took:.0f} seconds")
        self._slowest, self._inputs = max(self._slowest, took), self._inputs + 1
        if found:
            self._keep(found, data)
        if time.monotonic() - self._told > 1:
            self._tell()

    def mutated(self, data: bytes, most: int, seed: int) -> bytes:
        """Another input: libFuzzer's own mutation, but in parts of the format."""

        def raw(part: bytes) -> bytes:
            return bytes(atheris.Mutate(part, len(part) + 64))

        return mutated(self._reader.mutate, data, Random(seed), raw, most)

    def _keep(self, found: Finding, data: bytes) -> None:
        if found.name not in self._known:
            self._known.add(found.name)
            (self._out / found.name).write_bytes(data)
            print(f"FINDING {found.what} | {found.where}", file=sys.stderr, flush=True)
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        seconds = {"seconds": round(self._told - self._began), "slowest": round(self._slowest, 2)}
        counted = {"inputs": self._inputs, "findings": len(self._known), **seconds}
        self._count.write_text(json.dumps(counted))


def fuzz(task: Any) -> None:
    """Does a `Task` in a process of its own, which libFuzzer ends."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    atheris.instrument_func(Unpickler.load)
    own, kept = task.folder / "corpus" / task.name, Path(__file__).parent / "corpus" / task.name
    signal.alarm(WARM_AFTER)
    harness = Harness(task.name, task.folder, task.work)
    harness.warm_up(own)
    signal.alarm(0)
    print(f"warm after {time.process_time():.1f} seconds of the processor", file=sys.stderr, flush=True)
    options = {
        "max_total_time": max(1, int(task.left)), "timeout": ENDED_AFTER, "rss_limit_mb": MEGABYTES,
        "max_len": MOST_BYTES, "len_control": 0, "report_slow_units": 10**6,
        "artifact_prefix": f"{task.folder}/findings/{task.name}/",
        "seed": task.seed + task.ended if task.seed else 0,
    }  # fmt: skip
    said = [f"-{name}={value}" for name, value in options.items()]
    places = [str(own), *([str(kept)] if kept.is_dir() else [])]
    atheris.Setup([sys.argv[0], *said, *places], harness.one, custom_mutator=harness.mutated)
    harness.begin()
    atheris.Fuzz()
