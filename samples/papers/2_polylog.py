"""Claim 2: M weights need polylog(M) trained numbers.

A circuit of n = ceil(log2 M) qubits and as many layers has n**2 angles (RY): that is polylog by rule,
whatever the network is worth then. So: that count for networks of 10^3 to 10^8 weights, and what accuracy it
leaves where a teacher is shipped or public, or takes minutes to train.
"""

from collections.abc import Iterator

from rows import SAMPLES, Bench, finish, percent, table

#: Weights -> where they are.
NETWORKS = {
    3_730: "the shipped digits network", 6_690: "the paper's MNIST network", 16_180: "the same with ReLU",
    285_226: "the paper's CIFAR-10 network", 5_824_522: "a dense network on MNIST", 10**8: "none here",
}  # fmt: skip


def main() -> None:
    """n layers of n qubits, for teachers that are shipped or public, or take minutes to train."""
    bench = Bench(__doc__, "6 minutes of one core for the first two rows, two hours for all four")
    found = {}
    for weights, words, epochs in _tried(bench):
        common = [*words, "--circuits", 1, "--layers", qubits(weights), "--epochs", epochs]
        found[weights] = [
            bench.compressed(f"2-{weights}-{seed}", *common, "--seed", seed) for seed in bench.seeds
        ]
    finish(bench, lambda: _show(found))


def _tried(bench: Bench) -> Iterator[tuple[int, list, int]]:
    """Weights, words of a teacher and its data, epochs; a teacher is trained where its row begins."""
    yield 3_730, [SAMPLES / "digits" / "digits_cnn_module.pt", "--data", bench.digits], 60
    yield 6_690, [*bench.network, *bench.mnist], 5
    relu = bench.teacher("mnist_relu_cnn.py:MnistReluCNN", bench.given.mnist, 8)
    yield 16_180, [*relu, *bench.mnist], 5
    papers = bench.teacher("cifar10_cnn.py:Cifar10CNN", bench.given.cifar10, 20)
    yield 285_226, [*papers, *bench.cifar10], 10


def qubits(weights: int) -> int:
    """``ceil(log2 M)``."""
    return (weights - 1).bit_length()


def _show(found: dict) -> None:
    rows = []
    for weights, name in NETWORKS.items():
        records = found.get(weights)
        teacher = records and f"{100 * records[0]['teacher_test_accuracy']:.2f} %"
        there = [percent(records), teacher] if records else ["-", "-"]
        rows.append([f"{weights:,}", name, qubits(weights), f"{qubits(weights) ** 2 + 2:,}", *there])
    head = ["weights M", "network", "qubits n", "numbers n² + 2", "test accuracy", "teacher"]
    table(head, rows)


if __name__ == "__main__":
    main()
