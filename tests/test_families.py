"""Model families from their own files to their own libraries: inspect, plan, ten steps of compress, exports.

Each row is what a person does from the command line. What is exported is read back by the family's library
(weights) and by PyTorch and onnxruntime (graphs), and each is asked with rows of the data: all have to answer
alike. In the test suite a few; all of them, and a table, by

    python tests/test_families.py
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import families
import numpy as np
import pytest
import torch
from families import FAMILIES, TEST, TRAIN, Family

from qtrain_cli.artifact.expansion import LARGE
from qtrain_cli.cli import main

os.environ.setdefault("HF_HUB_OFFLINE", "1")
BUDGET = ("--params", 300)
STEPS = ("inspect", "plan", "compress", "verify", ".safetensors", ".pt2", ".onnx")
GRAPHS = (".pt2", ".onnx")


def missing(family: Family) -> str:
    """The packages that are not here."""
    return ", ".join(name for name in family.needs if importlib.util.find_spec(name) is None)


def told(*words: object) -> dict:
    """The JSON of a command line, `error` in it where it failed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = main([*map(str, words), "--json"])
    document = json.loads(out.getvalue())
    assert bool(code) == ("error" in document)
    return document


def written(family: Family, folder: Path) -> tuple[Path, Path]:
    """The model, and the rows with their targets."""
    model, rows = family.write(folder), {}
    teaches = family.targets and model.is_dir()
    teacher = family.read(folder, own_weights(model)).eval() if teaches else None
    for split, count, seed in (("train", TRAIN, 1), ("test", TEST, 2)):
        found = family.rows(count, seed)
        rows |= {f"x_{split}.{name}".rstrip("."): part.numpy() for name, part in found.items()}
        rows[f"y_{split}"] = (torch.arange(count) % families.CLASSES).numpy()
        if family.targets:
            with torch.no_grad():
                rows[f"y_{split}"] = family.targets(teacher, found).numpy()
    np.savez(folder / "rows.npz", **rows)
    return model, folder / "rows.npz"


def own_weights(model: Path) -> Path:
    return model / "model.safetensors"


def outcomes(family: Family, folder: Path) -> dict[str, str]:
    """By step: what came of it, "ok" or why not."""
    model, data = written(family, folder)
    artifact, options = folder / "model.qtrain", family.options
    os.environ.update({LARGE: "1"} if family.large else {})
    planned = BUDGET if family.large else ()
    found = {
        "inspect": told("inspect", model),
        "plan": told("plan", model, *options, *planned, "--input-shape", shape_of(family)),
        "compress": told(
            "compress", model, *options, "--data", data, "--teacher-any", "-o", artifact, "--device", "cpu",
            *BUDGET, "--epochs", 1, "--batch-size", 9, *family.train,
        ),
    }  # fmt: skip
    if "error" not in found["compress"]:
        found |= {"verify": told("verify", artifact)}
        for ending in (".safetensors", *GRAPHS):
            source = model_options(model, options) if ending in GRAPHS else ()
            found[ending] = told("export", artifact, "--classical", "-o", folder / f"out{ending}", *source)
    said = {step: document.get("error", {}).get("message", "ok") for step, document in found.items()}
    if said.get(".safetensors") == "ok":
        said |= compared(family, folder, [end for end in GRAPHS if said[end] == "ok"])
    return said


def shape_of(family: Family) -> str:
    shapes = {name: ",".join(map(str, part.shape[1:])) for name, part in family.rows(1, 0).items()}
    return shapes.get("") or " ".join(f"{name}={sizes}" for name, sizes in shapes.items())


def model_options(model: Path, options: tuple[str, ...]) -> tuple[object, ...]:
    return ("--model", model, *options)


def compared(family: Family, folder: Path, endings: list[str]) -> dict[str, str]:
    """Whether library, PyTorch's graph and onnxruntime answer alike on rows of the data."""
    rows = family.rows(5, 7)
    module = family.read(folder, folder / "out.safetensors").eval()
    with torch.no_grad():
        expected = family.call(module, rows)
    answers = {".pt2": by_torch, ".onnx": by_onnxruntime}
    said = {}
    for ending in endings:
        found = answers[ending](folder / f"out{ending}", rows)
        apart = float((found - expected).abs().max() / expected.abs().max())
        said[ending] = "ok" if apart < 1e-3 else f"differs by {apart:.2g} on rows of the data"
    return said


def by_torch(path: Path, rows: families.Rows) -> torch.Tensor:
    graph = torch.export.load(path).module()
    with torch.no_grad():
        return graph(*rows.values()) if "" in rows else graph(**rows)


def by_onnxruntime(path: Path, rows: families.Rows) -> torch.Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    asked = {one.name for one in session.get_inputs()}
    fed = {name or "input": part.numpy() for name, part in rows.items() if (name or "input") in asked}
    return torch.from_numpy(session.run(["output"], fed)[0])


def promised(family: Family, said: dict[str, str]) -> bool:
    """Whether every step ended well, or as the table says that it cannot."""
    return list(said) == list(STEPS) and all(
        said[step] == "ok" or family.no_graph.get(step, "\0") in said[step] for step in STEPS
    )


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.quick])
def test_a_family_goes_all_the_way(name, tmp_path):
    family = FAMILIES[name]
    if missing(family):
        pytest.skip(f"needs {missing(family)}")
    said = outcomes(family, tmp_path)
    assert promised(family, said), said


def table(names: list[str]) -> int:
    """Prints a line for each family; the number of those that are not as promised."""
    wrong = 0
    print(f"{'family':28}" + "".join(f"{step:>13}" for step in STEPS) + f"{'seconds':>9}", flush=True)
    for name in names or list(FAMILIES):
        family, started = FAMILIES[name], time.monotonic()
        if missing(family):
            print(f"{name:28}  skipped: needs {missing(family)}", flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            said = outcomes(family, Path(folder))
        cells = "".join(f"{'ok' if said.get(step) == 'ok' else 'no':>13}" for step in STEPS)
        print(f"{name:28}{cells}{time.monotonic() - started:9.1f}", flush=True)
        for step, text in said.items():
            if text != "ok":
                print(f"    {step}: {text}", flush=True)
        wrong += not promised(family, said)
    return wrong


if __name__ == "__main__":
    sys.exit(table(sys.argv[1:]) > 0)
