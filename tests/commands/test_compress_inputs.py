"""`compress`, `verify` and `export` with models of several inputs and several outputs."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import qtrain_cli
from qtrain_cli.artifact.description import describe, read_record
from qtrain_cli.artifact.example import Example, NamedExamples
from qtrain_cli.commands import compare, export, inspect, verify
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.methods.table import OURS
from qtrain_cli.settings import (
    CompareSettings,
    DataSettings,
    ExportSettings,
    FitSettings,
    ModelSettings,
    VerifySettings,
)

NETS = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.side, self.out = nn.Embedding(20, 8), nn.Linear(3, 8), nn.Linear(8, 2)

    def outputs(self, tokens, mask, side):
        found = self.table(tokens) * mask.unsqueeze(-1)
        return self.out(torch.tanh(found.sum(1) / mask.sum(1, keepdim=True) + self.side(side)))

class ByName(Two):
    def forward(self, side, tokens, mask):
        return self.outputs(tokens, mask, side)

class ByPosition(Two):
    def forward(self, a, b, c):
        return self.outputs(a, b, c)

class AsOne(Two):
    def forward(self, batch):
        scores = self.outputs(batch["tokens"], batch["mask"], batch["side"])
        return {"features": batch["side"], "nested": (scores.detach() * 0, scores)}
"""
FACTORIES: dict = {}
exec(NETS, FACTORIES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows, the architectures, and one set of weights that learned them."""
    where, generator = tmp_path_factory.mktemp("two"), torch.Generator().manual_seed(0)
    tokens, side = (
        torch.randint(1, 20, (300, 6), generator=generator),
        torch.randn(300, 3, generator=generator),
    )
    mask = torch.arange(6) < torch.randint(2, 7, (300, 1), generator=generator)
    score = (torch.where(mask, tokens.float() - 10, torch.zeros(())).mean(1) / 3 + side[:, 0]) > 0
    parts = {"tokens": tokens.int(), "mask": mask, "side": side}
    rows = {f"x_{s}.{name}": part[at] for s, at in SPLITS for name, part in parts.items()}
    np.savez(where / "rows.npz", **rows, **{f"y_{s}": score.long()[at] for s, at in SPLITS})
    (where / "nets.py").write_text(NETS)
    torch.manual_seed(0)
    module = FACTORIES["ByName"]()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(120):
        optimizer.zero_grad()
        nn.functional.cross_entropy(
            module(side[:200], tokens[:200], mask[:200]), score[:200].long()
        ).backward()
        optimizer.step()
    torch.save(module.state_dict(), where / "net.pt")
    return where


SPLITS = (("train", slice(0, 200)), ("test", slice(200, 300)))


def settings(folder, name, **changes):
    return {
        "path": folder / "net.pt", "arch": f"{folder / 'nets.py'}:{name}",
        "source": str(folder / "rows.npz"), "teacher_any": False, **changes,
    }  # fmt: skip


def regenerated(folder, tmp_path, name):
    module = FACTORIES[name]()
    qtrain_cli.load(tmp_path / "net.qtrain").put_into(module)
    data = np.load(folder / "rows.npz")
    parts = {part: torch.from_numpy(data[f"x_test.{part}"]) for part in ("tokens", "mask", "side")}
    parts["tokens"] = parts["tokens"].long()
    return module.eval(), parts, torch.from_numpy(data["y_test"])


@pytest.mark.parametrize(("name", "way"), [("ByName", "by name"), ("ByPosition", "by position")])
def test_a_model_of_three_inputs_from_data_to_graphs(run, folder, tmp_path, name, way):
    done = run(**settings(folder, name))
    assert f"the model is given tokens, mask, side {way}" in done.logged
    module, parts, y = regenerated(folder, tmp_path, name)
    with torch.no_grad():
        expected = module.outputs(parts["tokens"], parts["mask"], parts["side"])
    assert done.record.scores.test == float((expected.argmax(1) == y).double().mean())
    assert done.record.measured.output is None
    artifact = tmp_path / "net.qtrain"
    assert verify.run(VerifySettings(artifact)).agreement == "exact"
    named = (
        ("tokens", Example("I64", (6,))),
        ("mask", Example("BOOL", (6,))),
        ("side", Example("F32", (3,))),
    )
    assert describe(artifact).example == NamedExamples(named)
    assert inspect.run(artifact)["input"]["mask"] == {"dtype": "BOOL", "shape": (6,)}
    arch = f"{folder / 'nets.py'}:{name}"
    for ending in (".pt2", ".onnx", ".safetensors"):
        export.run(ExportSettings(artifact, tmp_path / f"net{ending}", arch=arch))
    program = torch.export.load(tmp_path / "net.pt2").module()
    placed = (() if name == "ByName" else tuple(parts.values()), parts if name == "ByName" else {})
    torch.testing.assert_close(program(*placed[0], **placed[1]), expected)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    found = session.run(["output"], {key: part.numpy() for key, part in parts.items()})[0]
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=1e-4)


def test_a_dictionary_in_and_a_nested_output_that_is_named(run, folder, tmp_path):
    done = run(**settings(folder, "AsOne", output="nested.1"))
    assert "the model is given tokens, mask, side in a dictionary" in done.logged
    assert done.record.measured.output == "nested.1"
    assert read_record(tmp_path / "net.qtrain").measured.output == "nested.1"
    module, parts, y = regenerated(folder, tmp_path, "AsOne")
    with torch.no_grad():
        expected = module(parts)["nested"][1]
    assert done.record.scores.test == float((expected.argmax(1) == y).double().mean())
    artifact, arch = tmp_path / "net.qtrain", f"{folder / 'nets.py'}:AsOne"
    export.run(ExportSettings(artifact, tmp_path / "net.pt2", arch=arch))  # by the record's own word
    torch.testing.assert_close(torch.export.load(tmp_path / "net.pt2").module()(parts), expected)
    export.run(ExportSettings(artifact, tmp_path / "zeros.pt2", arch=arch, output="nested.0"))
    assert not torch.export.load(tmp_path / "zeros.pt2").module()(parts).any()
    again = run(**settings(folder, "AsOne", output="nested.1", resume=True))
    assert any("finished already" in line for line in again.logged)
    with pytest.raises(UsageError, match="another run"):
        run(**settings(folder, "AsOne", output="features", resume=True, teacher_any=True))


def test_an_output_that_is_none_says_which_there_are(run, folder):
    with pytest.raises(BadInput, match="--output logits: the model's output holds features, nested"):
        run(**settings(folder, "AsOne", output="logits"))
    with pytest.raises(UsageError, match=r"--output 'a\.\.b' is no name"):
        run(**settings(folder, "AsOne", output="a..b"))


def test_a_comparison_says_which_methods_read_one_tensor_only(folder, tmp_path):
    found = compare.run(
        CompareSettings(
            ModelSettings(folder / "net.pt", arch=f"{folder / 'nets.py'}:ByName"),
            DataSettings(str(folder / "rows.npz")), (500,), (OURS, "small-dense", "narrow"), (0,),
            FitSettings(epochs=2, device="cpu"), tmp_path / "cells", quick=True,
        ),
        lambda line: None,
    )  # fmt: skip
    ends = {cell.method: (cell.end, cell.note) for cell in found.cells}
    assert ends[OURS][0] == "done"
    said = "a small dense network reads one tensor of numbers, and the model has several inputs, or tokens"
    assert ends["small-dense"] == ("unsuited", said)
    assert ends["narrow"] == ("unsuited", "a model of several inputs, or of tokens, is not narrowed")
