"""Claim 2: M weights need polylog(M) trained numbers.

A circuit of n = ceil(log2 M) qubits and as many layers has n**2 angles (RY): that is polylog by rule,
whatever the network is worth then. So: that count for networks of 10^3 to 10^8 weights, and what accuracy it
leaves where a teacher is shipped or public, or takes minutes to train.
"""

from functools import partial

from rows import SAMPLES, Bench, finish, percent, table

#: Weights -> where they are.
NETWORKS = {
    3_730: "the shipped digits network", 6_690: "the paper's MNIST network", 16_180: "the same with ReLU",
    285_226: "the paper's CIFAR-10 network", 5_824_522: "a dense network on MNIST", 10**8: "none here",
}  # fmt: skip


def main() -> None:
    """n layers of n qubits, for teachers that are shipped or public, or take minutes to train."""
    bench = Bench(__doc__, "6 minutes of one core for the first two rows, two hours for all four")
    digits = [SAMPLES / "digits" / "digits_cnn_module.pt", "--data", bench.digits]
    mnist = partial(bench.teacher, "mnist_relu_cnn.py:MnistReluCNN", bench.given.mnist, 8)
    cifar10 = partial(bench.teacher, "cifar10_cnn.py:Cifar10CNN", bench.given.cifar10, 20)
    tried = {  # a teacher is trained where its row begins
        3_730: (lambda: digits, 60),
        6_690: (lambda: [*bench.network, *bench.mnist], 5),
        16_180: (lambda: [*mnist(), *bench.mnist], 5),
        285_226: (lambda: [*cifar10(), *bench.cifar10], 10),
    }
    found = {}
    for weights, (words, epochs) in tried.items():
        common = [*words(), "--circuits", 1, "--layers", qubits(weights), "--epochs", epochs]
        found[weights] = [
            bench.compressed(f"2-{weights}-{seed}", *common, "--seed", seed) for seed in bench.seeds
        ]
    finish(bench, lambda: _show(found))


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
