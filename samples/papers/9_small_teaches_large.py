"""Claim 9: distillation lowers the cost of training large quantum networks: a small trained one teaches them.

Epochs and circuit runs until 95 % of what labels alone reach at last, for labels, for labels in the teacher's
place, and for the teacher; what its own training ran is stated beside it.
"""

from rows import Bench, finish, show_students

SMALL, LARGE = "qnn:qubits=4,layers=4", "qnn:qubits=6,layers=6"


def main() -> None:
    """One small teacher, one large student, three methods, two temperatures."""
    bench = Bench(__doc__, "7 minutes of one core", seeds=5)
    data = ["--data", bench.digits]
    teacher = bench.taught("9-teacher", "train", SMALL, *data, "--epochs", 60)
    found = {
        f"temperature {temperature:g}": bench.run(
            f"9-{temperature:g}", "compare-students", bench.path("9-teacher.qtrain"), "--student", LARGE,
            *data, "--epochs", 60, "--methods", "labels,sharpened-labels,distill", "--distill", 0.5,
            "--temperature", temperature, "--seeds", len(bench.seeds), "-o", bench.path(f"9-{temperature:g}"),
        )
        for temperature in (0.5, 2.0)
    }  # fmt: skip
    finish(bench, lambda: (print(_said(teacher)), show_students(found)))


def _said(teacher: dict) -> str:
    return f"the teacher: {100 * teacher['test_accuracy']:.2f} %, {teacher['evaluations']:,} circuit runs"


if __name__ == "__main__":
    main()
