"""Claim 6: which estimator of gradients trains a hybrid student best? Again on 6 qubits, five seeds.

The same training under every estimator, exactly and with 1,000 shots a circuit run, on the shipped digits:
accuracy with the spread of the seeds, and differences to the exact gradient seed by seed, since the start of
a seed is the same for all of them.
"""

from rows import Bench, finish, spread, table

STUDENT, EPOCHS = "hybrid:qubits=6,reps=1", 10


def main() -> None:
    """One comparison."""
    bench = Bench(__doc__, "10 minutes of one core", seeds=5)
    found = bench.run(
        "6", "compare-gradients", STUDENT, "--data", bench.digits, "--epochs", EPOCHS, "--shots", "0,1000",
        "--seeds", len(bench.seeds), "--qubits", 2, "--layers", 1, "-o", bench.path("6"),
    )  # fmt: skip
    finish(bench, lambda: _show(found))


def _show(found: dict) -> None:
    plain = next(row["figures"] for row in found["rows"] if row["gradient"] == "adjoint")
    rows = []
    for row in found["rows"]:
        behind = [100 * (one - own) for one, own in zip(row["figures"], plain, strict=True)]
        rows.append([
            row["gradient"], row["shots"] or "exact", spread([100 * one for one in row["figures"]]) + " %",
            f"{row['final_loss']:.3f}", spread(behind), f"{row['evaluations']:,}",
        ])  # fmt: skip
    head = ["estimator", "shots", "test accuracy", "final loss", "beside adjoint, points", "circuit runs"]
    table(head, rows)


if __name__ == "__main__":
    main()
