"""Lists of words with a label each: which token has which label, whose numbers labels are, and refusals."""

from __future__ import annotations

import json

import pytest

from qtrain_cli.data import load_data
from qtrain_cli.data.words import names_beside
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.settings import DataSettings, ModelSettings

tokenizers = pytest.importorskip("tokenizers", reason="the package tokenizers is not installed")
pa = pytest.importorskip("pyarrow", reason="the package pyarrow is not installed")

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "EU", "re", "##jects", "German", "calls", "Peter"]
NAMES = ("O", "B-PER", "B-ORG", "B-MISC")
ROWS = [
    (["EU", "rejects", "German", "calls"], ["B-ORG", "O", "B-MISC", "O"]),
    (["Peter"], ["B-PER"]),
    (["rejects", "Peter"], ["O", "B-PER"]),
]
LONGER = [(["Peter", "calls", "rejects", "rejects", "rejects"], ["B-PER", "O", "O", "O", "O"])]
NO = -100


@pytest.fixture
def model(tmp_path):
    """A model's folder with a tokenizer of word pieces, and the names of its labels."""
    made = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({piece: n for n, piece in enumerate(PIECES)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    path = tmp_path / "model"
    path.mkdir()
    made.save(str(path / "tokenizer.json"))
    named(path, NAMES)
    return path


def named(path, names, **more):
    config = {"pad_token_id": 0, "id2label": {str(n): name for n, name in enumerate(names)}, **more}
    (path / "config.json").write_text(json.dumps(config))


def lines(folder, train=ROWS, test=ROWS, labels=lambda row: row):
    folder.mkdir(exist_ok=True)
    for split, rows in (("train", train), ("test", test), ("validation", LONGER)):
        written = [{"id": n, "tokens": words, "ner_tags": labels(row)} for n, (words, row) in enumerate(rows)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in written))
    return folder


def load(source, model, **settings):
    return load_data(DataSettings(str(source), **settings), 0, ModelSettings(model))


def test_the_first_token_of_a_word_has_its_label_and_nothing_else_counts(tmp_path, model):
    data = load(lines(tmp_path / "d"), model)
    assert data.train.inputs[:, :8].tolist() == [
        [2, 4, 5, 6, 7, 8, 3, 0], [2, 9, 3, 0, 0, 0, 0, 0], [2, 5, 6, 9, 3, 0, 0, 0]
    ]  # fmt: skip
    assert data.train.targets[:, :8].tolist() == [
        [NO, 2, 0, NO, 3, 0, NO, NO], [NO, 1, NO, NO, NO, NO, NO, NO], [NO, 0, NO, 1, NO, NO, NO, NO]
    ]  # fmt: skip
    assert data.train.targets.shape == data.train.inputs.shape == data.test.targets.shape == (3, 10)
    assert data.labels == NAMES and data.padding == 0
    said = data.rows_in_words
    assert "words: column 'tokens', whose first token has the label; target: column 'ner_tags'" in said
    assert "left out: id" in said and "labels: O = 0, B-PER = 1, B-ORG = 2, B-MISC = 3" in said


def test_numbers_are_named_by_the_model(tmp_path, model):
    texts = load(lines(tmp_path / "d"), model)
    numbers = load(lines(tmp_path / "e", labels=lambda row: [NAMES.index(one) for one in row]), model)
    assert numbers.labels == NAMES and numbers.train.targets.tolist() == texts.train.targets.tolist()


def test_without_a_model_that_names_them_labels_are_in_the_order_of_the_alphabet(tmp_path, model):
    named(model, [f"LABEL_{n}" for n in range(4)])
    data = load(lines(tmp_path / "d"), model)
    assert data.labels == ("B-MISC", "B-ORG", "B-PER", "O")
    assert data.train.targets[1, 1] == 2
    assert load(tmp_path / "d", model, classes=NAMES).train.targets[1, 1] == 1
    with pytest.raises(UsageError, match="--classes lacks the label 'B-MISC'"):
        load(tmp_path / "d", model, classes=("O", "B-PER"))


def test_a_schema_says_what_numbers_stand_for(tmp_path, model):
    """As the hub's data sets have it."""
    (model / "config.json").write_text("{}")
    feature = {"feature": {"names": list(NAMES), "_type": "ClassLabel"}, "_type": "Sequence"}
    metadata = {"huggingface": json.dumps({"info": {"features": {"tags": feature}}})}
    numbers = [[NAMES.index(one) for one in labels] for _, labels in ROWS]
    import pyarrow.parquet

    for split in ("train", "test"):
        table = pa.table({"words": [words for words, _ in ROWS], "tags": numbers})
        pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / f"{split}.parquet")
    assert load(tmp_path, model).labels == NAMES


def test_a_label_that_the_model_does_not_know_is_named(tmp_path, model):
    with pytest.raises(BadInput, match=r"the label 'B-LOC' is none of the model's: O, B-PER, B-ORG"):
        load(lines(tmp_path / "d", test=[(["EU"], ["B-LOC"])]), model)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((["EU", "calls"], ["O"]), "has 2 words and 1 labels"),
        (([], []), "is \\[\\]; the others hold lists of texts"),
        ((["EU", None], ["O", "O"]), r"is \[\"EU\", null\]; the others hold lists of texts"),
    ],
)
def test_a_damaged_row_is_named_or_left_out(tmp_path, model, row, said):
    folder = lines(tmp_path / "d", train=[*ROWS, row])
    with pytest.raises(BadInput, match=rf"train.jsonl line 4, column 'tokens' ({said})"):
        load(folder, model)
    data = load(folder, model, skip_damaged=True)
    assert len(data.train) == 3 and data.skipped_rows == 1


def test_a_row_that_is_cut_off_keeps_the_labels_before(tmp_path, model):
    data = load(lines(tmp_path / "d"), model, max_length=5)
    assert data.train.targets[0].tolist() == [NO, 2, 0, NO, NO]


def test_two_columns_of_words_are_a_question(tmp_path, model):
    folder = tmp_path / "d"
    folder.mkdir()
    for split in ("train", "test"):
        row = {"a": ["EU"], "b": ["EU"], "label": ["O"]}
        (folder / f"{split}.jsonl").write_text((json.dumps(row) + "\n") * 2)
    with pytest.raises(BadInput, match="several columns could be the words: a, b"):
        load(folder, model)
    assert load(folder, model, columns=(("tokens", "b"), ("label", "label"))).test.inputs.shape == (2, 3)


def test_names_that_are_none(tmp_path):
    assert names_beside(None) == names_beside(tmp_path) == ()
    for named in ({"0": "O", "2": "B"}, {"0": "O", "1": "O"}, ["O"], {"0": 3}):
        (tmp_path / "config.json").write_text(json.dumps({"id2label": named}))
        assert names_beside(tmp_path) == ()
