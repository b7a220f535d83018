"""The rivals, one row each: how it is installed, what runs it, what it keeps in memory.

A row's `packages` are pip's arguments, one call after another; no packages means the interpreter that runs
the benchmark. `borrows` lets a side environment see the packages of that interpreter, so that a rival built
on PyTorch runs on the very build of it that the engine runs on. `workers/` has the scripts, each with the
mode it uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

WORKERS = Path(__file__).parent / "workers"
TORCH = f"torch=={torch.__version__.split('+')[0]}"


@dataclass(frozen=True)
class Rival:
    """One row. `kept` is about how many states it keeps for each gate, 0 if memory does not grow with depth.

    `versions` are the distributions whose versions go into the results.
    """

    name: str
    script: str
    versions: tuple[str, ...]
    packages: tuple[tuple[str, ...], ...] = ()
    borrows: bool = False
    kept: float = 0.0
    note: str = ""

    @property
    def path(self) -> Path:
        """The worker's script."""
        return WORKERS / self.script


RIVALS: dict[str, Rival] = {
    row.name: row
    for row in (
        Rival("default.qubit", "default_qubit.py", ("pennylane",), kept=1.5),
        Rival(
            "lightning.qubit",
            "lightning_qubit.py",
            ("pennylane-lightning",),
            note="refuses adjoint differentiation of probabilities; timed: adjoint gradient of <diag(v)>",
        ),
        Rival(
            "pyqtorch",
            "pyqtorch_worker.py",
            ("pyqtorch", "torch"),
            (("pyqtorch", TORCH),),
            borrows=True,
        ),
        Rival(
            "tensorcircuit-ng",
            "tensorcircuit_worker.py",
            ("tensorcircuit-ng", "jax"),
            (("tensorcircuit-ng", "jax"),),
            kept=1.0,
        ),
        Rival("qujax", "qujax_worker.py", ("qujax", "jax"), (("qujax", "jax"),), kept=1.0),
        Rival(
            "torchquantum",
            "torchquantum_worker.py",
            ("torchquantum", "torch"),
            (
                ("--no-deps", "torchquantum==0.1.8", "torchpack==0.3.1"),
                # What importing it needs, without TensorFlow, torchvision, PySCF: see its worker.
                (
                    *("qiskit<1", "qiskit-aer<0.15", "qiskit-ibm-runtime<0.21", "setuptools<81", "numpy<2"),
                    *(TORCH, "torchdiffeq", "pathos", "opt-einsum", "matplotlib", "tqdm", "scipy"),
                    *("pylatexenc", "multimethod", "loguru", "toml", "pyyaml", "tensorpack", "h5py"),
                ),
            ),
            borrows=True,
            kept=2.0,
            note="installed without the dependencies that only its data sets use",
        ),
    )
}
