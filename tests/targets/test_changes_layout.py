"""Which tensors a file of changes generates, by target, patterns and the model's own names."""

import pytest
import torch
from torch import nn

from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.targets.change import DELTA, LORA, Wanted, factor_of, matrix_of
from qtrain_cli.targets.changes import BIASES, changes_layout, settled_target
from qtrain_cli.targets.entries import GENERATED, KEPT

LAYERS, WIDTH = 2, 512


class Attention(nn.Module):
    def __init__(self, names):
        super().__init__()
        for name in names:
            self.add_module(name, nn.Linear(WIDTH, WIDTH))


class Encoder(nn.Module):
    """A transformer's names, on no device: its numbers are not looked at."""

    def __init__(self, names=("query", "key", "value"), words=1000):
        super().__init__()
        self.embeddings = nn.Embedding(words, WIDTH, padding_idx=0)
        self.embeddings_norm = nn.LayerNorm(WIDTH)
        self.layer = nn.ModuleList([Attention(names) for _ in range(LAYERS)])
        self.norm = nn.LayerNorm(WIDTH)
        self.classifier = nn.Linear(WIDTH, 3)
        self.register_buffer("seen", torch.zeros(2))


def encoder(**more):
    with torch.device("meta"):
        return Encoder(**more)


def names_of(module, wanted, targets=(), ignore=(), lacking=()):
    settled, chosen = settled_target(wanted, module, targets)
    layout = changes_layout(module, settled, frozenset(lacking), chosen, ignore)
    return settled, [entry.name for entry in layout.of_role(GENERATED)], layout


def test_a_large_transformer_has_differences_of_its_biases_unless_asked():
    module = encoder()
    wanted, names, layout = names_of(module, None, lacking=("classifier.weight", "classifier.bias"))
    assert wanted == Wanted(DELTA, 0, 3.0)
    biases = [f"layer.{i}.{name}.bias" for i in range(LAYERS) for name in ("query", "key", "value")]
    assert names == [*biases, "norm.weight", "norm.bias", "classifier.weight", "classifier.bias"]
    assert all(entry.centre == 0 and entry.dtype == "F32" for entry in layout.entries)
    for other in (encoder(names=("conv",)), nn.Sequential(Attention(("query", "value")))):
        wanted, names, _ = names_of(other, None)
        whole = [name for name, _ in other.named_parameters()]
        assert wanted == Wanted(DELTA, 0, 0.4) and names == whole
    assert settled_target(Wanted(DELTA), module, ("norm",))[0].scale == 0.4


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("query", "key", "value"), ("query", "value")),
        (("q_proj", "k_proj", "v_proj"), ("q_proj", "v_proj")),
        (("q_lin", "v_lin"), ("q_lin", "v_lin")),
        (("c_attn", "c_proj"), ("c_attn",)),
        (("first", "second"), ("first", "second")),
    ],
)
def test_factors_are_of_what_peft_takes_else_of_all_linear_layers(names, taken):
    _, found, layout = names_of(encoder(names=names), Wanted(LORA, 2))
    assert found == [factor_of(f"layer.{i}.{name}.weight") for i in range(LAYERS) for name in taken]
    assert all(entry.shape == (WIDTH, 2) and entry.fan_in == 2 for entry in layout.entries)


def test_matrices_go_by_the_ends_of_their_paths_globs_and_all_linear():
    module = encoder()
    everything = [
        factor_of(f"layer.{i}.{n}.weight") for i in range(LAYERS) for n in ("query", "key", "value")
    ]
    for targets in (["query,key,value"], ["query", "key", "value"], ["all-linear"], ["layer"], ["re:layer"]):
        assert names_of(module, Wanted(LORA), targets)[1] == everything
    assert names_of(module, Wanted(LORA), ["all-linear"], ["key", "layer.1"])[1] == [
        factor_of("layer.0.query.weight"), factor_of("layer.0.value.weight"),
    ]  # fmt: skip
    assert names_of(module, Wanted(LORA), ["embeddings"])[1] == [factor_of("embeddings.weight")]
    with pytest.raises(UsageError, match="matches no matrix") as error:
        names_of(module, Wanted(LORA), ["qeury"])
    assert "'query'" in error.value.advice
    with pytest.raises(UsageError, match="matches no matrix"):
        names_of(module, Wanted(LORA), ["norm"])
    with pytest.raises(BadInput, match="no matrix is left"):
        names_of(module, Wanted(LORA), ["query"], ["query"])


