"""Checkpoints: every bit comes back, nothing is pickled, damage and strangers are refused by name."""

import json
import math
import pickletools
import random
import struct

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.files.checkpoint import (
    METADATA_KEY,
    Checkpoint,
    load_checkpoint,
    random_states,
    restore_random_states,
    save_checkpoint,
)

IDENTITY = {"model": "a" * 64, "data": "b" * 64, "settings": {"epochs": 10, "lr": 0.01, "targets": []}}
STATE = {"epoch": 3, "best": -math.inf, "history": [{"loss": 0.1 + 0.2}, {"loss": -0.0}], "note": None}
TENSORS = {
    "theta": torch.tensor([-0.0, math.nan, math.inf, 1e-45, 0.1]),
    "moments": torch.arange(6, dtype=torch.float64).view(2, 3).T,
    "step": torch.tensor(7),
    "empty": torch.ones(0, 3),
    "mask": torch.tensor([True, False]),
    "half": torch.tensor([1.5]).bfloat16(),
}


def bits(tensor: torch.Tensor) -> tuple:
    return tensor.dtype, tensor.shape, tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def saved(folder, tensors=TENSORS, state=STATE, identity=IDENTITY):
    path = folder / "run.checkpoint"
    save_checkpoint(path, Checkpoint(tensors, state, identity))
    return path


def rewrite(path, change):
    """Put another JSON document into a checkpoint file, whatever its digest says."""
    with safetensors.safe_open(path, "pt") as file:
        document = json.loads(file.metadata()[METADATA_KEY])
    text = change(document)
    tensors = safetensors.torch.load_file(path)
    text = text if isinstance(text, str) else json.dumps(text)
    path.write_bytes(safetensors.torch.save(tensors, {METADATA_KEY: text}))


def test_every_bit_comes_back(tmp_path):
    loaded = load_checkpoint(saved(tmp_path), IDENTITY)
    assert {name: bits(t) for name, t in loaded.tensors.items()} == {n: bits(t) for n, t in TENSORS.items()}
    assert loaded.state == STATE and loaded.identity == IDENTITY
    assert math.copysign(1, loaded.state["history"][1]["loss"]) == -1


def test_a_nan_in_the_state_comes_back(tmp_path):
    path = saved(tmp_path, state={"loss": math.nan})
    assert math.isnan(load_checkpoint(path, IDENTITY).state["loss"])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
arrays = st.lists(st.floats(width=32), max_size=5).map(lambda numbers: torch.tensor(numbers))
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)


@given(
    tensors=st.dictionaries(names.filter(lambda name: name != "__metadata__"), arrays, max_size=3),
    state=st.dictionaries(st.text(), values, max_size=3),
    identity=st.dictionaries(st.text(), values, max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_any_content_comes_back(tmp_path_factory, tensors, state, identity):
    path = saved(tmp_path_factory.mktemp("any"), tensors, state, identity)
    loaded = load_checkpoint(path, identity)
    assert {name: bits(t) for name, t in loaded.tensors.items()} == {n: bits(t) for n, t in tensors.items()}
    assert json.dumps(loaded.state, sort_keys=True) == json.dumps(state, sort_keys=True)
    assert loaded.identity == identity


def test_the_same_content_gives_the_same_bytes_and_replaces_the_file(tmp_path):
    path = saved(tmp_path)
    first = path.read_bytes()
    saved(tmp_path, dict(reversed(TENSORS.items())), dict(reversed(STATE.items())))
    assert path.read_bytes() == first
    saved(tmp_path, state={**STATE, "epoch": 4})
    assert load_checkpoint(path, IDENTITY).state["epoch"] == 4
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_that_share_memory_or_need_gradients_are_saved(tmp_path):
    weight = torch.ones(2, 2, requires_grad=True)
    loaded = load_checkpoint(saved(tmp_path, {"now": weight, "best": weight, "row": weight[0]}), IDENTITY)
    assert all(torch.equal(loaded.tensors[name], weight) for name in ("now", "best"))


def test_loaded_tensors_do_not_change_with_the_file(tmp_path):
    path = saved(tmp_path)
    loaded = load_checkpoint(path, IDENTITY)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert bits(loaded.tensors["moments"]) == bits(TENSORS["moments"])


def test_one_metadata_key_and_no_pickle(tmp_path):
    path = saved(tmp_path)
    with safetensors.safe_open(path, "pt") as file:
        assert list(file.metadata()) == [METADATA_KEY]
    with pytest.raises(ValueError):
        list(pickletools.genops(path.read_bytes()))


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, {"a": [torch.ones(1)]}, np.float64(1.0)])
def test_what_json_would_change_is_not_accepted(value):
    with pytest.raises(TypeError, match=r"state\.x"):
        Checkpoint({}, {"x": value}, {})


def test_fingerprints_differ_with_the_identity_and_not_with_its_order():
    one = Checkpoint({}, {}, IDENTITY).fingerprint
    assert Checkpoint({}, {"epoch": 9}, dict(reversed(IDENTITY.items()))).fingerprint == one
    assert Checkpoint({}, {}, {**IDENTITY, "model": "c" * 64}).fingerprint != one


