"""Hugging Face folders: one file, shards, pickled weights; what is refused; how such a model is called."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save

from qtrain_cli.data.inputs import NamedInputs
from qtrain_cli.errors import BadInput, Refused, UsageError
from qtrain_cli.files.json_file import MOST_CONFIG
from qtrain_cli.models import folders, load_model
from qtrain_cli.models.call import call_model
from qtrain_cli.models.describe import describe_model
from qtrain_cli.models.folder_files import _json_in, open_folder
from qtrain_cli.models.opened import open_model
from qtrain_cli.settings import ModelSettings

transformers = pytest.importorskip("transformers", reason="needs the extra hf")
ENDINGS = (".safetensors", ".bin")
TOKENS = torch.tensor([[5, 6, 7, 0, 0], [8, 9, 10, 11, 12]])


@pytest.fixture(scope="module")
def bert():
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=8, num_labels=3, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification(config).eval()


@pytest.fixture(scope="module", params=["whole", "shards", "pickle", "pickled shards"])
def folder(request, bert, tmp_path_factory):
    path = tmp_path_factory.mktemp("hf") / "bert"
    bert.save_pretrained(path, max_shard_size="2KB" if request.param == "shards" else "1GB")
    state = bert.state_dict()
    if request.param.startswith("pickle"):
        (path / "model.safetensors").unlink()
    if request.param == "pickle":
        torch.save(state, path / "pytorch_model.bin")
    if request.param == "pickled shards":
        parts = dict.fromkeys(state, "a.bin") | {"classifier.weight": "b.bin"}
        for name in ("a.bin", "b.bin"):
            torch.save({key: state[key] for key in state if parts[key] == name}, path / name)
        (path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": parts}))
    return path


def loaded(folder, **options):
    return load_model(ModelSettings(folder, **options))


def test_every_kind_of_folder_gives_the_weights_that_were_saved(folder, bert):
    model = loaded(folder)
    assert (model.format, model.name) == ("hf-folder", "bert")
    for name, tensor in bert.state_dict().items():
        assert torch.equal(model.module.state_dict()[name], tensor), name


def test_a_folder_is_described_without_being_built(folder, bert):
    (entry,) = describe_model(folder)["entries"]
    assert entry["numbers"] == sum(tensor.numel() for tensor in bert.state_dict().values())


def test_padding_is_masked_and_logits_count(folder, bert):
    module = loaded(folder).module
    outputs = call_model(module, dict(module.state_dict()), TOKENS)
    with torch.no_grad():
        expected = bert(TOKENS, attention_mask=(TOKENS != 0).long()).logits
        unmasked = bert(TOKENS).logits
    assert torch.equal(outputs, expected)
    assert not torch.allclose(outputs[0], unmasked[0])


def test_padding_is_masked_beside_other_inputs_too(folder, bert):
    module = loaded(folder).module
    kinds = torch.tensor([[0, 0, 1, 0, 0], [0, 0, 0, 1, 1]])
    given = NamedInputs({"input_ids": TOKENS, "token_type_ids": kinds})
    with torch.no_grad():
        expected = bert(TOKENS, token_type_ids=kinds, attention_mask=(TOKENS != 0).long()).logits
        own = bert(TOKENS, token_type_ids=kinds, attention_mask=torch.ones_like(TOKENS)).logits
    assert torch.equal(call_model(module, dict(module.state_dict()), given), expected)
    masked = NamedInputs({**given.parts, "attention_mask": torch.ones_like(TOKENS)})
    assert torch.equal(call_model(module, dict(module.state_dict()), masked), own)


def changed(folder, tmp_path, **changes):
    """A copy of the folder with another configuration."""
    config = json.loads((folder / "config.json").read_text()) | changes
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_code_of_the_folders_own_is_not_run(folder, tmp_path):
    odd = changed(folder, tmp_path, architectures=["Odd"], auto_map={"AutoModel": "odd.Odd"})
    (odd / "odd.py").write_text("raise SystemExit('run')")
    with pytest.raises(Refused, match="brings its own code for Odd, which qtrain does not run"):
        loaded(odd)


@pytest.mark.parametrize("name", ["Odd", "os", "AutoConfig", None, 7])
def test_a_class_that_transformers_lacks_is_refused(folder, tmp_path, name):
    with pytest.raises(BadInput, match="which transformers does not have"):
        loaded(changed(folder, tmp_path, architectures=[name]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 10**7}, r"has num_hidden_layers=10000000; its weights have \d+ tensors"),
        ({"num_labels": 10**8}, r"has num_labels=100000000; its weights have \d+ tensors of \d+ numbers"),
        ({"text": {"num_layers": 10**7}}, "has num_layers=10000000"),
        ({"architectures": ["RagModel"]}, r"names a RagModel of [\d,]+ numbers, and its weights have"),
        ({"note": "x" * 5_000_000}, r"'config\.json' has [\d,]+ bytes; allowed: 4,194,304"),
    ],
)
def test_a_configuration_larger_than_its_weights_is_refused(folder, tmp_path, change, message):
    with pytest.raises(BadInput, match=message):
        loaded(changed(folder, tmp_path, **change))


@pytest.mark.parametrize("folder", ["whole"], indirect=True)
@pytest.mark.parametrize(
    "more",
    [
        {f"k{number}": number for number in range(100_000)},
        {"more": [[]] * 100_000},
        {"more": [[{"a": 1}] * 200] * 251},
    ],
)
def test_a_configuration_of_very_many_values_is_refused(folder, tmp_path, more):
    """400,000 keys, which fit into 4 MB, took 10 s and 683 MB."""
    hostile = changed(folder, tmp_path, **more)
    for read in (loaded, describe_model):
        with pytest.raises(BadInput, match=r"'config.json' holds [0-9,]+ values or more; allowed: 100,000"):
            read(hostile)


def test_a_configuration_that_no_check_foresaw_is_refused_and_no_fault_of_ours(tmp_path, monkeypatch):
    def too_deep(*given):
        raise RecursionError("maximum recursion depth exceeded")

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr("qtrain_cli.models.folder_files._json_in", too_deep)
    with (
        pytest.raises(Refused, match=f"'{tmp_path.name}' cannot be read: RecursionError"),
        open_folder(tmp_path),
    ):
        pass


def test_an_index_of_very_many_values_is_refused_before_it_is_in_memory(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text("[" + "[]," * 5_000_000 + "[]]")
    monkeypatch.setattr(json, "loads", lambda text: pytest.fail("was parsed") if len(text) > 2 else {})
    with pytest.raises(BadInput, match=r"index.json' holds 2,500,000 values or more; allowed: 1,000,000"):
        loaded(tmp_path)


def test_a_configuration_of_many_labels_is_read(tmp_path):
    labels = {str(number): f"tench, Tinca tinca, {number}" for number in range(22_000)}
    document = {"id2label": labels, "label2id": {text: int(number) for number, text in labels.items()}}
    (tmp_path / "config.json").write_text(json.dumps(document))
    (tmp_path / "model.safetensors").write_bytes(save({"w": torch.ones(2)}))
    with open_folder(tmp_path) as read:
        assert read.config == document


def test_what_is_hashed_is_what_was_loaded(folder, tmp_path, monkeypatch):
    """A shard that is replaced while the model is built does not lend it its digest."""
    mine = changed(folder, tmp_path)
    expected = loaded(mine).sha256
    names = sorted({"config.json", *(path.name for path in mine.iterdir() if path.suffix in ENDINGS)})
    lines = "".join(f"{name} {hashlib.sha256((mine / name).read_bytes()).hexdigest()}\n" for name in names)
    assert expected == hashlib.sha256(lines.encode()).hexdigest()
    build = folders._built

    def swapped(opened, task):
        module = build(opened, task)
        (mine / "other").write_bytes(b"other")
        (mine / "other").replace(opened.weights[0].path)
        return module

    monkeypatch.setattr(folders, "_built", swapped)
    assert loaded(mine).sha256 == expected


def test_quantised_weights_are_refused(folder, tmp_path):
    with pytest.raises(Refused, match="are quantised, which qtrain does not read"):
        loaded(changed(folder, tmp_path, quantization_config={"quant_method": "gptq", "bits": 4}))


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "experts_implementation"])
def test_kernels_that_a_folder_names_are_not_fetched(folder, tmp_path, bert, key):
    module = loaded(changed(folder, tmp_path, **{key: "someone/kernel"})).module
    assert module.config._attn_implementation == bert.config._attn_implementation


def test_a_head_that_the_weights_lack_is_refused(folder, tmp_path):
    with pytest.raises(BadInput, match=r"lacks \d+ tensors of BertForQuestionAnswering: qa_outputs.bias"):
        loaded(changed(folder, tmp_path, architectures=["BertForQuestionAnswering"]))


def test_a_head_of_another_size_is_refused(folder, tmp_path):
    ids = {str(place): f"L{place}" for place in range(5)}
    with pytest.raises(BadInput, match=r"transformers cannot build|has in another shape"):
        loaded(changed(folder, tmp_path, id2label=ids, label2id={v: int(k) for k, v in ids.items()}))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "is no JSON object"),
        ("{}", "names no shards"),
        ('{"weight_map": {"w": "../x.safetensors"}}', "names shards that the folder lacks: ../x.safetensors"),
        ('{"weight_map": {"w": "gone.safetensors"}}', "names shards that the folder lacks: gone.safetensors"),
    ],
)
def test_an_index_that_cannot_be_followed_is_refused(tmp_path, index, message):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(BadInput, match=message):
        loaded(tmp_path)


def test_of_many_shards_that_are_missing_the_rest_is_counted(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    named = {"weight_map": {str(place): f"{place}.safetensors" for place in range(7)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(named))
    with pytest.raises(BadInput, match=r"lacks: 0.safetensors, .*, 4.safetensors and 2 more$"):
        loaded(tmp_path)


def test_a_folder_without_weights_says_what_it_may_have(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match=r"has no weights; allowed: model\.safetensors, "):
        loaded(tmp_path)


def test_a_pickle_that_would_run_code_is_refused(bert, tmp_path):
    bert.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"w": pytest.raises}, tmp_path / "pytorch_model.bin")
    with pytest.raises(Refused, match="wants to run"):
        loaded(tmp_path)


def test_an_entry_has_no_use_for_a_folder(folder):
    with pytest.raises(UsageError, match="--weights has no use"):
        loaded(folder, weights="ema")


def test_the_command_line_compresses_a_folder_and_exports_what_the_library_reads(bert, tmp_path, cli):
    import numpy as np

    bert.save_pretrained(tmp_path / "bert")
    labels = np.arange(60) % 3
    tokens = np.random.default_rng(0).integers(1, 20, (60, 6))
    np.savez(tmp_path / "d.npz", x_train=tokens, y_train=labels, x_test=tokens[:9], y_test=labels[:9])
    out, merged = tmp_path / "a.qtrain", tmp_path / "merged.safetensors"
    words = ("--data", tmp_path / "d.npz", "--layers", 1, "--epochs", 1, "--teacher-any", "-o", out)
    assert cli("compress", tmp_path / "bert", *words).code == 0
    assert cli("export", out, "--classical", "-o", merged).code == 0
    made = cli("export", out, "--classical", "--model", tmp_path / "bert", "-o", tmp_path / "a.pt2")
    assert (made.code, "within 0 of PyTorch" in made.out) == (0, True), made.err
    from safetensors.torch import load_file

    state = load_file(merged)
    again, report = type(bert).from_pretrained(
        None, config=bert.config, state_dict=dict(state), output_loading_info=True
    )
    assert not any(report.values())
    program = torch.export.load(tmp_path / "a.pt2").module()
    with torch.no_grad():
        masked = again.eval()(TOKENS[:, :5], attention_mask=(TOKENS != 0).long()).logits
        torch.testing.assert_close(program(torch.nn.functional.pad(TOKENS, (0, 1))), masked)


def test_layers_that_share_their_tensors_are_no_attack(tmp_path):
    config = transformers.AlbertConfig(
        vocab_size=20, embedding_size=8, hidden_size=8, num_hidden_layers=40, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=8, num_labels=3,
    )  # fmt: skip
    transformers.AlbertForSequenceClassification(config).save_pretrained(tmp_path)
    assert loaded(tmp_path).module.config.num_hidden_layers == 40


def test_commas_in_texts_are_no_values(tmp_path):
    """As in the names of classes, and in templates of conversations."""
    text = ", ".join(["a"] * 450_000)
    with open_model(
        written(tmp_path / "config.json", json.dumps({"chat_template": text + '\\", ['}))
    ) as file:
        assert list(_json_in(file, MOST_CONFIG, 100_000)) == ["chat_template"]


def written(path, text):
    path.write_text(text)
    return path
