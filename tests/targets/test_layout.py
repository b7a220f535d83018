"""Layouts: roles, fan-in and centre of every kind of layer, patterns, and the way to tensors and back."""

import math

import pytest
import torch
from artifacts import layouts
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.targets.entries import DTYPE_BYTES, GENERATED, KEPT, TIED
from qtrain_cli.targets.layout import DTYPES, complete, join, kept_tensors, layout_of, split


def rows(module, **patterns):
    """``{name: (fan-in, centre)}`` of the generated tensors."""
    found = layout_of(module, **patterns).of_role(GENERATED)
    return {entry.name: (entry.fan_in, entry.centre) for entry in found}


def roles(module, **patterns):
    return {entry.name: entry.role for entry in layout_of(module, **patterns).entries}


class Holder(nn.Module):
    """Parameters and buffers that no layer owns."""

    def __init__(self, **tensors):
        super().__init__()
        for name, tensor in tensors.items():
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.last = nn.Linear(3, 5, bias=False)
        self.last.weight = self.embed.weight


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Linear(7, 3), {"weight": (7, 0), "bias": (7, 0)}),
        (nn.Bilinear(2, 3, 4), {"weight": (6, 0), "bias": (6, 0)}),
        (nn.Conv1d(4, 6, 5), {"weight": (20, 0), "bias": (20, 0)}),
        (nn.Conv2d(4, 6, (3, 5)), {"weight": (60, 0), "bias": (60, 0)}),
        (nn.Conv2d(4, 6, 3, groups=2, bias=False), {"weight": (18, 0)}),
        (nn.Conv3d(2, 2, 2), {"weight": (16, 0), "bias": (16, 0)}),
        (nn.ConvTranspose2d(4, 6, 3), {"weight": (36, 0), "bias": (36, 0)}),
        (nn.ConvTranspose1d(4, 6, 5, groups=2), {"weight": (10, 0), "bias": (10, 0)}),
        (nn.Embedding(11, 4), {"weight": (4, 0)}),
        (nn.BatchNorm2d(9), {"weight": (9, 1), "bias": (9, 0)}),
        (nn.GroupNorm(2, 6), {"weight": (6, 1), "bias": (6, 0)}),
        (nn.LayerNorm(5), {"weight": (5, 1), "bias": (5, 0)}),
        (nn.LayerNorm((2, 3)), {"weight": (6, 1), "bias": (6, 0)}),
        (nn.RMSNorm((2, 2)), {"weight": (4, 1)}),
        (nn.InstanceNorm1d(3, affine=True), {"weight": (3, 1), "bias": (3, 0)}),
        (nn.PReLU(4), {"weight": (4, 0.25)}),
        (Holder(token=nn.Parameter(torch.zeros(1, 1, 6))), {"token": (6, 0)}),
        (Holder(temperature=nn.Parameter(torch.zeros(()))), {"temperature": (1, 0)}),
        (Holder(gamma=nn.Parameter(torch.zeros(4))), {"gamma": (4, 0)}),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, nn.Module) else "",
)
def test_fan_in_and_centre(layer, expected):
    assert rows(layer) == expected


@pytest.mark.parametrize(("layer", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers(layer, gates):
    found = rows(layer(5, 7, num_layers=2, bidirectional=True))
    assert found["weight_ih_l0"] == found["bias_ih_l0"] == found["bias_ih_l0_reverse"] == (5, 0)
    assert found["weight_hh_l0"] == found["bias_hh_l0"] == (7, 0)
    assert found["weight_ih_l1"] == found["bias_ih_l1"] == (14, 0)
    assert len(found) == 16


def test_attention():
    found = rows(nn.MultiheadAttention(6, 2))
    assert found == dict.fromkeys(
        ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"), (6, 0)
    )


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(7, 3),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.Conv1d(3, 5, 2),
        nn.Embedding(4, 9),
        nn.Bilinear(2, 3, 4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_matrices_have_the_fan_in_of_torch(layer):
    fan_in, _ = nn.init._calculate_fan_in_and_fan_out(layer.weight)
    assert rows(layer)["weight"] == (fan_in, 0)


def test_a_transposed_convolution_sums_over_as_many_inputs():
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2)
    reached = torch.zeros(1, 4, 5, 5, requires_grad=True)
    layer(reached)[0, 0, 3, 3].backward()
    assert rows(layer)["weight"][0] == int((reached.grad != 0).sum())


def test_names_inside_a_module():
    module = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4), nn.ConvTranspose1d(4, 2, 3)))
    assert rows(module) == {
        "0.weight": (3, 0), "0.bias": (3, 0), "1.0.weight": (4, 1), "1.0.bias": (4, 0),
        "1.1.weight": (12, 0), "1.1.bias": (12, 0),
    }  # fmt: skip


