"""Texts as tokens: which columns, whose tokenizer, padding and its number, cutting off, and each refusal."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from qtrain_cli.errors import BadInput, Refused, UsageError
from qtrain_cli.settings import ModelSettings

tokenizers = pytest.importorskip("tokenizers", reason="the package tokenizers is not installed")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "bad", "film", "very"]
ROWS = [("a good film", 1), ("a very very bad film", 0), ("good", 1), ("bad bad", 0)]


@pytest.fixture
def folder(tmp_path):
    """A model's folder with a tokenizer of nine words and its configuration."""
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    path = tmp_path / "model"
    path.mkdir()
    made.save(str(path / "tokenizer.json"))
    (path / "config.json").write_text(json.dumps({"max_position_embeddings": 6, "pad_token_id": 0}))
    return path


@pytest.fixture
def reviews(tmp_path):
    """A folder of train.csv, validation.csv and test.csv, with some rows of text."""
    path = tmp_path / "reviews"
    path.mkdir()
    for split in ("train", "validation", "test"):
        lines = "".join(f'"{text}",{label}\n' for text, label in ROWS)
        (path / f"{split}.csv").write_text("text,label\n" + lines)
    return path


def load_with(load, source, folder, **settings):
    return load(source, tokenizer=folder, **settings)


def test_texts_are_the_tokenizers_numbers_filled_up_and_cut_off(load, reviews, folder):
    data = load_with(load, reviews, folder)
    expected = [[2, 4, 5, 7, 3, 0], [2, 4, 8, 8, 6, 3], [2, 5, 3, 0, 0, 0], [2, 6, 6, 3, 0, 0]]
    assert data.train.inputs.tolist() == data.test.inputs.tolist() == expected
    assert data.train.inputs.dtype == torch.int16
    assert (data.task, data.classes, data.padding) == ("classification", 2, 0)
    said = data.rows_in_words
    assert "text: column 'text'; target: column 'label'" in said
    assert "9 words, padding 0, at most 6 tokens, 3 of them cut off there; the longest row has 6" in said


def test_a_folders_validation_rows_are_used_and_train_stays_whole(load, reviews, folder):
    data = load_with(load, reviews, folder)
    assert (len(data.train), len(data.validation), len(data.test)) == (4, 4, 4)
    assert "validation rows are the data's own" in data.said


def test_the_models_folder_has_the_tokenizer_where_none_is_named(reviews, folder):
    from qtrain_cli.data import load_data
    from qtrain_cli.settings import DataSettings

    for model in (folder, folder / "model.safetensors"):
        data = load_data(DataSettings(str(reviews)), 0, ModelSettings(model))
        assert data.padding == 0 and data.train.inputs.shape == (4, 6)


def test_without_a_tokenizer_the_way_on_is_said(load, reviews):
    with pytest.raises(BadInput, match="the column 'text' holds texts, and there is no tokenizer") as caught:
        load(reviews)
    assert "--tokenizer FOLDER" in caught.value.advice
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("place", ["", "tokenizer.json"])
def test_a_folder_and_a_file_are_the_same_tokenizer(load, reviews, folder, place):
    assert load_with(load, reviews, folder / place).sha256 == load_with(load, reviews, folder).sha256


def test_two_columns_are_a_pair(load, tmp_path, folder):
    rows = [{"premise": "a film", "hypothesis": "good", "idx": n, "label": n % 2} for n in range(4)]
    for split in ("train", "test"):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{split}.jsonl").write_text(lines)
    data = load_with(load, tmp_path, folder)
    assert data.test.inputs[0].tolist() == [2, 4, 7, 3, 5, 3]
    assert "text: column 'premise' and 'hypothesis'" in data.said and "left out: idx" in data.said
    swapped = load_with(load, tmp_path, folder, columns=(("text", "hypothesis"), ("text2", "premise")))
    assert swapped.test.inputs[0].tolist() == [2, 5, 3, 4, 7, 3]
    one = load_with(load, tmp_path, folder, columns=(("text", "hypothesis"),))
    assert one.test.inputs[0].tolist() == [2, 5, 3] and one.classes == 2


def test_a_length_beyond_the_models_places_is_refused(load, reviews, folder):
    assert load_with(load, reviews, folder, max_length=5).test.inputs.shape == (4, 5)
    with pytest.raises(UsageError, match="--max-length is 7; the model takes at most 6 tokens"):
        load_with(load, reviews, folder, max_length=7)
    with pytest.raises(UsageError, match="--max-length 1 leaves no room"):
        load_with(load, reviews, folder, max_length=1)


def test_the_models_padding_number_outweighs_the_tokenizers(load, reviews, folder):
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 6, "pad_token_id": 1}))
    assert load_with(load, reviews, folder).train.inputs[2].tolist() == [2, 5, 3, 1, 1, 1]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{}", BadInput, "'tokenizer.json' is no tokenizer"),
        ("", BadInput, "'tokenizer.json' is no tokenizer"),
    ],
)
def test_a_damaged_tokenizer_is_refused(load, reviews, folder, content, error, message):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(error, match=message):
        load_with(load, reviews, folder)


def test_a_tokenizer_of_the_folders_own_code_is_refused(load, reviews, folder):
    settings = {"auto_map": {"AutoTokenizer": ["mine.Tokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(Refused, match="is code of the folder's own"):
        load_with(load, reviews, folder)


def test_a_folder_that_is_none_and_a_missing_package_are_named(load, reviews, folder, monkeypatch, tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        load_with(load, reviews, tmp_path / "nowhere")
    with pytest.raises(BadInput, match="has no tokenizer"):
        load_with(load, reviews, reviews)
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(BadInput, match="needs the package tokenizers") as caught:
        load_with(load, reviews, folder)
    assert caught.value.advice == "pip install 'qtrain[hf]'"


def test_texts_take_no_more_room_than_there_is(load, tmp_path, folder):
    (tmp_path / "all.csv").write_text("text,label,split\n" + "good film,1,train\nbad film,0,test\n" * 200)
    with pytest.raises(BadInput, match="would take"):
        load_with(load, tmp_path / "all.csv", folder, max_bytes=10_000)


def test_a_batch_ends_with_its_longest_row_and_rows_know_their_length(load, reviews, folder):
    data = load_with(load, reviews, folder).for_lookups(True).trimmed(True)
    prepare = data.normalisation
    assert prepare.lengths(data.train.inputs).tolist() == [5, 6, 3, 4]
    assert prepare(data.train.inputs[2:]).tolist() == [[2, 5, 3, 0], [2, 6, 6, 3]]
    assert prepare(data.train.inputs[2:]).dtype == torch.int64
    assert prepare.whole(data.train.inputs[2:]).shape == (2, 6)
    assert prepare(torch.zeros(2, 6, dtype=torch.int16)).shape == (2, 1)


def test_tokens_of_a_table_are_never_trimmed(load, tmp_path):
    arrays = {"x_train": np.array([[3, 0], [4, 0], [5, 0]]), "y_train": np.array([0, 1, 1])}
    np.savez(tmp_path / "d.npz", **arrays, x_test=arrays["x_train"], y_test=arrays["y_train"])
    data = load(tmp_path / "d.npz").for_lookups(True).trimmed(True)
    assert data.normalisation.lengths(data.train.inputs) is None
    assert data.normalisation(data.train.inputs).shape == (2, 2)
