"""Which output counts: the first, logits, or the one that --output names."""

from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from qtrain_cli.errors import BadInput
from qtrain_cli.models.outputs import noting_choice, output_at, picks

ONE, TWO, THREE = torch.zeros(1), torch.ones(2), torch.ones(3)
Pair = namedtuple("Pair", ["mean", "spread"])


@pytest.mark.parametrize(
    ("outputs", "path", "found"),
    [
        ({"a": ONE, "logits": TWO}, "a", ONE),
        ((ONE, TWO), "1", TWO),
        ([ONE, {"x": (TWO, THREE)}], "1.x.1", THREE),
        (Pair(ONE, TWO), "spread", TWO),
        (Pair(ONE, TWO), "0", ONE),
        (SimpleNamespace(sample=THREE), "sample", THREE),
    ],
)
def test_a_dotted_path_leads_to_a_tensor(outputs, path, found):
    assert output_at(outputs, path) is found


@pytest.mark.parametrize(
    ("outputs", "path", "said"),
    [
        ({"logits": ONE, "hidden": TWO}, "logit", "the model's output holds logits, hidden"),
        ((ONE, TWO), "2", "the model's output holds 0, 1"),
        ({"a": (ONE,)}, "a.b", "'a' of the model's outputs holds 0"),
        (ONE, "logits", "the model's output is a Tensor, which holds no others"),
        ({"a": (ONE, TWO)}, "a", "is a tuple, no tensor"),
    ],
)
def test_a_path_to_nothing_says_what_there_is(outputs, path, said):
    with pytest.raises(BadInput, match=f"--output {path}.*{said}") as caught:
        output_at(outputs, path)
    assert not caught.value.advice.endswith(": ")


def test_where_there_is_but_one_output_the_way_on_is_to_name_none():
    with pytest.raises(BadInput) as caught:
        output_at(ONE, "3")
    assert caught.value.advice == "name what is above it, or leave out --output"


@pytest.mark.parametrize("nothing", [None, 0.5, ()])
def test_what_is_no_tensor_and_holds_none_names_the_way_on_too(nothing):
    with pytest.raises(BadInput, match=r"--output loss is a \w+, no tensor") as caught:
        output_at({"loss": nothing, "logits": ONE}, "loss")
    assert caught.value.advice == "name another output, or leave out --output"


class Several(nn.Linear):
    def forward(self, x):
        return {"hidden": x, "logits": super().forward(x)}


def test_a_module_that_picks_returns_nothing_else_and_there_is_no_choice_to_say():
    module, x, said = Several(3, 2), torch.ones(4, 3), []
    with noting_choice(module, said.append) as noted:
        module(x)
    assert noted.path == "logits" and said == ["of the model's outputs 'logits' counts"]
    picks(module, "hidden")
    with noting_choice(module, said.append) as noted:
        assert torch.equal(module(x), x)
    assert noted.path is None and len(said) == 1
