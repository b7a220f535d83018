"""Claim 4: the paper's CIFAR-10 row, 63.1 % with 27,951 numbers; here with 5,522, and with as many as there.

The paper's 285,226-weight network, all 10,000 test images; `samples/6_train_teacher.py` trains the teacher.
The control at equal bytes has no circuit: a seeded hash gives each weight one of as many values as fit. (A
random subspace and a curve would need a matrix with a row a weight and a column a number: too large here.)
"""

from rows import Bench, finish, percent, table

#: At most so many numbers -> bytes that they take.
SIZES = {5_600: 3_770, 27_951: 17_450}


def main() -> None:
    """Both counts, and the control of each."""
    minutes = "6 to 15 minutes of one core for 5,600 numbers, 30 to 60 for 27,951, 40 a control: four hours"
    bench = Bench(__doc__, minutes)
    network = bench.teacher("cifar10_cnn.py:Cifar10CNN", bench.given.cifar10, 20)
    words = [*network, *bench.cifar10, "--epochs", 10]
    found, controls = {}, {}
    for numbers, size in SIZES.items():
        found[numbers] = [
            bench.compressed(f"4-{numbers}-{seed}", *words, "--params", numbers, "--seed", seed)
            for seed in bench.seeds
        ]
        controls[numbers] = bench.run(
            f"4-hashing-{size}", "compare", *words, "--bytes", size, "--methods", "hashing",
            "--seeds", len(bench.seeds), "--state", bench.path(f"4-hashing-{size}"),
        )  # fmt: skip
    finish(bench, lambda: _show(found, controls))


def _show(found: dict, controls: dict) -> None:
    rows = []
    for numbers, records in found.items():
        cells = controls[numbers]["cells"]
        size, count = max(record["artifact_bytes"] for record in records), records[0]["trained_numbers"]
        rows.append(["circuits", f"{count:,}", f"{size:,}", len(records), percent(records)])
        size, count = max(cell["file_bytes"] for cell in cells), cells[0]["numbers"]
        rows.append(["hashing", f"{count:,}", f"{size:,}", len(cells), percent(cells, "test")])
    table(["method", "trained numbers", "bytes", "seeds", "test accuracy"], rows)


if __name__ == "__main__":
    main()
