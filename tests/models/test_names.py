"""Names of a checkpoint against those of an architecture, in both directions."""

import pytest
import torch
from torch import nn

from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.models import load_model
from qtrain_cli.models.names import AmbiguousNames, align
from qtrain_cli.settings import ModelSettings

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Sequential(nn.Linear(4, 5), nn.ReLU()), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.backbone(x))

class Wrapped(nn.Module):
    def __init__(self, name="net"):
        super().__init__()
        self.name = name
        setattr(self, name, Net())

    def forward(self, x):
        return getattr(self, self.name)(x)

class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Module(), nn.Linear(5, 2)
        self.backbone.body = nn.Sequential(nn.Linear(4, 5), nn.ReLU())
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path / 'net.py'}:Net"


def state(plus=0.0):
    numbers = torch.Generator().manual_seed(0)
    shapes = {"backbone.0.weight": (5, 4), "backbone.0.bias": (5,), "head.weight": (2, 5), "head.bias": (2,)}
    return {name: torch.randn(shape, generator=numbers) + plus for name, shape in shapes.items()}


def under(prefix, tensors):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def put(old, new, tensors):
    return {name.replace(old, new, 1): tensor for name, tensor in tensors.items()}


def loaded(tmp_path, arch, tensors, **more):
    torch.save(tensors, tmp_path / "m.pt")
    return load_model(ModelSettings(tmp_path / "m.pt", arch=arch, **more))


#: As checkpoints come, all of them the net above.
SURPLUS = {
    "DataParallel of a compiled model": under("module._orig_mod.", state()),
    "a compiled part": under("module.", put("backbone.", "backbone._orig_mod.", state())),
    "activation checkpointing": put("backbone.", "backbone._checkpoint_wrapped_module.", state()),
    "sharded": put("head.", "head._fsdp_wrapped_module.", under("_fsdp_wrapped_module.", state())),
    "a student's net": under("student.net.", state()),
    "an unusual name": under("encoder.trunk.", state()),
    "an inner name": put("backbone.", "backbone.features.", state()),
    "an outer and an inner name": under("learner.", put("backbone.", "backbone.features.", state())),
    "several inner ones": {
        name.replace("backbone.", "backbone.model.").replace("head.", "head.net."): value
        for name, value in state().items()
    },
}


@pytest.mark.parametrize("names", SURPLUS)
def test_names_with_more_than_the_model_has(tmp_path, net, names):
    found = loaded(tmp_path, net, SURPLUS[names])
    assert all(torch.equal(found.module.state_dict()[name], value) for name, value in state().items())
    assert found.notes == ()


@pytest.mark.parametrize("outer", ["net", "model", "student", "module"])
@pytest.mark.parametrize("prefix", ["", "model.", "teacher.", "module.learner."])
def test_names_without_what_the_model_has(tmp_path, net, outer, prefix):
    arch = net.replace(":Net", ":Wrapped")
    found = loaded(tmp_path, arch, under(prefix, state()), arch_args={"name": outer})
    assert all(torch.equal(getattr(found.module, outer).state_dict()[name], v) for name, v in state().items())


def test_an_inner_name_that_the_file_lacks(tmp_path, net):
    found = loaded(tmp_path, net.replace(":Net", ":Body"), under("module.", state()))
    assert torch.equal(found.module.backbone.body[0].weight, state()["backbone.0.weight"])


@pytest.mark.parametrize(
    ("tensors", "left"),
    [
        ({"n_averaged": torch.tensor(1), **under("module.", state())}, "'n_averaged'"),
        ({**under("model.", state()), "criterion.weight": torch.ones(2)}, "'criterion.weight'"),
        ({**state(), "ce_loss.weight": torch.ones(2), "val_acc.total": torch.tensor(1)}, "'ce_loss.weight'"),
        ({**under("model.", state()), **under("ema_model.", state(1))}, "'ema_model.backbone.0.weight'"),
    ],
)
def test_what_is_no_part_of_the_model_is_left_out_and_said(tmp_path, net, tensors, left):
    found = loaded(tmp_path, net, tensors)
    assert torch.equal(found.module.head.bias, state()["head.bias"])
    (note,) = found.notes
    assert note.startswith(f"left out, as no part of the model: {left}")


