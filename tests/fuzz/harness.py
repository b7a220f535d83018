"""One reader under atheris until libFuzzer's time is over: ``python harness.py READER FOLDER [-OPTION=...]``

Findings are written to FOLDER/findings/READER, one file a fault, and the run goes on; what ends a process (a
crash, a hang, too much memory) is written there by libFuzzer. FOLDER/READER.json counts inputs and refusals.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from random import Random

import atheris
import torch
from torch._weights_only_unpickler import Unpickler

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]
#: What is watched for new branches, beside the reader of pickles.
PACKAGES = ["qtrain_cli", "tomllib", "pickletools"]
#: Of one seed; of one input, in the processor's time.
MOST_BYTES, MOST_SECONDS = 2**16, 10
#: Where a file costs least.
FAST = Path("/dev/shm")

with atheris.instrument_imports(include=PACKAGES):
    from fuzz.judge import Finding, judged, was_read
    from fuzz.readers import READERS, Reader
    from fuzz.shapes import mutated

    import qtrain_cli.models.untrusted.stock_layers  # noqa: F401


class Harness:
    """One reader's inputs: each in the same file, judged and counted."""

    def __init__(self, name: str, folder: Path) -> None:
        self._reader: Reader = READERS[name]
        self._count, self._out = folder / f"{name}.json", folder / "findings" / name
        self._out.mkdir(parents=True, exist_ok=True)
        self._known = {path.name for path in self._out.iterdir()}
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=FAST if FAST.is_dir() else None))
        self._inputs, self._told, self._slowest = 0, time.monotonic(), 0.0

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
        counted = {"inputs": self._inputs, "findings": len(self._known), "slowest": round(self._slowest, 2)}
        self._count.write_text(json.dumps(counted))


def main() -> None:
    """Sets one harness up and hands over to libFuzzer, which ends the process."""
    name, folder, *options = sys.argv[1:]
    torch.set_num_threads(1)
    atheris.instrument_func(Unpickler.load)
    warnings.simplefilter("ignore")
    harness = Harness(name, Path(folder))
    harness.warm_up(Path(folder) / "corpus" / name)
    atheris.Setup([sys.argv[0], *options], harness.one, custom_mutator=harness.mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
