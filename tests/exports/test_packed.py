"""Packed sequences in graphs: what packing gives, for rows of any length, in PyTorch's graph and in ONNX."""

import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn.utils import rnn

from qtrain_cli.data.inputs import NamedInputs
from qtrain_cli.errors import RunFailed
from qtrain_cli.exports import export


class Packed(nn.Module):
    """Outputs of every step and the last hidden states, from packed rows."""

    def __init__(self, kind, batch_first=True, whole=True, cells=False, begin=False, **more):
        super().__init__()
        self.cells = kind(5, 4, batch_first=batch_first, **more)
        self.batch_first, self.whole, self.read_cells, self.begin = batch_first, whole, cells, begin

    def forward(self, x, lengths):
        steps, x = x.shape[1], x if self.batch_first else x.transpose(0, 1)
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=self.batch_first, enforce_sorted=False)
        found, last = self.cells(packed, self.start(lengths.shape[0]))
        hidden = last[0] if isinstance(last, tuple) else last
        total = steps if self.whole else None
        padded, _ = rnn.pad_packed_sequence(found, self.batch_first, -0.5, total)
        padded = padded if self.batch_first else padded.transpose(0, 1)
        parts = [hidden.transpose(0, 1).flatten(1), padded.flatten(1) if self.whole else padded.mean(1)]
        return torch.cat([*parts, *([last[1][0]] if self.read_cells else [])], 1)

    def start(self, rows):
        layers = self.cells.num_layers * (2 if self.cells.bidirectional else 1)
        ramp = torch.arange(rows, dtype=torch.float32).view(1, -1, 1)
        return ramp.expand(layers, rows, 4) / 7 if self.begin else None


def rows(count, steps=3):
    generator = torch.Generator().manual_seed(count)
    x = torch.randn(count, steps, 5, generator=generator)
    return NamedInputs({"x": x, "lengths": torch.randint(1, steps + 1, (count,), generator=generator)})


CASES = {
    "lstm of two layers, both ways": (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
    "lstm that projects": (nn.LSTM, {"proj_size": 3, "bidirectional": True}),
    "gru of two layers, time first, from a start of each row's own": (
        nn.GRU,
        {"batch_first": False, "num_layers": 2, "begin": True},
    ),
    "rnn of relus without biases": (nn.RNN, {"nonlinearity": "relu", "bias": False}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_graph_gives_what_packing_gives_for_rows_of_any_length(case, tmp_path, traced_once):
    """Onnxruntime has no LSTM that projects."""
    kind, options = CASES[case]
    torch.manual_seed(0)
    module = Packed(kind, **options).eval()
    forward = module.cells.forward
    export(module.state_dict(), tmp_path / "m.pt2", module=module, example=rows(2))
    if "proj_size" not in options:
        export(module.state_dict(), tmp_path / "m.onnx", module=module, example=rows(2))
    assert module.cells.forward == forward
    graph = torch.export.load(tmp_path / "m.pt2").module()
    onnx = tmp_path / "m.onnx"
    session = onnxruntime.InferenceSession(onnx) if onnx.exists() else None
    for count in (1, 2, 9):
        given = rows(count).parts
        with torch.no_grad():
            expected = module(**given)
            torch.testing.assert_close(graph(**given), expected)
        if session is None:
            continue
        (found,) = session.run(["output"], {name: part.numpy() for name, part in given.items()})
        torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"), [({"whole": False}, "differs"), ({"cells": True}, "differs|nan")]
)
def test_what_a_padded_graph_cannot_give_is_refused(options, said, tmp_path):
    module = Packed(nn.LSTM, **options).eval()
    example = NamedInputs({"x": torch.randn(2, 6, 5), "lengths": torch.zeros(2, dtype=torch.int64)})
    with pytest.raises(RunFailed, match=said):
        export(module.state_dict(), tmp_path / "m.pt2", module=module, example=example)
    assert not list(tmp_path.iterdir())
