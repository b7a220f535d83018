"""Claim 9: distillation lowers the cost of training large quantum networks: a small trained one teaches them.

Epochs and circuit runs until 95 % of what labels alone reach at last, for labels, for labels in the teacher's
place, and for the teacher; what its own training ran is stated beside it.
"""

from rows import Bench, cooled, finish, shape_of, show_students

LARGE, EPOCHS = "qnn:qubits=6,layers=6", 60
#: Name -> the teacher, and its temperature in the first step and in the last.
SETTINGS = {
    "4 x 4, temperature 0.5": ("qnn:qubits=4,layers=4", 0.5, 0.5),
    "4 x 4, temperature 2": ("qnn:qubits=4,layers=4", 2.0, 2.0),
    "4 x 4, from 4 to 0.5": ("qnn:qubits=4,layers=4", 4.0, 0.5),
    "5 x 5, temperature 0.5": ("qnn:qubits=5,layers=5", 0.5, 0.5),
}


def main() -> None:
    """Two small teachers, one large student, three methods, three temperatures."""
    bench = Bench(__doc__, "15 minutes of one core", seeds=5)
    teachers = {text: _taught(bench, text) for text in dict.fromkeys(row[0] for row in SETTINGS.values())}
    found = {name: _compared(bench, name) for name in SETTINGS}
    finish(bench, lambda: (print("\n".join(map(_said, teachers.items()))), show_students(found)))


def _known(text: str) -> str:
    """The name of a teacher's run."""
    return f"9-teacher-{shape_of(text)}"


def _taught(bench: Bench, text: str) -> dict:
    return bench.taught(_known(text), "train", text, "--data", bench.digits, "--epochs", EPOCHS)


def _compared(bench: Bench, name: str) -> dict:
    text, first, last = SETTINGS[name]
    own = f"9-{shape_of(text)}-{first:g}-{last:g}"
    return bench.run(
        own, "compare-students", bench.path(f"{_known(text)}.qtrain"), "--student", LARGE, "--data",
        bench.digits, "--epochs", EPOCHS, "--methods", "labels,sharpened-labels,distill", "--distill", 0.5,
        *cooled(first, last), "--seeds", len(bench.seeds), "-o", bench.path(own),
    )  # fmt: skip


def _said(one: tuple[str, dict]) -> str:
    text, teacher = one
    return (
        f"the teacher {text}: {100 * teacher['test_accuracy']:.2f} %, {teacher['evaluations']:,} circuit runs"
    )


if __name__ == "__main__":
    main()
