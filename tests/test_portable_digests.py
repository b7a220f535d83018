"""The files that `portable_digests` makes, all of them, under a few of the ways that may not change a bit."""

import sys

import portable_digests
import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("portable")
    assert portable_digests.make(folder) > 100
    return folder


@pytest.fixture(scope="module")
def here(folder):
    return portable_digests.check(folder)


def test_no_way_of_computing_changes_a_bit(folder, here):
    """Threads, PyTorch's instructions and the compiled steps at another level, all three at once."""
    ways = ["2 threads", "PyTorch default", *(["steps base"] if here["steps"] else [])]
    more = {name: value for way in ways for name, value in portable_digests.ROWS[way].items()}
    assert_same(portable_digests.checked_by([sys.executable], folder, more), here)


def test_numpy_alone_changes_no_bit(folder, here, monkeypatch):
    for name, value in portable_digests.ROWS["NumPy alone"].items():
        monkeypatch.setenv(name, value)
    found = portable_digests.check(folder)
    assert not found["steps"]
    assert_same(found, here)


def assert_same(found, here):
    assert found["wrong"] == [] and found["sha256"] == here["sha256"]
    assert found["files"] == here["files"] > 100


def test_a_file_that_gives_other_weights_is_seen(folder, tmp_path):
    """One with the numbers of another."""
    from artifacts import artifact_of, numbers_of, spec_of

    from qtrain_cli.artifact.numbers import Artifact, encode_artifact

    data = encode_artifact(Artifact(artifact_of(spec_of()).description, numbers_of(spec_of(), seed=1)))
    (tmp_path / "a.qtrain").write_bytes(data)
    assert portable_digests.check(tmp_path)["wrong"] == ["a"]


def test_they_are_a_hundred_of_every_kind(folder):
    from artifacts import FAST_PLANS, RIVAL_PLANS

    from qtrain_cli.methods.generator.spec import MAPPINGS

    names = [path.stem.partition(" ")[2] for path in folder.iterdir()]
    assert len(set(names)) == len(names) > 100
    rivals = [*RIVAL_PLANS, *(f"fast {method}" for method in FAST_PLANS)]
    kinds = [f"{rival} {seed}" for rival in rivals for seed in range(4)]
    for mapping in MAPPINGS:
        kinds += [f"wide {mapping} {circuits}" for circuits in (1, 4, 7)]
        kinds += [f"changes {mapping} {target} " for target in ("delta", "lora", "lora-xs")]
    assert [kind for kind in kinds if not any(name.startswith(kind) for name in names)] == []
