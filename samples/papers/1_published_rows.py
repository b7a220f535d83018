"""Claim 1: Quantum-Train's published MNIST rows, by the recipe of its published code.

Blocks of U3 and controlled U3, the mapping 14-4-20-4-1 without an activation, every training row, raw angles;
Adam at 1e-4 with weight decay 1e-5 and epsilon 1e-6, halved where an epoch's mean loss has not fallen for 5
epochs; batches of 128, 50 epochs, no clipping, cross-entropy on labels, the last state. Angles start uniform
in [-pi, pi), linear layers within 1 / sqrt(inputs), as the published code's libraries start them.
"""

from rows import Bench, finish, percent, spread, table

#: Blocks of the circuit -> the published test accuracy in per cent (of 1,000 test images).
PUBLISHED = {1: 33.45, 4: 56.0, 7: 82.0, 10: 85.3, 13: 90.7, 16: 91.2}
RECIPE = [
    "--ansatz", "u3-cu3", "--mapping", "quantum-train", "--circuits", 1, "--angle-bits", 32, "--distill", 0,
    "--batch-size", 128, "--optimizer", "adam", "--lr", 1e-4, "--eps", 1e-6, "--weight-decay", 1e-5,
    "--schedule", "plateau", "--clip", 0, "--validation", 0,
]  # fmt: skip
EPOCHS = 50


def main() -> None:
    """Both published ends with every seed first, then the rows between."""
    bench = Bench(__doc__, "11 to 15 minutes of one core a run, 18 runs: four hours")
    found = {blocks: [_run(bench, blocks, seed) for seed in bench.seeds] for blocks in (16, 1, 13, 10, 7, 4)}
    finish(bench, lambda: _show(found))


def _run(bench: Bench, blocks: int, seed: int) -> dict:
    words = [*bench.network, *bench.mnist, "--layers", blocks, *RECIPE, "--epochs", EPOCHS, "--seed", seed]
    return bench.compressed(f"1-{blocks}-{seed}", *words)


def _show(found: dict) -> None:
    rows = []
    for blocks, published in PUBLISHED.items():
        records = found[blocks]
        losses = spread([record["train_loss"] for record in records], "{:.3f}")
        numbers = f"{records[0]['trained_numbers']:,}"
        rows.append([numbers, f"{published} %", percent(records), losses, len(records)])
    table(["trained numbers", "published", "here", "train loss", "seeds"], rows)


if __name__ == "__main__":
    main()
