"""Inputs that a model can be asked with: tokens where there is a table, masks that leave something."""

import pytest
import torch
from torch import nn

from qtrain_cli.data.inputs import NamedInputs
from qtrain_cli.errors import BadInput
from qtrain_cli.models.arguments import arguments_of
from qtrain_cli.models.probes import made_inputs, readable


def run(module, inputs):
    placed, named = arguments_of(module, inputs)
    try:
        return module(*placed, **named)
    except Exception as error:
        raise BadInput(str(error)) from error


class Masked(nn.Module):
    """Attention over words that a mask leaves; a row without any gives no number."""

    def __init__(self, seen):
        super().__init__()
        self.words, self.places, self.seen = nn.Embedding(30, 4), nn.Embedding(64, 4), seen

    def forward(self, tokens, mask, lengths):
        found = self.words(tokens) + self.places(torch.arange(tokens.shape[1]))
        hidden = mask.bool() != self.seen
        weights = torch.zeros(tokens.shape).masked_fill(hidden, -torch.inf).softmax(1)
        assert bool((lengths > 0).all()) and int(lengths.max()) <= tokens.shape[1]
        return (found * weights.unsqueeze(-1)).sum(1)


@pytest.mark.parametrize(("dtype", "seen"), [(torch.bool, True), (torch.bool, False), (torch.int64, True)])
def test_each_part_is_filled_with_what_the_model_reads(dtype, seen):
    blank = {
        "tokens": torch.zeros(2, 6, dtype=torch.int64), "mask": torch.zeros(2, 6, dtype=dtype),
        "lengths": torch.zeros(2, dtype=torch.int64),
    }  # fmt: skip
    found = readable(NamedInputs(blank), Masked(seen), run).parts
    assert int(found["tokens"].min()) >= 1 and int(found["tokens"].max()) < 30
    assert found["mask"].dtype == dtype and found["lengths"].tolist() == [5, 6]
    if seen:
        assert found["mask"].bool().sum(1).tolist() == [6, 5]


def test_rows_of_the_data_stay_as_they_are():
    given = NamedInputs({"tokens": torch.tensor([[1, 2], [3, 0]]), "x": torch.zeros(2, 3)})
    found = readable(given, nn.Embedding(9, 2), lambda module, inputs: torch.zeros(2))
    assert all(found.parts[name] is part for name, part in given.parts.items())


def test_shapes_alone_become_numbers_or_tokens():
    assert made_inputs((4,), 3, nn.Linear(4, 2), run).dtype == torch.float32
    tokens = made_inputs((4,), 3, nn.Embedding(9, 2), run)
    assert tokens.dtype == torch.int64 and int(tokens.min()) >= 1 and tokens.shape == (3, 4)
    with pytest.raises(BadInput, match="mat1 and mat2"):
        made_inputs((5,), 3, nn.Linear(4, 2), run)
