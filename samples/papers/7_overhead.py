"""Claim 7: hybrid students cost more and are less stable than their classical controls, as the authors say.

Spread of test accuracy and of the last training loss over seeds, and processor time of a training step: that
of 140 epochs less that of 20, so that starting, reading and measuring fall out. The shipped digits.
"""

import resource

from rows import Bench, finish, percent, spread, table

HYBRID = "hybrid:qubits=6,reps=2"
SHORT, LONG, STEPS = 20, 140, 10  # steps of an epoch: 1,293 rows in whole batches of 128


def main() -> None:
    """Both students, short and long."""
    bench = Bench(__doc__, "5 minutes of one core", seeds=5)
    rows = []
    for name, student in (("hybrid", HYBRID), ("control", f"classical:like={HYBRID}")):
        ends = {
            epochs: [_timed(bench, name, student, epochs, seed) for seed in bench.seeds]
            for epochs in (SHORT, LONG)
        }
        if not bench.listed:
            rows.append(_row(name, ends))
    head = ["student", "numbers", "test accuracy", "last loss", "milliseconds of a step"]
    finish(bench, lambda: table(head, rows))


def _timed(bench: Bench, name: str, student: str, epochs: int, seed: int) -> dict:
    """The record, with the processor time of the run beside it."""
    words = ["train", student, "--data", bench.digits, "--epochs", epochs, "--seed", seed]
    kept = bench.path(f"7-{name}-{epochs}-{seed}.seconds")
    before = _spent()
    record = bench.taught(f"7-{name}-{epochs}-{seed}", *words)
    if not (bench.listed or kept.exists()):
        kept.write_text(str(_spent() - before))
    return {} if bench.listed else record | {"processor": float(kept.read_text())}


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _row(name: str, ends: dict) -> list:
    long, steps = ends[LONG], STEPS * (LONG - SHORT)
    pairs = zip(ends[SHORT], long, strict=True)
    times = [1000 * (after["processor"] - before["processor"]) / steps for before, after in pairs]
    losses = spread([record["history"][-1][0] for record in long], "{:.3f}")
    return [name, long[0]["parameters"], percent(long), losses, spread(times)]


if __name__ == "__main__":
    main()
