"""Claim 5: a hybrid student is more efficient and more expressive than a classical one of similar scale.

What "similar scale" may mean at its best for the circuit: few features (2, 4 qubits), few numbers (100, 200,
400), few training rows (10, 100 of each class), each beside the control: the same front and head with a dense
layer for the circuit, within 5 % of the numbers. MNIST, labels alone, all 10,000 test images.
"""

from rows import Bench, finish, percent, show_students, table
from splits import few, mnist_file, save

#: Name -> student, training rows of each class (0: all), epochs.
SETTINGS = {
    "2 qubits, 100 numbers": ("hybrid:qubits=2,reps=3,front=linear,params=100", 0, 4),
    "2 qubits, 200 numbers": ("hybrid:qubits=2,reps=2,front=linear,params=200", 0, 4),
    "4 qubits, 200 numbers": ("hybrid:qubits=4,reps=2,front=linear,params=200", 0, 4),
    "4 qubits, 400 numbers": ("hybrid:qubits=4,reps=2,front=linear,params=400", 0, 4),
    "4 qubits, 100 rows a class": ("hybrid:qubits=4,reps=2,front=linear,params=400", 100, 60),
    "6 qubits, 100 rows a class": ("hybrid:qubits=6,reps=2", 100, 60),
}
#: With 10 rows of each class: none is set apart, for 10 validation rows choose no better than chance.
SPARSE = {"4 qubits": "hybrid:qubits=4,reps=2,front=linear,params=400", "6 qubits": "hybrid:qubits=6,reps=2"}


def main() -> None:
    """Every setting, hybrid and control."""
    bench = Bench(__doc__, "10 minutes of one core", seeds=5)
    found = {}
    for number, (name, (student, rows, epochs)) in enumerate(SETTINGS.items()):
        found[name] = bench.run(
            f"5-{number}", "compare-students", "--student", student, "--data", _data(bench, rows),
            "--mean", 0.5, "--std", 0.5, "--epochs", epochs, "--methods", "labels",
            "--seeds", len(bench.seeds), "-o", bench.path(f"5-{number}"),
        )  # fmt: skip
    sparse = [row for name, student in SPARSE.items() for row in _sparse(bench, name, student)]
    head = ["10 rows a class", "numbers", "test accuracy"]
    finish(bench, lambda: (show_students(found), table(head, sparse)))


def _sparse(bench: Bench, name: str, hybrid: str) -> list:
    rows = []
    for kind, student in (("hybrid", hybrid), ("control", f"classical:like={hybrid}")):
        words = ["train", student, "--data", _data(bench, 10), "--mean", 0.5, "--std", 0.5, "--validation", 0]
        ends = [
            bench.taught(f"5-{name[0]}-{kind}-{seed}", *words, "--epochs", 200, "--seed", seed)
            for seed in bench.seeds
        ]
        rows += [] if bench.listed else [[f"{name}, {kind}", ends[0]["parameters"], percent(ends)]]
    return rows


def _data(bench: Bench, rows: int):
    whole, part = bench.path("mnist.npz"), bench.path(f"5-rows-{rows}.npz")
    if bench.listed:
        return part if rows else whole
    mnist_file(whole, bench.given.mnist)
    if rows and not part.exists():
        import numpy as np

        save(part, few(dict(np.load(whole)), rows))
    return part if rows else whole


if __name__ == "__main__":
    main()
