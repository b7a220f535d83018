"""A hundred files of every mapping, circuit and method, regenerated under all that may not change a bit.

    python tests/portable_digests.py [--run COMMAND]...    makes the files, prints the table; 1 if any differ
    python tests/portable_digests.py make FOLDER           the files alone, to take elsewhere
    python tests/portable_digests.py check FOLDER          regenerates them here: one line of JSON

Rows of the table: threads, PyTorch's instructions, the compiled steps at each level and without them, and
each COMMAND, another Python that has the package's dependencies, for example of other versions of them, or
``qemu-aarch64-static -L ROOT ROOT/usr/bin/python3.11``. A row is right if every file gave the digest that it
holds, and if seeded numbers are the same. Students are left out: their weights are stored.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qtrain_cli.runs.grounds import BaseModel

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

#: What stands in the environment of a row, beside that it is our own.
ROWS: dict[str, dict[str, str]] = {
    "1 thread": {"OMP_NUM_THREADS": "1"},
    "2 threads": {"OMP_NUM_THREADS": "2"},
    "3 threads": {"OMP_NUM_THREADS": "3"},
    "4 threads": {"OMP_NUM_THREADS": "4"},
    "PyTorch default": {"ATEN_CPU_CAPABILITY": "default"},
    "PyTorch avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "PyTorch avx512": {"ATEN_CPU_CAPABILITY": "avx512"},
    "steps base": {"STEPS_LEVEL": "base"},
    "steps v3": {"STEPS_LEVEL": "v3"},
    "NumPy alone": {"QTRAIN_NATIVE": "0"},
    "NumPy alone, no AVX": {
        "QTRAIN_NATIVE": "0",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
        "ATEN_CPU_CAPABILITY": "default",
    },
}


def files() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file: every circuit with a mapping in turn, every mapping, every rival, and
    changes to a base."""
    from artifacts import CIRCUITS, FAST_PLANS, RIVAL_PLANS, artifact_of, fitting_counts, rival_of, spec_of

    from qtrain_cli.artifact.numbers import encode_artifact
    from qtrain_cli.methods.generator.spec import MAPPINGS
    from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry

    dtypes = ("F32", "F16", "BF16", "F64")
    rows = tuple(
        TensorEntry(f"w{place}", (24, 10 + place), dtype, GENERATED, 10 + place, place % 2 / 2)
        for place, dtype in enumerate(dtypes)
    )
    layout, wide = LayoutSpec(rows), LayoutSpec((TensorEntry("w", (90, 300), "F32", GENERATED, 300), *rows))
    kinds, bonds = list(MAPPINGS), {"tensor-train": 2}  # products of wider random matrices leave float16
    for place, (ansatz, entangler, final) in enumerate(CIRCUITS):
        kind, counts = kinds[place % len(kinds)], fitting_counts(layout.generated)
        circuits = counts[place % len(counts)]
        how = {"ansatz": ansatz, "entangler": entangler, "final_rotation": final, "seed": place}
        bits = 32 if place % 4 == 3 else 5
        spec = spec_of(
            layout, circuits, 2 + place % 5, bits, kind, hidden=bonds.get(kind, 1 + place % 7), **how
        )
        yield f"{ansatz} {entangler} {kind}", encode_artifact(artifact_of(spec))
    for kind in kinds:
        for circuits, ansatz in ((1, "real-amplitudes"), (4, "su2-rz-ry"), (7, "u3-cu3")):
            spec = spec_of(wide, circuits, 6, 8, kind, ansatz=ansatz, hidden=bonds.get(kind, 20))
            yield f"wide {kind} {circuits}", encode_artifact(artifact_of(spec))
    for name in RIVAL_PLANS:
        for seed, shape in enumerate((layout, layout, wide, wide)):
            yield f"{name} {seed}", encode_artifact(rival_of(name, shape, seed, most=60))
            if name in FAST_PLANS:
                yield f"fast {name} {seed}", encode_artifact(rival_of(name, shape, seed, most=60, fast=True))
    yield from files_of_changes()


def files_of_changes() -> Iterator[tuple[str, bytes]]:
    """Every mapping with every target, on bases in every precision."""
    from artifacts import changes_of

    from qtrain_cli.artifact.numbers import encode_artifact
    from qtrain_cli.methods.generator.spec import MAPPINGS

    kinds = list(MAPPINGS)
    for place, (kind, target) in enumerate(
        itertools.product(kinds, ("delta", "lora:rank=3", "lora-xs:rank=2"))
    ):
        base = base_of_changes(("float32", "bfloat16", "float16")[place % 3])
        name = f"changes {kind} {target.partition(':')[0]} {base.name}"
        yield name, encode_artifact(changes_of(base, target, kind))


