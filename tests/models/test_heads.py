"""A head on features: what a row's features are, and that it comes off again without a trace."""

import json

import pytest
import torch
from torch import nn

from qtrain_cli.models.heads import has_head, pooling_of, put_head, take_head
from qtrain_cli.targets.change import FIRST_PLACE, HEAD_WEIGHT, MEAN_PLACE


class Features(nn.Module):
    """Its inputs themselves, (N, L, 4) or (N, 4), or pictures (N, 4, H, W); it has a weight."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, x, attention_mask=None):
        return (x * self.one,)


@pytest.fixture
def scores():
    module = put_head(Features(), 4, 4, MEAN_PLACE)
    module.get_submodule("head").weight.data.copy_(torch.eye(4))
    return module


def scaled(features):
    return features / features.square().mean(1, keepdim=True).sqrt()


def test_padding_does_not_count_in_a_mean(scores):
    x, mask = torch.randn(2, 5, 4), torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    expected = torch.stack([x[0, :3].mean(0), x[1].mean(0)])
    torch.testing.assert_close(scores(x, attention_mask=mask), scaled(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores(x), scaled(x.mean(1)), rtol=1e-4, atol=1e-5)
    x[0, 3:] = 100.0
    torch.testing.assert_close(scores(x, attention_mask=mask)[0], scaled(expected)[0], rtol=1e-4, atol=1e-5)


def test_features_of_a_row_and_of_pictures(scores):
    row, pictures = torch.randn(3, 4), torch.randn(3, 4, 2, 5)
    torch.testing.assert_close(scores(row), scaled(row), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores(pictures), scaled(pictures.mean((2, 3))), rtol=1e-4, atol=1e-5)


def test_the_first_place_alone():
    module = put_head(Features(), 4, 4, FIRST_PLACE)
    module.get_submodule("head").weight.data.copy_(torch.eye(4))
    x = torch.randn(2, 5, 4)
    torch.testing.assert_close(module(x), scaled(x[:, 0]), rtol=1e-4, atol=1e-5)


def test_it_begins_at_zero_and_comes_off_without_a_trace():
    module, x = Features(), torch.randn(2, 5, 4)
    before = dict(module.state_dict())
    put_head(module, 4, 3, MEAN_PLACE)
    assert has_head(module) and bool((module(x) == 0).all()) and HEAD_WEIGHT in module.state_dict()
    take_head(module)
    assert not has_head(module) and module.state_dict().keys() == before.keys()
    assert torch.equal(module(x)[0], x) and not module._forward_hooks_with_kwargs


@pytest.mark.parametrize(
    ("said", "found"),
    [({"pooling_mode_cls_token": True}, FIRST_PLACE), ({"pooling_mode_cls_token": False}, MEAN_PLACE),
     ([], MEAN_PLACE), (None, MEAN_PLACE)],
)  # fmt: skip
def test_pooling_is_what_the_folder_says(tmp_path, said, found):
    (tmp_path / "1_Pooling").mkdir()
    if said is not None:
        (tmp_path / "1_Pooling/config.json").write_text(json.dumps(said))
    assert pooling_of(tmp_path) == found
