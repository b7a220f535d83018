"""Claim 6: which estimator of gradients trains a hybrid student best? Again on 6 qubits, five seeds.

The same training under every estimator, exactly and with 1,000 shots a circuit run, on the shipped digits:
accuracy with the spread of the seeds, and differences to the exact gradient seed by seed, since the start of
a seed is the same for all of them.
"""

from rows import Bench, finish, spread, student_records, table

STUDENT, EPOCHS = "hybrid:qubits=6,reps=1", 10


def main() -> None:
    """One comparison."""
    bench = Bench(__doc__, "10 minutes of one core", seeds=5)
    found = bench.run(
        "6", "compare-gradients", STUDENT, "--data", bench.digits, "--epochs", EPOCHS, "--shots", "0,1000",
        "--seeds", len(bench.seeds), "--qubits", 2, "--layers", 1, "-o", bench.path("6"),
    )  # fmt: skip
    finish(bench, lambda: _show(bench, found))


def _show(bench: Bench, found: dict) -> None:
    plain, rows = _figures(bench, "adjoint", 0), []
    for row in found["rows"]:
        figures = _figures(bench, row["gradient"], row["shots"])
        behind = spread([one - own for one, own in zip(figures, plain, strict=True)])
        kept = [row["gradient"], row["shots"] or "exact", spread(figures) + " %"]
        rows.append([*kept, f"{row['final_loss']:.3f}", behind, f"{row['evaluations']:,}"])
    head = ["estimator", "shots", "test accuracy", "final loss", "beside adjoint, points", "circuit runs"]
    table(head, rows)


def _figures(bench: Bench, gradient: str, shots: int) -> list:
    """Test accuracies in per cent by seed."""
    records = student_records(bench.path("6"), f"{gradient}-{shots}-")
    return [100 * record["test_accuracy"] for record in records]


if __name__ == "__main__":
    main()