def base_of_changes(precision: str) -> BaseModel:
    """A base whose numbers are sixteenths, in a precision; its name is that."""
    import torch

    from qtrain_cli.runs.grounds import BaseModel
    from qtrain_cli.targets.ground import digest_of_tensors

    shapes = {"layer.0.query.weight": (24, 31), "layer.1.query.weight": (24, 31), "out.bias": (17,)}
    tensors = {}
    for place, (name, shape) in enumerate(shapes.items()):
        count = math.prod(shape)
        numbers = (torch.arange(count) * (7 + place) % 13 - 6) / 16
        tensors[name] = numbers.view(shape).to(getattr(torch, precision))
    return BaseModel(precision, tensors, {name: name for name in tensors}, digest_of_tensors(tensors))


def make(folder: Path) -> int:
    """Writes the files; how many."""
    chosen = list(files())
    for place, (name, data) in enumerate(chosen):
        (folder / f"{place:03} {name}.qtrain").write_bytes(data)
    return len(chosen)


def check(folder: Path) -> dict[str, object]:
    """What this process makes of the files: how many, those that differ, versions, and one digest of all."""
    import numpy as np
    import torch

    from qtrain_cli.artifact.numbers import read_artifact
    from qtrain_cli.errors import Refused
    from qtrain_cli.portable import kernel, streams
    from qtrain_cli.runs.grounds import ground_of_file
    from qtrain_cli.runs.regenerate import regenerate

    if level := os.environ.get("STEPS_LEVEL"):
        kernel._steps.use(level)
    hashed, wrong = hashlib.sha256(streams.normal_stream(1, 2, 10_001).tobytes()), []
    paths = sorted(folder.glob("*.qtrain"))
    for path in paths:
        try:
            artifact = read_artifact(path)
            change = artifact.description.change
            base = base_of_changes(change.base.name) if change else None
            ground = ground_of_file(change, artifact.description.layout, base) if change and base else None
            hashed.update(regenerate(artifact, None, ground).digest.sha256.encode())
        except Refused:
            wrong.append(path.stem)
    versions = f"torch {torch.__version__} numpy {np.__version__} {os.uname().machine}"
    all_of = hashed.hexdigest()[:16]
    return {
        "files": len(paths),
        "wrong": wrong,
        "sha256": all_of,
        "steps": kernel.is_built(),
        "versions": versions,
    }


def checked_by(command: list[str], folder: Path, more: dict[str, str]) -> dict[str, object]:
    """`check` in a process of its own."""
    left_out = ("OMP_NUM_THREADS", "ATEN_CPU_CAPABILITY", "QTRAIN_NATIVE")
    plain = {name: value for name, value in os.environ.items() if name not in left_out}
    done = subprocess.run(
        [*command, str(Path(__file__).resolve()), "check", str(folder)],
        env={**plain, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE", **more},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return {"files": 0, "wrong": [done.stderr.strip().rpartition("\n")[2]], "sha256": "", "versions": ""}
    found: dict[str, object] = json.loads(done.stdout)
    return found


def table(folder: Path, commands: list[str]) -> bool:
    """Prints a row for each way; whether all agree."""
    ways = [(name, [sys.executable], more) for name, more in ROWS.items()]
    for command in commands:
        ways += [(command, shlex.split(command), {"QTRAIN_NATIVE": native}) for native in ("1", "0")]
    digests = set()
    print(f"| {'way':40} | steps | files | differ | digest of all    | versions\n|---|---|---|---|---|---|")
    for name, command, more in ways:
        found = checked_by(command, folder, more)
        digests.add((found["sha256"], not found["wrong"], found["files"]))
        wrong, steps = found["wrong"], "C++" if found.get("steps") else "NumPy"
        shown = f"| {name[-40:]:40} | {steps:5} | {found['files']:5} | {len(wrong):6} | {found['sha256']:16}"  # type: ignore[arg-type]
        print(f"{shown} | {found['versions']} {'; '.join(wrong[:2])}", flush=True)  # type: ignore[index]
    return len(digests) == 1 and next(iter(digests))[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("verb", nargs="?", choices=("make", "check"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--run", action="append", default=[], metavar="COMMAND")
    given = parser.parse_args()
    if given.verb == "check":
        print(json.dumps(check(given.folder)))
        return 0
    if given.verb == "make":
        given.folder.mkdir(parents=True, exist_ok=True)
        print(make(given.folder))
        return 0
    with tempfile.TemporaryDirectory() as name:
        make(Path(name))
        return 0 if table(Path(name), given.run) else 1


if __name__ == "__main__":
    sys.exit(main())
