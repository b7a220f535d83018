"""Claim 10: self-distillation converges faster.

Labels, born-again and running-average at three learning rates each; of every method the rate whose validation
accuracy is best on the average of the seeds. Then, at that rate, the loss on the training rows that runs of
20 and 40 epochs end with: the circuit runs to a loss are those of the shortest run that has it.
"""

from rows import Bench, finish, percent, spread, student_records, table

STUDENT = "qnn:qubits=6,layers=3"
METHODS = ("labels", "born-again", "running-average")
RATES, EPOCHS = (0.05, 0.1, 0.2), (20, 40)
#: The loss on the training rows to which circuit runs are counted.
LOSS = 0.6


def main() -> None:
    """Three rates at 40 epochs, then shorter runs at each method's best rate."""
    bench = Bench(__doc__, "12 minutes of one core", seeds=5)
    for rate in RATES:
        _compared(bench, rate, EPOCHS[-1], METHODS)
    if bench.listed:
        return
    best = {method: max(RATES, key=lambda rate: _validated(bench, rate, method)) for method in METHODS}
    for method, rate in best.items():
        for epochs in EPOCHS[:-1]:
            _compared(bench, rate, epochs, (method,))
    finish(bench, lambda: _show(bench, best))


def _name(rate: float, epochs: int, methods: tuple) -> str:
    return f"10-{rate:g}-{epochs}" + (f"-{methods[0]}" if len(methods) == 1 else "")


def _compared(bench: Bench, rate: float, epochs: int, methods: tuple) -> dict:
    name = _name(rate, epochs, methods)
    return bench.run(
        name, "compare-students", "--student", STUDENT, "--data", bench.digits, "--lr", rate,
        "--epochs", epochs,
        "--methods", ",".join(methods), "--distill", 0.5, "--temperature", 1, "--seeds", len(bench.seeds),
        "-o", bench.path(name),
    )  # fmt: skip


def _records(bench: Bench, rate: float, epochs: int, method: str) -> list:
    methods = METHODS if epochs == EPOCHS[-1] else (method,)
    return student_records(bench.path(_name(rate, epochs, methods)), f"-{method}-")


def _validated(bench: Bench, rate: float, method: str) -> float:
    records = _records(bench, rate, EPOCHS[-1], method)
    return sum(record["validation_accuracy"] for record in records) / len(records)


def _show(bench: Bench, best: dict) -> None:
    rows = []
    for method, rate in best.items():
        ends = {epochs: _records(bench, rate, epochs, method) for epochs in EPOCHS}
        losses = [spread([one["train_loss"] for one in ends[epochs]], "{:.3f}") for epochs in EPOCHS]
        runs = [sum(one["evaluations"] for one in ends[epochs]) / len(ends[epochs]) for epochs in EPOCHS]
        means = [sum(one["train_loss"] for one in ends[epochs]) / len(ends[epochs]) for epochs in EPOCHS]
        reached = next((f"{run:,.0f}" for run, loss in zip(runs, means, strict=True) if loss <= LOSS), "-")
        rows.append([method, f"{rate:g}", percent(ends[EPOCHS[-1]]), *losses, reached])
    heads = [f"loss, {epochs} epochs" for epochs in EPOCHS]
    table(["method", "rate", "test accuracy", *heads, f"circuit runs to a loss of {LOSS}"], rows)


if __name__ == "__main__":
    main()
