"""`--columns` and `--split`: the data's own names, in every layout that has any, and each refusal."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest

from qtrain_cli.data.columns import SPLIT_NAMES, Roles, splits_there
from qtrain_cli.errors import BadInput
from qtrain_cli.settings.sources import COLUMN_ROLES, SPLIT_ROLES

ROWS = [{"a": n, "b": 10 * n, "species": "cat" if n % 2 else "dog", "age": n / 2} for n in range(6)]


@pytest.fixture
def csv_folder(tmp_path):
    path = tmp_path / "csv"
    path.mkdir()
    for split in ("train", "test"):
        lines = [",".join(map(str, row.values())) for row in ROWS]
        (path / f"{split}.csv").write_text("\n".join([",".join(ROWS[0]), *lines]) + "\n")
    return path


@pytest.fixture
def json_folder(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "json"
    path.mkdir()
    for split in ("train", "test"):
        (path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.mark.parametrize("layout", ["csv_folder", "json_folder"])
def test_columns_are_what_was_said(load, request, layout):
    data = load(request.getfixturevalue(layout), columns=(("table", "b+a"), ("label", "species")))
    assert data.test.inputs.tolist() == [[10.0 * n, float(n)] for n in range(6)]
    assert data.labels == ("cat", "dog") and data.test.targets.tolist() == [1, 0, 1, 0, 1, 0]
    assert "target: column 'species'" in data.said
    regression = load(request.getfixturevalue(layout), columns=(("table", "a"), ("label", "age")))
    assert (regression.task, regression.test.inputs.shape) == ("regression", (6, 1))


@pytest.mark.parametrize("layout", ["csv_folder", "json_folder"])
def test_a_column_that_is_not_there_is_answered_with_those_that_are(load, request, layout):
    with pytest.raises(
        BadInput, match="no column 'kind', which --columns names; there are: a, b, spec"
    ) as caught:
        load(request.getfixturevalue(layout), columns=(("label", "kind"),))
    assert caught.value.exit_code == 2
    with pytest.raises(BadInput) as caught:
        load(request.getfixturevalue(layout), columns=(("label", "specie"),))
    assert "species" in caught.value.advice


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"image": "a", "text": "b"}, "inputs of 2 kinds: image, text"),
        ({"text2": "a"}, "names text2 and no text"),
    ],
)
def test_roles_that_do_not_go_together(named, message):
    with pytest.raises(BadInput, match=message):
        Roles.said(named)


def test_every_role_that_may_be_said_is_known_here():
    assert tuple(field.name for field in fields(Roles)) == COLUMN_ROLES and tuple(SPLIT_NAMES) == SPLIT_ROLES


def test_splits_go_by_their_usual_names_or_by_those_that_were_said():
    def found(*there, **said):
        return splits_there(there.__contains__, said, "{} split", "advice")

    assert found("train", "test") == {"train": "train", "test": "test"}
    assert found("train", "val", "test")["validation"] == "val"
    assert found("train", "validation", test="validation") == {"train": "train", "test": "validation"}
    assert found("a", "b", "val", train="a", test="b")["validation"] == "val"
    with pytest.raises(BadInput, match="there is no test split") as caught:
        found("train", "val")
    assert caught.value.advice.startswith("--split test=val takes val for it")
    with pytest.raises(BadInput, match="there is no other split"):
        found("train", "test", test="other")
    with pytest.raises(BadInput, match="takes 'a' for two splits"):
        found("a", train="a", test="a")


@pytest.mark.parametrize("name", ["/etc/x", "../test", "..", "a\\b"])
def test_a_split_is_a_name_and_no_path(load, tmp_path, name):
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text('{"a": 1, "label": 0}\n{"a": 2, "label": 1}\n')
    with pytest.raises(BadInput, match=r"--split test=.* is a path; allowed: the name of a split"):
        load(tmp_path, splits=(("test", name),))


def test_a_splits_name_is_no_pattern(load, tmp_path):
    for split in ("train", "test", "[x]", "x"):
        rows = '{"a": 1, "label": 0}\n{"a": 2, "label": 1}\n'
        (tmp_path / f"{split}.jsonl").write_text(rows if split != "x" else rows * 2)
    assert len(load(tmp_path, splits=(("test", "[x]"),)).test) == 2
    with pytest.raises(BadInput, match=r"there is no .*\?"):
        load(tmp_path, splits=(("test", "?"),))


def test_a_split_column_may_have_validation_rows(load, tmp_path):
    names = ["train", "train", "validation", "test", "train", "holdout"]
    lines = "".join(f"{n},{n % 2},{name}\n" for n, name in enumerate(names))
    (tmp_path / "all.csv").write_text("a,label,split\n" + lines)
    with pytest.raises(BadInput, match="row 5 has the split 'holdout'"):
        load(tmp_path / "all.csv")
    data = load(tmp_path / "all.csv", splits=(("test", "holdout"), ("validation", "validation")))
    assert data.validation.inputs.tolist() == [[2.0]] and data.test.inputs.tolist() == [[3.0], [5.0]]


def test_arrays_may_have_validation_rows(load, tmp_path, pixels):
    own = {"x_validation": pixels["x_train"][:3], "y_validation": pixels["y_train"][:3]}
    np.savez(tmp_path / "own.npz", **pixels, **own)
    np.savez(tmp_path / "plain.npz", **pixels)
    data, plain = load(tmp_path / "own.npz"), load(tmp_path / "plain.npz")
    assert (len(data.train), len(data.validation)) == (10, 3)
    assert data.sha256 != plain.sha256


def test_a_row_of_another_split_has_no_number_where_others_were_left_out(load, tmp_path):
    rows = ["x,0,train", "1,0,train", "2,1,train", "3,1,holdout"]
    (tmp_path / "all.csv").write_text("\n".join(["a,label,split", "0,1,train", *rows]) + "\n")
    with pytest.raises(BadInput, match=": a row has the split 'holdout'"):
        load(tmp_path / "all.csv", skip_damaged=True)


@pytest.mark.parametrize("said", [(("split", "fold"),), (("table", "a+b"),)])
def test_a_column_of_splits_is_no_input_of_a_folder(load, tmp_path, said):
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("a,b,fold,label\n1,2,x,0\n2,3,y,1\n3,4,x,0\n")
    assert load(tmp_path, columns=said).test.inputs.tolist() == [[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]]
