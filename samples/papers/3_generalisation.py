"""Claim 3: generated networks generalise better: test loss minus train loss, of a direct one and of others.

The paper's MNIST network is trained on 1,000 rows (100 of a class), so that there is something to overfit,
directly, and through 300 to 5,000 numbers of a circuit, a random subspace and a classical curve:

    direct      w = w_0 + d                                     all 6,690 weights
    circuit     w = scale (g z(theta) + c)                      RY and a ring of CNOT, 13 qubits
    subspace    w = w_0 + scale sqrt(3) A x                     A random and fixed
    curve       w = scale (g sqrt(2) cos(A theta + beta) + c)   A, beta random and fixed

All by the same Adam at the same rate for as many steps. A network that has learned less has a small gap
whatever made it, so the gap is also read where train loss first falls below marks, epoch by epoch. Losses are
cross-entropies of all 1,000 training rows and all 10,000 test images.
"""

import json
import math
import sys

import torch
from rows import SAMPLES, Bench, finish, spread, table
from splits import few, mnist_file
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

ROWS, EPOCHS, BATCH, RATE = 100, 25, 100, 0.005
MARKS = (0.5, 0.25, 0.1)
WAYS = [("direct", 0), ("circuit", 300)]
WAYS += [(way, size) for size in (1000, 5000) for way in ("circuit", "subspace", "curve")]


def main() -> None:
    """Every way with every seed; a finished one is read."""
    bench = Bench(__doc__, "6 minutes of one core")
    if bench.listed:
        return
    splits = _splits(bench)
    found: dict = {}
    for way, size in WAYS:
        found[way, size] = [_kept(bench, splits, way, size, seed) for seed in bench.seeds]
    finish(bench, lambda: _show(found))


def _splits(bench: Bench) -> dict:
    import numpy as np

    whole = few(dict(np.load(mnist_file(bench.path("mnist.npz"), bench.given.mnist))), ROWS)
    pixels = {
        name: torch.from_numpy(part).float() / 127.5 - 1 for name, part in whole.items() if name[0] == "x"
    }
    return pixels | {name: torch.from_numpy(part) for name, part in whole.items() if name[0] == "y"}


def _kept(bench: Bench, splits: dict, way: str, size: int, seed: int) -> dict:
    kept = bench.path(f"3-{way}-{size}-{seed}.json")
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(_trained(splits, way, size, seed)))
    return json.loads(kept.read_text())


def _network(seed: int):
    sys.path.insert(0, str(SAMPLES))
    from mnist_cnn import MnistCNN

    torch.manual_seed(seed)
    return MnistCNN()


def _trained(splits: dict, way: str, size: int, seed: int) -> dict:
    """Train and test loss at the end, and where train loss first fell below each mark."""
    network = _network(seed)
    numbers, weights = _way(network, way, size)
    optimiser, marks = torch.optim.Adam(numbers, lr=RATE), {}

    def loss(split: str, rows=slice(None)) -> Tensor:
        outputs = functional_call(network, weights(), splits[f"x_{split}"][rows])
        return cross_entropy(outputs, splits[f"y_{split}"][rows])

    for _ in range(EPOCHS):
        for rows in torch.randperm(len(splits["y_train"])).split(BATCH):
            optimiser.zero_grad()
            loss("train", rows).backward()
            optimiser.step()
        with torch.no_grad():
            now = loss("train").item()
            for mark in MARKS:
                if now <= mark and str(mark) not in marks:
                    marks[str(mark)] = loss("test").item() - now
    with torch.no_grad():
        return {"train": loss("train").item(), "test": loss("test").item(), "marks": marks}


def _way(network, way: str, size: int) -> tuple:
    """The trained tensors, and what makes a state dictionary of them."""
    start = {name: part.detach() for name, part in network.named_parameters()}
    fans = {name: start[name.replace("bias", "weight")][0].numel() for name in start}
    scale = torch.cat([torch.full((part.numel(),), (3 * fans[name]) ** -0.5) for name, part in start.items()])
    flat = torch.cat([part.flatten() for part in start.values()])
    numbers, vector = {"direct": _direct, "circuit": _circuit, "subspace": _subspace, "curve": _curve}[way](
        flat, scale, size
    )

    def weights() -> dict[str, Tensor]:
        parts = vector().split([part.numel() for part in start.values()])
        return {name: part.view_as(start[name]) for name, part in zip(start, parts, strict=True)}

    return numbers, weights


def _direct(flat: Tensor, scale: Tensor, size: int) -> tuple:
    moved = torch.zeros_like(flat, requires_grad=True)
    return [moved], lambda: flat + moved


def _circuit(flat: Tensor, scale: Tensor, size: int) -> tuple:
    from qtrain_cli.quantum.circuit import CircuitSpec, qubits_for
    from qtrain_cli.quantum.statevector import probabilities

    n = qubits_for(len(flat), 1)
    spec = CircuitSpec("real-amplitudes", "cnot-ring", n, (size - 2) // n)
    theta = (math.pi * (2 * torch.rand(spec.angle_shape) - 1)).requires_grad_()
    linear = torch.tensor([math.sqrt(1.5), 0.0], requires_grad=True)  # real amplitudes: var(z) = 2

    def vector() -> Tensor:
        z = probabilities(spec, theta).flatten()[: len(flat)] * 2**n - 1
        return scale * (linear[0] * z + linear[1])

    return [theta, linear], vector


def _subspace(flat: Tensor, scale: Tensor, size: int) -> tuple:
    x, basis = torch.zeros(size, requires_grad=True), torch.randn(len(flat), size)
    return [x], lambda: flat + scale * math.sqrt(3) * (basis @ x)


def _curve(flat: Tensor, scale: Tensor, size: int) -> tuple:
    count = size - 2
    turns, shift = torch.randn(len(flat), count), 2 * math.pi * torch.rand(len(flat))
    theta = torch.zeros(count, requires_grad=True)
    linear = torch.tensor([math.sqrt(3.0), 0.0], requires_grad=True)
    return [
        theta,
        linear,
    ], lambda: scale * (linear[0] * math.sqrt(2) * torch.cos(turns @ theta + shift) + linear[1])


def _show(found: dict) -> None:
    rows = []
    for (way, size), ends in found.items():
        gaps = [one["test"] - one["train"] for one in ends]
        at = [[one["marks"][str(mark)] for one in ends if str(mark) in one["marks"]] for mark in MARKS]
        cells = [spread(some, "{:.3f}") if len(some) == len(ends) else "-" for some in at]
        train = spread([one["train"] for one in ends], "{:.3f}")
        rows.append([f"{way} {size:,}" if size else way, train, spread(gaps, "{:.3f}"), *cells])
    head = [f"gap at a train loss of {mark:g}" for mark in MARKS]
    table(["trained", "train loss", "gap at the end", *head], rows)


if __name__ == "__main__":
    main()