def test_the_order_is_that_of_the_state_dictionary():
    module = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    assert [entry.name for entry in layout_of(module).entries] == list(module.state_dict())


def test_buffers_integers_and_empty_parameters_are_kept():
    whole = nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False)
    module = Holder(a=nn.Parameter(torch.ones(2)), b=torch.ones(3), c=whole, d=nn.Parameter(torch.ones(0, 2)))
    assert roles(module) == {"a": GENERATED, "b": KEPT, "c": KEPT, "d": KEPT}
    found = roles(nn.BatchNorm1d(2))
    assert [found[name] for name in ("running_mean", "running_var", "num_batches_tracked")] == [KEPT] * 3


def test_running_statistics_are_stored_in_half_precision_and_nothing_else_is():
    module = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2).double(), nn.BatchNorm1d(2).half())
    module.register_buffer("table", torch.ones(3))
    stored = {entry.name: entry.stored for entry in layout_of(module, ignore=("0.weight",)).entries}
    narrow = {f"{place}.running_{what}" for place in (0, 1) for what in ("mean", "var")}
    assert {name for name, dtype in stored.items() if dtype == "F16"} == narrow
    assert {dtype for name, dtype in stored.items() if name not in narrow} == {""}


def test_frozen_parameters_are_kept_unless_they_are_named_or_all_are():
    assert roles(nn.Linear(2, 2).requires_grad_(False)) == {"weight": GENERATED, "bias": GENERATED}
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[0].requires_grad_(False)

    def made(*targets):
        return {name for name, role in roles(module, targets=targets).items() if role == GENERATED}

    assert made() == made("*") == made("*.weight", "1") == {"1.weight", "1.bias"}
    assert made("0.weight", "1.bias") == {"0.weight", "1.bias"}
    assert made("0") == {"0.weight", "0.bias"}, "a pattern that matches frozen ones alone means them"


def test_values_are_not_read():
    module = nn.Linear(3, 4, device="meta")
    assert layout_of(module) == layout_of(nn.Linear(3, 4))


def test_dtypes_are_those_of_the_model():
    for name, dtype in DTYPES.items():
        entry = layout_of(Holder(w=torch.ones(2).to(dtype))).entries[0]
        assert (entry.dtype, DTYPE_BYTES[name]) == (name, torch.ones(1).to(dtype).element_size())


def test_a_dtype_that_no_artifact_holds():
    with pytest.raises(BadInput, match=r"tensor 'w' is torch.complex64; allowed: F64, F32"):
        layout_of(Holder(w=nn.Parameter(torch.ones(2, dtype=torch.complex64))))


def test_state_that_is_no_tensor():
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"version": 1}

    with pytest.raises(BadInput, match="'_extra_state' of the state dictionary is a dict, not a tensor"):
        layout_of(Extra(2, 2))


def test_tied_weights_are_generated_once():
    layout = layout_of(Tied())
    assert [(entry.name, entry.role, entry.source) for entry in layout.entries] == [
        ("embed.weight", GENERATED, ""), ("last.weight", TIED, "embed.weight"),
    ]  # fmt: skip
    state = complete(layout, split(layout, torch.arange(15.0)), {})
    assert state["embed.weight"] is state["last.weight"]


@pytest.mark.parametrize("name", ["embed.weight", "last.weight"])
def test_a_tied_tensor_goes_by_any_of_its_names(name):
    assert roles(Tied(), targets=[name]) == {"embed.weight": GENERATED, "last.weight": TIED}
    assert roles(Tied(), ignore=[name]) == {"embed.weight": KEPT, "last.weight": TIED}


NET = nn.Sequential()
NET.add_module("conv1", nn.Conv2d(1, 2, 3))
NET.add_module("conv10", nn.Conv2d(2, 2, 3))
NET.add_module("norm", nn.BatchNorm2d(2))
NET.add_module("head", nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["conv1.weight"], {"conv1.weight"}),
        (["conv1"], {"conv1.weight", "conv1.bias"}),
        (["conv*"], {"conv1.weight", "conv1.bias", "conv10.weight", "conv10.bias"}),
        (["conv?.*"], {"conv1.weight", "conv1.bias"}),
        (["*.bias"], {"conv1.bias", "conv10.bias", "norm.bias", "head.bias"}),
        (["re:^conv\\d+\\.w"], {"conv1.weight", "conv10.weight"}),
        (["re:bias$", "head"], {"conv1.bias", "conv10.bias", "norm.bias", "head.bias", "head.weight"}),
    ],
)
def test_patterns(patterns, expected):
    assert set(rows(NET, targets=patterns)) == expected
    assert set(rows(NET, ignore=patterns)) == set(rows(NET)) - expected


