"""Seconds a step of one process and of several of one thread each, and the share that circuits have.

    python tests/benchmarks/processes.py MODEL DATA [--arch A] [--params 10000] [--processes 2] [--steps 25]
        [--pairs 4]

Runs in pairs, one process and then several, since a shared machine is quiet now and then: each run prints the
median of its steps, and the last line is of the pair that took least together. The circuits' part is a
forward and backward pass of the generator alone, in all processes at once, behind the steps.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class _Enough(Exception):
    """So many steps were taken."""


def measured(given: argparse.Namespace) -> dict[str, float]:
    """The medians in seconds, of this process and those beside it: a step, and the generator's part."""
    import torch

    from qtrain_cli.runs import making
    from qtrain_cli.runs.compress import compress_model
    from qtrain_cli.settings import BudgetSettings, CompressSettings, DataSettings, FitSettings, ModelSettings
    from qtrain_cli.training.ranks import joined_processes, present

    torch.set_num_threads(1)
    times: list[float] = []
    works = []

    def show(progress: object) -> None:
        times.append(time.perf_counter())
        if len(times) > given.steps:
            raise _Enough

    make = making.train

    def watched(trainee, *others):
        works.append(trainee)
        return make(trainee, *others)

    making.train = watched
    with joined_processes(), tempfile.TemporaryDirectory() as folder:
        settings = CompressSettings(
            ModelSettings(given.model, arch=given.arch),
            DataSettings(given.data, given.mean, given.std),
            BudgetSettings(params=given.params),
            FitSettings(epochs=50, batch_size=given.batch_size, device="cpu", processes=present().count),
            Path(folder, "out.qtrain"),
            own_lr=True,
        )
        with contextlib.suppress(_Enough):
            compress_model(settings, show, lambda line: print(line, file=sys.stderr, flush=True))
        steps = [after - before for before, after in itertools.pairwise(times[2:])]
        return {"step": statistics.median(steps), "generator": _generator(works[0]), "least": min(steps)}


def _generator(trainee) -> float:
    """Of the weights alone, forward and backward."""
    import torch

    times = []
    decode = trainee.decoded_at(0)
    for _ in range(8):
        started = time.perf_counter()
        torch.stack([part.sum() for part in decode(trainee.numbers).values()]).sum().backward()
        times.append(time.perf_counter() - started)
    return statistics.median(times[2:])


def run(processes: int, words: list[str]) -> dict[str, float]:
    """One run, in processes of PyTorch's launcher."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "found.json")
        command = [sys.executable, *launcher, __file__, *words, "--into", str(out)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LOGLEVEL": "ERROR"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        found: dict[str, float] = json.loads(out.read_text())
        return found


def main() -> None:
    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shown)
    parser.add_argument("model", type=Path)
    parser.add_argument("data")
    parser.add_argument("--arch")
    parser.add_argument("--params", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--mean", type=float, nargs="+", default=(0.485, 0.456, 0.406))
    parser.add_argument("--std", type=float, nargs="+", default=(0.229, 0.224, 0.225))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.mean, given.std = tuple(given.mean), tuple(given.std)
    if given.into:
        found = measured(given)
        if os.environ["RANK"] == "0":
            given.into.write_text(json.dumps(found))
        return
    pairs = []
    for number in range(given.pairs):
        one, many = (run(count, sys.argv[1:]) for count in (1, given.processes))
        pairs.append((one, many))
        print(f"pair {number + 1}: {_line(one, many, given.processes)}", flush=True)
    best = min(pairs, key=lambda pair: pair[0]["step"] + pair[1]["step"])
    print(f"quietest: {_line(*best, given.processes)}", flush=True)


def _line(one: dict[str, float], many: dict[str, float], count: int) -> str:
    def said(found: dict[str, float]) -> str:
        share = found["generator"] / found["step"]
        return f"{found['step']:.3f} s a step (least {found['least']:.3f}), generator {share:.0%}"

    times = one["step"] / many["step"]
    return f"1 process {said(one)}; {count} processes {said(many)}; {times:.2f} times as fast"


if __name__ == "__main__":
    main()