def test_what_the_base_lacks_is_always_there_and_a_padding_row_never():
    module = encoder()
    lacking = ("classifier.weight", "classifier.bias", "seen")
    _, names, layout = names_of(module, Wanted(DELTA), ["embeddings.weight"], ["classifier"], lacking)
    assert names == ["embeddings.weight", "classifier.weight", "classifier.bias"]
    assert [entry.name for entry in layout.of_role(KEPT)] == ["seen"]
    assert layout.entries[0].row == 0 and not layout.entries[0].stored
    _, names, _ = names_of(module, Wanted(DELTA), [BIASES], ["re:norm"])
    assert names == [
        *(f"layer.{i}.{name}.bias" for i in range(LAYERS) for name in ("query", "key", "value")),
        "classifier.bias",
    ]
    with pytest.raises(BadInput, match="no biases"):
        names_of(nn.Linear(2, 2, bias=False), Wanted(DELTA), [BIASES])


def test_a_convolution_is_a_matrix_of_its_filters():
    module = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Conv2d(8, 4, 3))
    _, names, layout = names_of(module, Wanted(LORA, 3), ["0"])
    assert names == ["0.lora_B.weight"] and layout.entries[0].shape == (8, 3)


def tiny_models():
    t = pytest.importorskip("transformers", reason="the extra hf is not installed")
    small = {"vocab_size": 40, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
             "num_attention_heads": 2}  # fmt: skip
    llama = t.LlamaConfig(**small, num_key_value_heads=2, tie_word_embeddings=True)
    gpt2 = t.GPT2Config(vocab_size=40, n_embd=8, n_layer=2, n_head=2, n_positions=8)
    t5 = t.T5Config(vocab_size=40, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_heads=2)
    return {
        "bert": t.BertModel(t.BertConfig(**small)), "gpt2": t.GPT2LMHeadModel(gpt2),
        "t5": t.T5ForConditionalGeneration(t5), "llama": t.LlamaForCausalLM(llama),
        "roberta": t.RobertaForMaskedLM(t.RobertaConfig(**small)),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5", "llama", "roberta"])
def test_all_linear_is_that_of_peft_for_models_of_hugging_face(name):
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    wanted, names, _ = names_of(tiny_models()[name], None, ["all-linear"])
    adapted = peft.get_peft_model(tiny_models()[name], peft.LoraConfig(target_modules="all-linear"))
    theirs = {path for path, layer in adapted.base_model.model.named_modules() if hasattr(layer, "lora_A")}
    assert wanted.kind == LORA and {matrix_of(one).removesuffix(".weight") for one in names} == theirs


def test_names_of_layers_mean_factors_where_no_target_is_said():
    module = encoder()
    assert names_of(module, None, ["query,value"])[0].kind == LORA
    assert names_of(module, None, ["layer.0.query.weight"])[0].kind == DELTA
    assert names_of(module, None, ["re:query"])[0].kind == names_of(module, None, [BIASES])[0].kind == DELTA
    assert names_of(module, Wanted(DELTA), ["re:query"])[0].kind == DELTA
    with pytest.raises(UsageError, match="matches no parameter"):
        names_of(module, None, ["qeury"])


def test_a_model_of_hugging_face_without_linear_layers_has_factors_of_its_convolutions():
    t = pytest.importorskip("transformers", reason="the extra hf is not installed")
    config = t.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic")
    _, names, _ = names_of(t.ResNetModel(config), Wanted(LORA, 2))
    assert len(names) > 2 and all("convolution" in name for name in names)


@pytest.mark.parametrize("targets", [["weight"], ["query.weight"], ["query", "re:layer.*bias"]])
def test_what_only_looks_like_names_of_layers_is_of_tensors(targets):
    with pytest.raises(UsageError, match="matches no parameter"):
        names_of(encoder(), None, targets)