def test_a_missing_file_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="there is no checkpoint") as caught:
        load_checkpoint(tmp_path / "none", IDENTITY)
    assert caught.value.exit_code == 2 and "without --resume" in caught.value.advice


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = saved(tmp_path)
    whole = path.read_bytes()
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(Refused, match="is damaged") as caught:
            load_checkpoint(path, IDENTITY)
        assert caught.value.exit_code == 4 and "delete it" in caught.value.advice


def test_a_flipped_bit_is_refused_wherever_it_is(tmp_path):
    path = saved(tmp_path)
    whole = path.read_bytes()
    data = 8 + struct.unpack("<Q", whole[:8])[0]
    state = whole.index(b"epochs") + len(r"epochs\":1")
    for position in (data, len(whole) - 1, state):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(Refused, match="does not have the SHA-256 that was written"):
            load_checkpoint(path, IDENTITY)


def test_a_dtype_changed_in_the_header_is_refused(tmp_path):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"dtype":"F32"', b'"dtype":"I32"'))
    with pytest.raises(Refused, match="does not have the SHA-256 that was written"):
        load_checkpoint(path, IDENTITY)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_no_changed_byte_changes_a_run(tmp_path_factory, data):
    path = saved(tmp_path_factory.mktemp("flip"))
    whole = bytearray(path.read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    try:
        loaded = load_checkpoint(path, IDENTITY)
    except (Refused, BadInput):
        return
    assert {name: bits(t) for name, t in loaded.tensors.items()} == {n: bits(t) for n, t in TENSORS.items()}
    assert loaded.state == STATE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: "{", "its metadata is not JSON"),
        (lambda document: [], "its metadata is not a JSON object"),
        (lambda document: {**document, "state": []}, "does not hold exactly format, identity, sha256, state"),
        (lambda document: {**document, "more": 1}, "does not hold exactly"),
        (lambda document: {**document, "state": {}}, "does not have the SHA-256"),
        (lambda document: '{"a":' * 10_000 + "1" + "}" * 10_000, "nested too deeply"),
    ],
)
def test_a_damaged_document_is_refused(tmp_path, change, message):
    path = saved(tmp_path)
    rewrite(path, change)
    with pytest.raises(Refused, match=message):
        load_checkpoint(path, IDENTITY)


def test_another_version_and_another_kind_of_file_are_bad_input(tmp_path):
    path = saved(tmp_path)
    rewrite(path, lambda document: {**document, "format": "qtrain.checkpoint/2"})
    with pytest.raises(
        BadInput, match=r"has the format 'qtrain.checkpoint/2'; allowed: 'qtrain.checkpoint/1'"
    ):
        load_checkpoint(path, IDENTITY)
    safetensors.torch.save_file({"a": torch.ones(1)}, path)
    with pytest.raises(BadInput, match="not a checkpoint of qtrain"):
        load_checkpoint(path, IDENTITY)


def test_a_checkpoint_of_another_run_says_what_differs(tmp_path):
    path = saved(tmp_path)
    here = {
        **IDENTITY,
        "data": "0123456789abcdef" * 4,
        "settings": {"epochs": 5, "lr": 0.01, "targets": ["conv*"], "seed": 1},
    }
    with pytest.raises(BadInput) as caught:
        load_checkpoint(path, here)
    assert caught.value.message == (
        f"the checkpoint '{path}' belongs to another run: "
        "data is bbbbbbbbbbbb... there and 0123456789ab... here; "
        "settings.epochs is 10 there and 5 here; "
        "settings.seed is absent there and 1 here; "
        'settings.targets is [] there and ["conv*"] here'
    )
    assert caught.value.exit_code == 2 and "without --resume" in caught.value.advice


def draws() -> list:
    return [
        torch.rand(3).tolist(),
        torch.randn(3).tolist(),
        [random.random(), random.gauss(), random.gauss()],
        np.random.normal(size=3).tolist(),
    ]


@pytest.mark.parametrize("used", [0, 1, 700])
def test_random_states_continue_every_stream_through_a_file(tmp_path, used):
    torch.manual_seed(1)
    random.seed(2)
    np.random.seed(3)
    torch.rand(used)
    [random.gauss() for _ in range(used)]  # an odd number leaves one number held back
    np.random.normal(size=used)
    path = saved(tmp_path, {**random_states(), "theta": torch.ones(1)})
    expected = draws()
    assert draws() != expected
    restore_random_states(load_checkpoint(path, IDENTITY).tensors)
    assert draws() == expected


def test_a_missing_random_state_is_named():
    states = random_states()
    del states["random.numpy"]
    with pytest.raises(BadInput, match=r"lacks the random states random.numpy$"):
        restore_random_states(states)


def test_cuda_states_are_taken_once_cuda_is_in_use(monkeypatch):
    assert torch.cuda.is_initialized() or not any("cuda" in name for name in random_states())
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [torch.zeros(16), torch.ones(16)])
    states = random_states()
    assert torch.equal(states["random.cuda.1"], torch.ones(16))
    restored = {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: restored.update({device: state}))
    restore_random_states(states)
    assert torch.equal(restored[0], torch.zeros(16)) and torch.equal(restored[1], torch.ones(16))


def test_a_cuda_state_without_its_device_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(BadInput, match="needs the CUDA device 1; there are 1"):
        restore_random_states({**random_states(), "random.cuda.1": torch.zeros(16, dtype=torch.uint8)})
