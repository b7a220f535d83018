"""What is reported is what a user of the file gets: for architectures of many habits, to the last row.

Each is taught, compressed and exported; another process, which knows PyTorch alone, builds it anew, loads the
exported tensors and counts. In the test suite a few; all of them, and a table, by

    python tests/test_architectures.py
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import architectures
import numpy as np
import pytest
import torch

from qtrain_cli.cli import main

HERE = Path(__file__).resolve().parent
#: Refused before training, each by its reason.
REFUSED = {
    "hook-renames-one-way": "load_state_dict does not take its own state dictionary",
    "hook-scales": "'part.weight' are changed by loading them",
    "cached-for-good": "state dictionary does not hold: 'part.kept' differ",
    "unsaved-drawn": "state dictionary does not hold: 'part.table' differ",
    "counter-unsaved": "state dictionary does not hold: 'part.steps' differ",
}
#: No two calls give the same; the record says so.
NOTED = {"sampling": "the model draws random numbers in evaluation: the figures are those of one draw"}
QUICK = (
    "parameters-in-a-list", "adapter-merging", "hook-renames", "cached-in-evaluation", "checkpoint-first",
    "batch-norm", "embedding-padding-row", "tied", "sampling", *REFUSED,
)  # fmt: skip


def told(*words: object) -> tuple[int, dict]:
    """Exit code and JSON of a command line."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = main([*map(str, words), "--json"])
    return code, json.loads(out.getvalue())


def compressed(name: str, folder: Path) -> tuple[int, dict]:
    """Exit code and document of `compress`, and the exported tensors in `folder`."""
    kept = {
        f"{axis}_{split}": part.numpy()
        for split, count, seed in (("train", architectures.TRAIN, 1), ("test", architectures.TEST, 2))
        for axis, part in zip("xy", architectures.rows_of(name, count, seed), strict=True)
    }
    np.savez(folder / f"{name}.npz", **kept)
    torch.save(architectures.taught(name).state_dict(), folder / f"{name}.pt")
    code, document = told(
        "compress", folder / f"{name}.pt", "--arch", f"{HERE / 'architectures.py'}:make",
        "--arch-args", json.dumps({"name": name}), "--data", folder / f"{name}.npz",
        "--params", 60, "--epochs", 2, "--lr", 0.05, "-o", folder / f"{name}.qtrain",
    )  # fmt: skip
    if code == 0:
        assert (
            told("export", folder / f"{name}.qtrain", "--classical", "-o", folder / f"{name}.out.pt")[0] == 0
        )
    return code, document


def counted(folder: Path) -> dict[str, int]:
    """What a process that knows PyTorch alone gets right with the exported tensors."""
    files = sorted(folder.glob("*.out.pt"))
    words = [word for path in files for word in (path.name.removesuffix(".out.pt"), str(path))]
    code = [sys.executable, "-P", str(HERE / "architectures.py"), *words]
    return json.loads(subprocess.run(code, capture_output=True, text=True, check=True).stdout)


def outcomes(names: list[str], folder: Path) -> dict[str, tuple[int, dict, int | None]]:
    """By name: exit code, record or error, and the count of the other process."""
    found = {name: compressed(name, folder) for name in names}
    right = counted(folder)
    return {name: (*ended, right.get(name)) for name, ended in found.items()}


def agrees(name: str, code: int, document: dict, right: int | None) -> bool:
    """Whether an outcome is the one that is promised."""
    if name in REFUSED:
        return code != 0 and REFUSED[name] in document["error"]["message"]
    if code or document["figure_note"] != NOTED.get(name):
        return False
    return name in NOTED or round(document["test_accuracy"] * architectures.TEST) == right


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return outcomes(list(QUICK), tmp_path_factory.mktemp("architectures"))


@pytest.mark.parametrize("name", QUICK)
def test_the_reported_figure_is_that_of_the_exported_weights_or_there_is_none(found, name):
    code, document, right = found[name]
    assert agrees(name, code, document, right), (code, document, right)


def test_what_is_refused_costs_no_training_and_leaves_nothing(found, tmp_path):
    name = next(iter(REFUSED))
    compressed(name, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.npz", f"{name}.pt"]


def table() -> int:
    """Prints a line for each architecture; the number of those that are not as promised."""
    started, wrong = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        found = outcomes(list(architectures.FACTORIES), Path(folder))
    print(f"{'architecture':26}{'reported':>10}{'exported':>10}  of {architectures.TEST} rows")
    for name, (code, document, right) in found.items():
        wrong += not agrees(name, code, document, right)
        mark = "" if agrees(name, code, document, right) else "  NOT AS PROMISED"
        if code:
            print(f"{name:26}{'refused':>10}{'':>10}  exit {code}: {document['error']['message']}{mark}")
        else:
            reported = round(document["test_accuracy"] * architectures.TEST)
            print(f"{name:26}{reported:>10}{right:>10}  {document['figure_note'] or 'the same'}{mark}")
    print(f"{len(found)} architectures in {time.monotonic() - started:.0f} s, {wrong} not as promised")
    return wrong


if __name__ == "__main__":
    sys.exit(min(table(), 1))