def test_ignore_wins_over_targets():
    assert set(rows(NET, targets=["head"], ignore=["*.bias"])) == {"head.weight"}


@pytest.mark.parametrize("pattern", ["1.running_mean", "1.*", "re:num_batches"])
def test_buffers_are_kept_anyway_and_may_be_ignored(pattern):
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    kept = {entry.name for entry in layout_of(module, ignore=[pattern]).of_role(KEPT)}
    assert kept >= {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert ("1.weight" in kept) == (pattern == "1.*")
    with pytest.raises(UsageError, match=r"--targets '1.running_mean' matches no parameter"):
        layout_of(module, targets=["1.running_mean"])


@pytest.mark.parametrize("option", ["targets", "ignore"])
def test_a_pattern_that_matches_nothing(option):
    with pytest.raises(UsageError) as refused:
        layout_of(NET, **{option: ["conv1", "conv1.wieght"]})
    kind = {"targets": "parameter", "ignore": "tensor"}[option]
    assert refused.value.message == f"--{option} 'conv1.wieght' matches no {kind}"
    assert refused.value.advice == "did you mean 'conv1.weight'?"


@pytest.mark.parametrize("pattern", ["", "con", "norm.running_mean", "re:^weight", "CONV1", "conv1."])
def test_more_patterns_that_match_nothing(pattern):
    with pytest.raises(UsageError, match="matches no parameter"):
        layout_of(NET, targets=[pattern])


def test_the_suggestion_stays_short():
    many = nn.Sequential(*[nn.Linear(1, 1) for _ in range(30)])
    with pytest.raises(UsageError) as refused:
        layout_of(many, targets=["something else"])
    assert refused.value.advice.startswith("allowed: 0.weight, 0.bias, 1.weight")
    assert refused.value.advice.endswith("9.bias, ... (60 in all)")


def test_a_bad_regular_expression():
    with pytest.raises(UsageError, match=r"--ignore 're:\(' is not a regular expression: missing \)"):
        layout_of(NET, ignore=["re:("])


def test_split_names_shapes_and_rounds():
    layout = layout_of(nn.Linear(2, 2).half())
    found = split(layout, torch.tensor([1.0, 2, 3, 4, 1 + 2**-11 + 2**-40, 6], dtype=torch.float64))
    assert found["weight"].tolist() == [[1, 2], [3, 4]] and found["weight"].dtype == torch.float16
    assert found["bias"].tolist() == [1, 6]  # by way of float32, where the last part is lost


@pytest.mark.parametrize("count", [5, 7, 0])
def test_split_needs_all_weights_and_no_more(count):
    with pytest.raises(BadInput, match=rf"\({count},\) weights for a layout of 6"):
        split(layout_of(nn.Linear(2, 2)), torch.zeros(count))


def test_split_is_differentiable():
    weights = torch.arange(6.0, requires_grad=True)
    (split(layout_of(nn.Linear(2, 2)), weights)["bias"] ** 2).sum().backward()
    assert weights.grad.tolist() == [0, 0, 0, 0, 8, 10]


@given(layout=layouts(("F64",)), data=st.data())
@settings(max_examples=60, deadline=None)
def test_there_and_back(layout, data):
    weights = torch.rand(layout.generated, dtype=torch.float64)
    kept = {entry.name: torch.ones(entry.shape).to(DTYPES[entry.dtype]) for entry in layout.of_role(KEPT)}
    state = complete(layout, split(layout, weights), kept)
    assert list(state) == [entry.name for entry in layout.entries]
    assert torch.equal(join(layout, state), weights)
    assert kept_tensors(layout, state).keys() == kept.keys()
    for entry in layout.entries:
        assert (state[entry.name].shape, state[entry.name].dtype) == (entry.shape, DTYPES[entry.dtype])
        assert entry.role != TIED or state[entry.name] is state[entry.source]


@given(layouts())
@settings(max_examples=40, deadline=None)
def test_numbers_are_taken_in_order(layout):
    generated = split(layout, torch.arange(layout.generated, dtype=torch.float64))
    flat = [int(value) for tensor in generated.values() for value in tensor.double().flatten()]
    assert flat == list(range(layout.generated))


def test_a_model_keeps_its_function():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2)).eval()
    layout, inputs = layout_of(module), torch.rand(3, 1, 4, 4)
    weights = join(layout, module.state_dict())
    assert math.prod(weights.shape) == sum(p.numel() for p in module.parameters())
    state = complete(layout, split(layout, weights), kept_tensors(layout, module.state_dict()))
    assert torch.equal(torch.func.functional_call(module, state, (inputs,)), module(inputs))