def test_an_average_as_pytorch_saves_it(tmp_path, net):
    model = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 3))
    average = torch.optim.swa_utils.AveragedModel(model)
    torch.save(average.state_dict(), tmp_path / "swa.pt")
    (tmp_path / "seq.py").write_text(
        "from torch import nn\ndef net(): return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 3))"
    )
    found = load_model(ModelSettings(tmp_path / "swa.pt", arch=f"{tmp_path / 'seq.py'}:net"))
    assert torch.equal(found.module[2].weight, model[2].weight)


def test_two_ways_are_refused_until_one_is_picked(tmp_path, net):
    both = {**under("student.", state()), **under("teacher.", state(1))}
    with pytest.raises(BadInput) as caught:
        loaded(tmp_path, net, both)
    assert "fit under 'student' and under 'teacher'" in caught.value.message
    assert caught.value.advice == "pick one: --weights student"
    picked = loaded(tmp_path, net, both, weights="teacher")
    assert torch.equal(picked.module.head.bias, state(1)["head.bias"])
    assert (picked.entry, picked.notes) == ("teacher", ())
    nested = loaded(tmp_path, net, {"state_dict": both}, weights="state_dict.student")
    assert torch.equal(nested.module.head.bias, state()["head.bias"]) and nested.entry == "state_dict.student"


def test_other_shapes_tell_a_student_from_its_teacher(tmp_path, net):
    wide = {name: torch.zeros(9, *value.shape) for name, value in state().items()}
    found = loaded(tmp_path, net, {**under("student.", state()), **under("teacher.", wide)})
    assert torch.equal(found.module.head.bias, state()["head.bias"])


def test_strange_names_beside_a_fitting_part_are_refused_with_the_way_on(tmp_path, net):
    with pytest.raises(BadInput) as caught:
        loaded(tmp_path, net, {**under("encoder.", state()), "decoder.weight": torch.ones(2)})
    assert "1 unexpected (decoder.weight)" in caught.value.message
    assert caught.value.advice.startswith(
        "if the rest is not wanted, take what is under one name: --weights encoder;"
    )


def test_a_part_of_safetensors_is_picked_too(tmp_path, net):
    from safetensors.torch import save_file

    save_file({**under("encoder.", state()), "decoder.weight": torch.ones(2)}, tmp_path / "m.safetensors")
    found = load_model(ModelSettings(tmp_path / "m.safetensors", arch=net, weights="encoder"))
    assert torch.equal(found.module.head.bias, state()["head.bias"]) and found.entry == "encoder"
    with pytest.raises(UsageError, match=r"no name in 'm.safetensors' begins with 'coder\.'"):
        load_model(ModelSettings(tmp_path / "m.safetensors", arch=net, weights="coder"))


def test_another_word_is_no_prefix(tmp_path, net):
    with pytest.raises(BadInput, match=r"2 missing \(head.weight, head.bias\); 2 unexpected \(fc.weight"):
        loaded(tmp_path, net, put("head.", "fc.", state()))


def test_long_differences_are_cut(tmp_path, net):
    many = {f"layer{number}.weight": torch.ones(1) for number in range(40)}
    with pytest.raises(BadInput, match=r"layer5.weight, and 34 more") as caught:
        loaded(tmp_path, net, many)
    assert len(caught.value.message) < 500


def test_names_that_become_one_without_wrappers_stay_apart():
    one, two = torch.ones(1), torch.ones(2)
    assert align({"module.a": two, "a": one}, {"module.a": two, "a": one}, []).plan == {
        "module.a": "module.a", "a": "a",
    }  # fmt: skip
    with pytest.raises(AmbiguousNames):
        align({"x.a": one, "y.a": one}, {"a": one}, [])
