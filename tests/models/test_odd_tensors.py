"""Tensors that no artifact can hold, dictionaries that are more than they seem: named, never a surprise."""

import pickle
import warnings
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.models import describe_model, entries, load_model, pickles
from qtrain_cli.models.call import call_model
from qtrain_cli.settings import ModelSettings

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, sparse=False, kept=True):
        super().__init__()
        self.a = nn.Linear(4, 3)
        if sparse:
            self.register_buffer("adjacency", torch.eye(4).to_sparse(), persistent=kept)

    def forward(self, x):
        return self.a((self.adjacency @ x.T).T)
"""


@pytest.fixture
def settings(tmp_path):
    """``settings(tree, **arguments)``: of a file with this tree and the net above, whose arguments they are,
    or how it is read."""
    (tmp_path / "net.py").write_text(NET)

    def make(tree, **arguments):
        torch.save(tree, tmp_path / "m.pt")
        read = {name: arguments.pop(name) for name in ("weights", "ignore_unexpected") if name in arguments}
        arch = f"{tmp_path / 'net.py'}:Net"
        return ModelSettings(tmp_path / "m.pt", arch=arch, arch_args=arguments, **read)

    return make


def state(**more):
    return {"a.weight": torch.ones(3, 4), "a.bias": torch.ones(3), **more}


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(3, 4), 0.01, 0, torch.qint8)


def test_tensors_of_the_meta_device_have_no_numbers(settings):
    found = settings({name: tensor.to("meta") for name, tensor in state().items()})
    with pytest.raises(Refused, match=r"tensor 'a.weight' of 'm.pt' is on the meta device: .* no numbers"):
        load_model(found)


def test_a_whole_module_of_the_meta_device(tmp_path):
    torch.save(nn.Linear(4, 3, device="meta"), tmp_path / "m.pt")
    with pytest.raises(Refused, match=r"'m.pt' is on the meta device"):
        load_model(ModelSettings(tmp_path / "m.pt"))


def test_quantised_tensors_are_not_damaged(settings):
    found = settings(state(**{"a.weight": quantised()}))
    with pytest.raises(BadInput, match=r"'a.weight' of 'm.pt' is quantised; allowed: dense") as caught:
        load_model(found)
    assert "dequantize" in caught.value.advice
    assert describe_model(found.path)["entries"][0]["tensors"][0]["dtype"] == "qint8"


def test_a_quantised_tensor_is_shown_without_a_word_from_pytorch(settings, recwarn):
    path = settings(state(**{"a.weight": quantised()})).path
    torch.set_warn_always(True)  # or a warning that was given once would not come again
    try:
        describe_model(path)
    finally:
        torch.set_warn_always(False)
    assert not recwarn.list


def test_sparse_tensors_are_named(settings):
    with pytest.raises(BadInput, match=r"'a.weight' of 'm.pt' is sparse; allowed: dense") as caught:
        load_model(settings(state(**{"a.weight": torch.ones(3, 4).to_sparse()})))
    assert "to_dense()" in caught.value.advice
    adjacency = {"adjacency": torch.eye(4).to_sparse()}
    with pytest.raises(BadInput, match=r"'adjacency' of 'm.pt' is sparse"):
        load_model(settings(state(**adjacency), sparse=True))


def test_a_sparse_buffer_that_no_file_holds_is_the_models_own(settings):
    loaded = load_model(settings(state(), sparse=True, kept=False))
    assert call_model(loaded.module, dict(loaded.module.state_dict()), torch.rand(2, 4)).shape == (2, 3)


def test_an_embedding_with_sparse_gradients_gives_dense_ones(tmp_path):
    torch.save(nn.Sequential(nn.Embedding(5, 2, sparse=True), nn.Flatten()), tmp_path / "m.pt")
    module = load_model(ModelSettings(tmp_path / "m.pt")).module
    weights = {"0.weight": torch.ones(5, 2, requires_grad=True)}
    call_model(module, weights, torch.tensor([[1], [3]])).sum().backward()
    assert not weights["0.weight"].grad.is_sparse


class Odd:
    """Pickled as an OrderedDict whose `items` and `keys` are numbers."""

    def __init__(self, pairs):
        self.pairs = pairs

    def __reduce__(self):
        return OrderedDict, (), {"items": 3, "keys": 3}, None, iter(self.pairs.items())


@pytest.mark.parametrize("tree", [Odd(state()), {"state_dict": Odd(state())}, Odd({"model": Odd(state())})])
def test_a_dictionary_with_items_of_its_own(settings, tree):
    found = settings(tree)
    assert load_model(found).module.a.bias.tolist() == [1, 1, 1]
    assert describe_model(found.path)["entries"][0]["numbers"] == 15


def test_what_no_reader_foresaw_is_refused_with_the_files_name(settings, monkeypatch):
    def surprising(*arguments):
        raise ZeroDivisionError("one\ntwo")

    found = settings(state())
    monkeypatch.setattr(pickles, "read_outline", surprising)
    with pytest.raises(Refused, match=r"'m.pt' cannot be read: ZeroDivisionError: one$"):
        load_model(found)


def test_arrays_and_lazy_layers_are_named(settings, tmp_path):
    with pytest.raises(Refused, match=r"'m.pt' holds NumPy arrays in a pickle") as caught:
        load_model(settings({name: tensor.numpy() for name, tensor in state().items()}))
    assert "torch.from_numpy" in caught.value.advice and "--trust-pickle" in caught.value.advice
    with pytest.raises(Refused, match=r"'m.pt' holds parameters of lazy layers that were never run"):
        load_model(settings(nn.LazyLinear(3).state_dict()))


def test_a_file_without_weights_is_described_as_one(tmp_path):
    torch.save([torch.ones(3)], tmp_path / "list.pt")
    described = describe_model(tmp_path / "list.pt")
    assert (described["needs_trust"], described["reasons"], described["entries"]) == (False, [], [])


CHECKPOINTS = {
    "state_dict": {"state_dict": state(), "state_dict_ema": {name: t * 2 for name, t in state().items()}},
    "model": {"model": state(), "optimizer": {"state": {"a.weight": {"exp_avg": torch.ones(3, 4)}}}},
    "net.best": {"net": {"best": state()}, "lr_scheduler": {"last": {"lr": torch.tensor(0.1)}}},
}


@pytest.mark.parametrize("taken", CHECKPOINTS)
def test_which_set_of_weights_was_taken_is_known_and_said(settings, taken):
    loaded = load_model(settings(CHECKPOINTS[taken]))
    several = taken == "state_dict"
    assert loaded.entry == (taken if several else None) and loaded.module.a.bias.tolist() == [1, 1, 1]
    assert len(loaded.said) == several
    if several:
        said = "m.pt: weights: 'state_dict' is taken, and not 'state_dict_ema'; --weights picks another"
        assert loaded.said == (said,)


SETS = {
    "ema": ({"state_dict": state(), "state_dict_ema": state()}, "state_dict_ema", 0),
    "EMA": ({"model": state(), "callbacks": {"ema_state_dict": state()}}, "callbacks.ema_state_dict", 0),
    "swa": ({"model": state(), "swa_model": state()}, "swa_model", 0),
    "averaged": ({"net": state(), "averaged": state(), "swa": state()}, "averaged", 0),
    "shadow": ({"model": state(), "shadow.params": state()}, "shadow.params", 0),
    "average": ({"a": {"ema_average": state()}, "average_fast": state()}, "average_fast", 1),
    "student": ({f"a.student.net.{name}": part for name, part in state().items()}, "a.student", 0),
}


@pytest.mark.parametrize("wanted", SETS)
def test_a_short_name_picks_the_set_that_has_it_among_its_words(settings, wanted):
    tree, path, others = SETS[wanted]
    loaded = load_model(settings(tree, weights=wanted))
    assert loaded.entry == path and len(loaded.notes) == others
    assert not others or "and not 'a.ema_average'" in loaded.notes[0]


def test_a_short_name_of_nothing_lists_what_there_is(settings):
    with pytest.raises(BadInput, match=r"--weights lora: 'm.pt' holds state_dict, ema"):
        load_model(settings({"state_dict": state(), "ema": state()}, weights="lora"))


def test_a_short_name_picks_tensors_of_safetensors(settings, tmp_path):
    given = settings(state())
    sets = (("net", 0), ("ema_net", 1))
    tensors = {f"{one}.{name}": part + add for one, add in sets for name, part in state().items()}
    save_file(tensors, tmp_path / "m.safetensors")
    loaded = load_model(replace(given, path=tmp_path / "m.safetensors", weights="ema"))
    assert loaded.entry == "ema_net" and loaded.module.a.bias.tolist() == [2, 2, 2]
    assert not loaded.notes
    save_file(
        tensors | {f"old_ema.{name}": part + 2 for name, part in state().items()}, tmp_path / "s.safetensors"
    )
    loaded = load_model(replace(given, path=tmp_path / "s.safetensors", weights="ema"))
    assert loaded.module.a.bias.tolist() == [2, 2, 2]
    assert loaded.notes == ("weights: 'ema_net' is taken, and not 'old_ema'; --weights picks another",)


def test_a_short_name_costs_no_more_than_the_names_that_there_are(monkeypatch):
    """A part was made of each name: 8,000 of them took 13 s."""
    made, take = [], entries.under
    monkeypatch.setattr(entries, "under", lambda *given: made.append(given) or take(*given))
    found = entries.Entry("", {f"layer{place}.part.weight": place for place in range(50)})
    assert entries.by_short_name([found], "layer7").value == {"part.weight": 7} and len(made) == 1
    assert entries.by_short_name([found], "ema") is None and len(made) == 1


OBSERVED = {
    "a.activation_post_process.min_val": torch.zeros(0), "a.weight_fake_quant.scale": torch.ones(1),
    "a.weight_fake_quant.fake_quant_enabled": torch.ones(1, dtype=torch.uint8),
    "embeddings.position_ids": torch.arange(4), "h.0.attn.bias": torch.ones(1, 1, 4, 4),
    "seen": torch.tensor(3),
}  # fmt: skip


@pytest.mark.parametrize("name", OBSERVED)
def test_what_holds_nothing_learned_is_left_out_and_said(settings, name):
    loaded = load_model(settings({**state(), name: OBSERVED[name]}))
    assert loaded.notes == (f"left out, as no part of the model: '{name}'",)


@pytest.mark.parametrize("name", ["temperature", "head.weight", "attn.gate"])
def test_what_may_have_been_learned_is_left_out_by_consent_only(settings, name):
    tensors = {**state(), name: torch.ones(5)}
    with pytest.raises(BadInput, match=rf"1 unexpected \({name}\)") as caught:
        load_model(settings(tensors))
    assert "--ignore-unexpected" in caught.value.advice
    loaded = load_model(settings(tensors, ignore_unexpected=True))
    assert loaded.notes == (f"left out, as no part of the model: '{name}'",)
    del tensors["a.bias"]
    with pytest.raises(BadInput, match=r"1 missing \(a.bias\)"):
        load_model(settings(tensors, ignore_unexpected=True))


def test_a_pickled_model_of_another_library_is_named(tmp_path):
    from sklearn.linear_model import LogisticRegression

    (tmp_path / "m.pkl").write_bytes(pickle.dumps(LogisticRegression()))
    with pytest.raises(Refused, match=r"'m.pkl' holds a scikit-learn model in a pickle") as caught:
        load_model(ModelSettings(tmp_path / "m.pkl"))
    assert "train one on the model's answers" in caught.value.advice
