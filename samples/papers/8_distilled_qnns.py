"""Claim 8: distilled quantum networks keep the accuracy of larger ones. Where does a teacher help at all?

Each student learns from labels, from labels in the teacher's place (`sharpened-labels`: the teacher's weight
and temperature, none of its knowledge) and from the teacher. Every row is shown, not the best:

    digits          all labels; the setting in which a gain was seen (weight 1, temperature 0.5)
    annealed        the same, with a temperature that falls from 4 in the first step to 0.5 in the last
    noisy           40 % of the training labels are wrong, for the teacher too
    pair            MNIST's 3 and 5, 500 rows of each
    probabilities   teacher and student are read by the probabilities of the outcomes, not by Pauli-Z
    few             100 labels, for the teacher too, which then labels all 1,437 rows: by scores, or by class
"""

from rows import Bench, cooled, finish, percent, shape_of, show_students, table
from splits import digits, few, mnist_file, noisy, pair, save

TEACHER, STUDENT = "qnn:qubits=8,layers=8", "qnn:qubits=6,layers=3"
OUTCOMES = "qnn:qubits={},layers={},readout=probabilities"
#: Name -> data, teacher, its epochs, student, its epochs, temperature in the first step and in the last.
SETTINGS = {
    "digits": ("digits", TEACHER, 100, STUDENT, 60, 0.5, 0.5),
    "annealed": ("digits", TEACHER, 100, STUDENT, 60, 4.0, 0.5),
    "noisy": ("noisy", "qnn:qubits=6,layers=6", 40, "qnn:qubits=5,layers=3", 40, 2.0, 2.0),
    "pair": ("pair", "qnn:qubits=6,layers=6", 40, "qnn:qubits=4,layers=2", 40, 2.0, 2.0),
    "probabilities": ("digits", OUTCOMES.format(6, 6), 60, OUTCOMES.format(5, 3), 40, 2.0, 2.0),
}
EPOCHS = 40


def main() -> None:
    """The comparisons, then the few labels."""
    bench = Bench(__doc__, "16 minutes of one core", seeds=5)
    found = {name: _compared(bench, name) for name in SETTINGS}
    few_rows = _few(bench)
    finish(bench, lambda: (show_students(found), table(["100 labels", "test accuracy"], few_rows)))


def _data(bench: Bench, name: str):
    out = bench.path(f"8-{name}.npz")
    if name == "digits":
        return bench.digits
    if out.exists() or bench.listed:
        return out
    if name == "noisy":
        return save(out, noisy(digits(), 0.4))
    import numpy as np

    whole = dict(np.load(mnist_file(bench.path("mnist.npz"), bench.given.mnist)))
    return save(out, few(pair(whole, (3, 5)), 500))


def _compared(bench: Bench, name: str) -> dict:
    rows, teacher, epochs, student, own_epochs, first, last = SETTINGS[name]
    data = ["--data", _data(bench, rows)]
    known = f"8-teacher-{rows}-{shape_of(teacher)}"  # one for all that learn from it
    bench.taught(known, "train", teacher, *data, "--epochs", epochs)
    return bench.run(
        f"8-{name}", "compare-students", bench.path(f"{known}.qtrain"), "--student", student, *data,
        "--epochs", own_epochs, "--methods", "labels,sharpened-labels,distill", "--distill", 1,
        *cooled(first, last), "--seeds", len(bench.seeds), "-o", bench.path(f"8-{name}"),
    )  # fmt: skip


def _few(bench: Bench) -> list:
    """100 labels and nothing else; or all rows, as the teacher that knows those 100 labels them."""
    labelled, guessed = bench.path("8-few.npz"), bench.path("8-few-guessed.npz")
    if not (labelled.exists() or bench.listed):
        save(labelled, few(digits(), 10))
    last = ["--validation", 0, "--epochs"]
    bench.taught("8-few-teacher", "train", "qnn:qubits=6,layers=6", "--data", labelled, *last, 400)
    if not (guessed.exists() or bench.listed):
        _guess(bench.path("8-few-teacher.qtrain"), guessed)
    teacher = ["distill", bench.path("8-few-teacher.qtrain"), "--student", STUDENT, "--teacher-any"]
    ways = {
        "the 100 labels": ["train", STUDENT, "--data", labelled, *last, 400],
        "all rows, the teacher's class of each": ["train", STUDENT, "--data", guessed, *last, EPOCHS],
        "all rows, the teacher's scores": [
            *teacher, "--data", bench.digits, *last, EPOCHS, "--distill", 1, "--temperature", 2,
        ],
    }  # fmt: skip
    rows = []
    for number, (way, words) in enumerate(ways.items()):
        records = [bench.taught(f"8-few-{number}-{seed}", *words, "--seed", seed) for seed in bench.seeds]
        rows += [] if bench.listed else [[way, percent(records)]]
    return rows


def _guess(teacher, out) -> None:
    """The digits with the class that a teacher names in the place of each training label."""
    import torch

    import qtrain_cli

    arrays = digits()
    with torch.no_grad():
        scores = qtrain_cli.load_student(teacher)(torch.from_numpy(arrays["x_train"]))
    labels = scores.argmax(1).numpy().astype(arrays["y_train"].dtype)
    save(out, arrays | {"y_train": labels})


if __name__ == "__main__":
    main()
