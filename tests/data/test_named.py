"""Several inputs by name: what files and functions say, what is refused, and what becomes of each part."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from qtrain_cli.data import Normalisation, describe_data
from qtrain_cli.data.inputs import NamedInputs
from qtrain_cli.errors import BadInput, UsageError


@pytest.fixture
def parts():
    """Ten train and four test rows of a picture, tokens, a mask and a number."""
    rng = np.random.default_rng(0)
    made = {}
    for split, rows in (("train", 10), ("test", 4)):
        made |= {
            f"x_{split}.picture": rng.integers(0, 256, (rows, 3, 4, 4), dtype=np.uint8),
            f"x_{split}.tokens": rng.integers(0, 9, (rows, 5)).astype(np.int32),
            f"x_{split}.mask": rng.random((rows, 5)) > 0.5,
            f"x_{split}.weight": rng.random(rows),
            f"y_{split}": np.arange(rows) % 3,
        }
    return made


def test_npz_safetensors_and_functions_give_the_same_data(load, tmp_path, parts):
    np.savez(tmp_path / "a.npz", **parts)
    save_file(parts, tmp_path / "a.safetensors")
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def data():\n"
        f"    a = np.load({str(tmp_path / 'a.npz')!r})\n"
        "    def x(split):\n"
        "        return {n.split('.')[1]: a[n] for n in a if n.startswith(f'x_{split}.')}\n"
        "    return x('train'), a['y_train'], x('test'), a['y_test']\n"
    )
    found = [load(source) for source in (tmp_path / "a.npz", f"{tmp_path / 'mine.py'}:data")]
    sizes = {name: tuple(part.shape) for name, part in found[0].test.inputs.parts.items()}
    assert sizes == {"picture": (4, 3, 4, 4), "tokens": (4, 5), "mask": (4, 5), "weight": (4,)}
    assert found[0].sha256 == found[1].sha256
    other = load(tmp_path / "a.safetensors")  # which sorts names
    assert {name: part.dtype for name, part in other.train.inputs.parts.items()} == {
        "mask": torch.bool, "picture": torch.uint8, "tokens": torch.int64, "weight": torch.float32,
    }  # fmt: skip
    assert len(found[0].train) + len(found[0].validation) == 10
    assert "pixels are divided by 255" in found[0].rows_in_words
    assert describe_data(found[0])["input_shape"]["tokens"] == [5]


def test_a_tuple_is_by_position_and_ten_comes_after_two(load, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def data():\n"
        "    x = tuple(np.full((6, 2), float(i)) for i in range(11))\n"
        "    return {'x_train': x, 'y_train': np.arange(6) % 2, 'x_test': x, 'y_test': np.arange(6) % 2}\n"
    )
    inputs = load(f"{tmp_path / 'mine.py'}:data").test.inputs
    assert inputs.by_position and float(inputs.parts["10"][0, 0]) == 10


def test_each_part_counts_for_the_digest(load, tmp_path, parts):
    np.savez(tmp_path / "a.npz", **parts)
    parts["x_test.mask"] = ~parts["x_test.mask"]
    np.savez(tmp_path / "b.npz", **parts)
    assert load(tmp_path / "a.npz").sha256 != load(tmp_path / "b.npz").sha256


def cut(name, part):
    return lambda rows: rows.update({name: rows[name][part]})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda rows: rows.update({"x_validation.mask": rows["x_test.mask"], "y_validation": [0] * 4}),
            "train has the inputs mask, picture, tokens, weight and validation mask",
        ),
        (
            lambda rows: rows.pop("x_test.mask"),
            "train has the inputs mask, picture, tokens, weight and test pic",
        ),
        (cut("x_test.tokens", slice(3)), "x_test.tokens has 3 rows and y_test 4"),
        (cut("x_test.tokens", np.s_[:, :4]), "a row of x_train.tokens has the shape"),
        (lambda rows: rows["x_train.weight"].fill(np.inf), "x_train.weight holds inf"),
        (lambda rows: rows.update({"x_train.mask": rows["x_train.mask"].astype(str)}), "mask has the dtype"),
        (lambda rows: [rows.pop(n) for n in list(rows) if n.startswith("x_test")], "x_test missing; found"),
    ],
)
def test_parts_that_disagree_are_refused_by_name(load, tmp_path, parts, change, said):
    change(parts)
    np.savez(tmp_path / "a.npz", **parts)
    with pytest.raises(BadInput, match=said):
        load(tmp_path / "a.npz")


def test_pixels_are_normalised_and_everything_else_stays(load, tmp_path, parts):
    np.savez(tmp_path / "a.npz", **parts)
    data = load(tmp_path / "a.npz", mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
    found, given = data.normalisation(data.test.inputs).parts, data.test.inputs.parts
    picture = (given["picture"].float() / 255 - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / 0.2
    torch.testing.assert_close(found["picture"], picture)
    assert all(torch.equal(found[name], given[name]) for name in ("tokens", "mask", "weight"))
    with pytest.raises(UsageError, match="and the inputs picture 3 channels"):
        load(tmp_path / "a.npz", mean=(0.5, 0.5), std=(1, 1))


def test_without_pixels_the_floats_are_normalised():
    inputs = NamedInputs(
        {"a": torch.ones(2, 3), "b": torch.ones(2), "c": torch.ones(2, 1, dtype=torch.int64)}
    )
    found = Normalisation((0.5,), (2.0,))(inputs).parts
    assert (
        found["a"].unique().item() == found["b"].unique().item() == 0.25 and found["c"].unique().item() == 1
    )
