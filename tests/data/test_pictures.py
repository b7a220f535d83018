"""What becomes of pictures: `--transform`, a model's own configuration, torchvision's arithmetic,
refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qtrain_cli.data import load_data
from qtrain_cli.data.pictures import PictureForm, picture_form
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.settings import DataSettings, ModelSettings

Image = pytest.importorskip("PIL.Image")

NOISE = np.random.default_rng(0).integers(0, 256, (61, 47, 3), dtype=np.uint8)


@pytest.fixture
def mixed(tmp_path):
    """Class folders of pictures of several sizes and modes."""
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            folder = tmp_path / "set" / split / label
            folder.mkdir(parents=True)
            for number, (width, height) in enumerate([(20, 10), (10, 30), (16, 16)]):
                picture = Image.fromarray(NOISE).resize((width, height))
                picture.convert(("RGB", "L", "P")[number]).save(folder / f"{number}.png")
    return tmp_path / "set"


def test_a_picture_is_resized_and_cropped_as_torchvision_does_it():
    """Resize(32) and CenterCrop(28) of torchvision 0.25 on the same picture: 41 x 32, left 2, top 6.5 ->
    6."""
    form = picture_form("resize=32,crop=28,bicubic", None)
    picture = Image.fromarray(NOISE)
    assert form.size_of(47, 61) == (32, int(32 * 61 / 47)) == (32, 41)
    expected = picture.resize((32, 41), Image.Resampling.BICUBIC).crop((2, 6, 30, 34))
    assert np.array_equal(np.asarray(form(picture)), np.asarray(expected))


def test_a_picture_smaller_than_the_crop_is_filled_up_with_zeros():
    found = np.asarray(PictureForm(crop=(6, 5))(Image.fromarray(np.full((3, 2), 9, np.uint8))))
    assert found.shape == (6, 5) and found.sum() == 9 * 6
    assert (found[1:4, 1:3] == 9).all()


def test_torchvision_itself_agrees():
    transforms = pytest.importorskip("torchvision.transforms", reason="torchvision is not installed")
    for side, crop in ((32, 28), (33, 24), (20, 30)):
        theirs = transforms.Compose(
            [transforms.Resize(side, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(crop)]
        )
        ours = picture_form(f"resize={side},crop={crop},bicubic", None)
        assert np.array_equal(
            np.asarray(ours(Image.fromarray(NOISE))), np.asarray(theirs(Image.fromarray(NOISE)))
        )


def test_mixed_sizes_and_modes_are_brought_to_one(load, mixed):
    data = load(mixed, transform="resize=12x8,rgb")
    assert data.train.inputs.shape[1:] == (3, 12, 8)
    assert "pictures by --transform: mode RGB, resized to 12x8 (bilinear)" in data.said
    assert load(mixed, transform="resize=12,crop=12,grey").train.inputs.shape[1:] == (1, 12, 12)


def test_without_a_transform_the_way_on_is_said(load, mixed):
    with pytest.raises(BadInput, match=r"is 10x30 L, but train/cat/0\.png is 20x10 RGB") as caught:
        load(mixed)
    assert caught.value.advice.endswith("as by --transform resize=10x20,rgb")
    assert load(mixed, transform="resize=10x20,rgb").train.inputs.shape[1:] == (3, 10, 20)


def load_beside(mixed, tmp_path, name, config, **settings):
    model = tmp_path / "model"
    model.mkdir(exist_ok=True)
    (model / name).write_text(json.dumps(config))
    return load_data(DataSettings(str(mixed), **settings), 0, ModelSettings(model / "model.safetensors"))


VIT = {
    "do_resize": True, "size": {"height": 16, "width": 16}, "resample": 2, "do_rescale": True,
    "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.5, 0.5, 0.25],
}  # fmt: skip
CLIP = {
    "do_resize": True, "size": {"shortest_edge": 20}, "resample": 3, "do_center_crop": True,
    "crop_size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
}  # fmt: skip
TIMM = {
    "architecture": "resnet18",
    "pretrained_cfg": {
        "input_size": [3, 14, 14], "interpolation": "bicubic", "crop_pct": 0.875,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "config", "form"),
    [
        ("preprocessor_config.json", VIT, ((16, 16), (), "bilinear")),
        ("preprocessor_config.json", VIT | {"size": 16}, ((16, 16), (), "bilinear")),
        ("preprocessor_config.json", CLIP, ((20,), (16, 16), "bicubic")),
        ("preprocessor_config.json", CLIP | {"size": 20, "crop_size": 16}, ((20,), (16, 16), "bicubic")),
        ("config.json", TIMM, ((16,), (14, 14), "bicubic")),
    ],
)
def test_a_models_folder_says_what_it_was_trained_with(mixed, tmp_path, name, config, form):
    data = load_beside(mixed, tmp_path, name, config)
    found = picture_form(None, tmp_path / "model")
    assert (found.resize, found.crop, found.resampling, found.mode) == (*form, "RGB")
    own = config.get("pretrained_cfg", config)
    mean = own.get("mean", own.get("image_mean"))
    assert data.normalisation.mean == tuple(mean)
    assert data.train.inputs.shape[2:] == (found.crop or found.resize)
    assert any(line.startswith(f"pictures by {name}: mode RGB, resized") for line in data.said)


def test_what_is_said_outweighs_the_folder(mixed, tmp_path):
    given = load_beside(mixed, tmp_path, "preprocessor_config.json", VIT, mean=(0.1,), std=(0.2,))
    assert given.normalisation.mean == (0.1,)
    plain = load_beside(mixed, tmp_path, "preprocessor_config.json", VIT, transform="resize=12x8,rgb")
    assert plain.normalisation.mean == () and plain.train.inputs.shape[2:] == (12, 8)
    with pytest.raises(BadInput, match="is 10x30 L"):
        load_beside(mixed, tmp_path, "preprocessor_config.json", VIT, transform="none")


@pytest.mark.parametrize(
    ("change", "mean", "std"),
    [
        ({"do_normalize": False}, (), ()),
        ({"do_rescale": False, "do_normalize": False}, (0.0,), (1 / 255,)),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False}, (0.5,), (0.5,)),
        ({"rescale_factor": 1 / 127.5}, (0.25, 0.2, 0.15), (0.25, 0.25, 0.125)),
    ],
)
def test_another_rescaling_goes_into_mean_and_std(tmp_path, change, mean, std):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(VIT | change))
    form = picture_form(None, tmp_path)
    assert form.mean == pytest.approx(mean) and form.std == pytest.approx(std)


def test_arrays_are_no_pictures_of_files(tmp_path, pixels):
    np.savez(tmp_path / "d.npz", **pixels)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(VIT))
    data = load_data(DataSettings(str(tmp_path / "d.npz")), 0, ModelSettings(tmp_path / "m.pt"))
    assert data.normalisation.mean == () and not any("pictures by" in line for line in data.said)


def test_a_configuration_for_pictures_is_nothing_to_arrays(tmp_path, pixels):
    np.savez(tmp_path / "d.npz", **pixels)
    detr = VIT | {"size": {"shortest_edge": 800, "longest_edge": 1333}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(detr))
    model = ModelSettings(tmp_path / "m.pt")
    assert len(load_data(DataSettings(str(tmp_path / "d.npz")), 0, model).test) == 4
    with pytest.raises(UsageError, match="--transform has 'blur'"):
        load_data(DataSettings(str(tmp_path / "d.npz"), transform="blur"), 0, model)


@pytest.mark.parametrize(
    "text", ["resize", "resize=0", "resize=1x2x3", "blur", "crop=-1", "none,rgb", "rgb=1", ""]
)
def test_a_transform_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="--transform"):
        picture_form(text, None)


@pytest.mark.parametrize(
    "change",
    [
        {"size": {"longest_edge": 5}}, {"size": {"shortest_edge": 0}}, {"size": "big"}, {"resample": 77},
        {"image_std": [0.5, 0.0, 0.5]}, {"image_mean": ["a"]}, {"rescale_factor": 0},
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_followed_is_refused(tmp_path, change):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(VIT | change))
    with pytest.raises(BadInput):
        picture_form(None, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"std": [0.0] * 3}, "'config.json' has a normalisation that is none"),
        ({"std": [-1.0] * 3}, "'config.json' has a normalisation that is none"),
        ({"std": [0.2, 0.2]}, "'config.json' has a normalisation that is none"),
        ({"input_size": [3, 0, 14]}, r"none that qtrain can follow: \[3, 0, 14\], 0.875, 'center'"),
        ({"crop_mode": "border"}, "none that qtrain can follow: .*, 'border'"),
    ],
)
def test_a_configuration_of_timms_that_cannot_be_followed_is_refused(tmp_path, change, message):
    config = {"pretrained_cfg": TIMM["pretrained_cfg"] | change}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=message):
        picture_form(None, tmp_path)


def test_a_long_strip_is_not_blown_up(load, tmp_path):
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (tmp_path / split / label).mkdir(parents=True)
            Image.new("L", (1, 30_000)).save(tmp_path / split / label / "1.png")
    with pytest.raises(BadInput, match="is 1x30000, which resizing would make"):
        load(tmp_path, transform="resize=224,crop=224")
