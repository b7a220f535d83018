"""Claim 4: the paper's CIFAR-10 row, 63.1 % with 27,951 numbers; here with 5,522, and with as many as there.

The paper's 285,226-weight network, all 10,000 test images; `samples/6_train_teacher.py` trains the teacher.
"""

from rows import Bench, finish, percent, table


def main() -> None:
    """Both counts."""
    bench = Bench(__doc__, "6 to 15 minutes of one core for 5,600 numbers, an hour for 27,951: four hours")
    network = bench.teacher("cifar10_cnn.py:Cifar10CNN", bench.given.cifar10, 20)
    words = [*network, *bench.cifar10, "--epochs", 10]
    found = {
        numbers: [
            bench.compressed(f"4-{numbers}-{seed}", *words, "--params", numbers, "--seed", seed)
            for seed in bench.seeds
        ]
        for numbers in (5_600, 27_951)
    }
    finish(bench, lambda: _show(found))


def _show(found: dict) -> None:
    rows = [[f"{ends[0]['trained_numbers']:,}", percent(ends), len(ends)] for ends in found.values()]
    table(["trained numbers", "test accuracy", "seeds"], rows)


if __name__ == "__main__":
    main()
