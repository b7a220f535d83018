"""A share of the files that `portable_digests` makes, under a few of the ways that may not change a bit."""

import sys

import portable_digests
import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("portable")
    assert 5 <= portable_digests.make(folder, every=13) < 15
    return folder


@pytest.fixture(scope="module")
def here(folder):
    return portable_digests.check(folder)


@pytest.mark.parametrize("name", portable_digests.QUICK)
def test_no_way_of_computing_changes_a_bit(name, folder, here):
    found = portable_digests.checked_by([sys.executable], folder, portable_digests.ROWS[name])
    if name == "steps base" and not here["steps"]:
        pytest.skip("the extension was not built")
    assert found["wrong"] == [] and found["sha256"] == here["sha256"]
    assert found["files"] == here["files"] > 5


def test_a_file_that_gives_other_weights_is_seen(folder, tmp_path):
    """One with the numbers of another."""
    from artifacts import artifact_of, numbers_of, spec_of

    from qtrain_cli.artifact.numbers import Artifact, encode_artifact

    data = encode_artifact(Artifact(artifact_of(spec_of()).description, numbers_of(spec_of(), seed=1)))
    (tmp_path / "a.qtrain").write_bytes(data)
    assert portable_digests.check(tmp_path)["wrong"] == ["a"]


def test_there_are_a_hundred_files_of_every_kind():
    names = [name for name, _ in portable_digests.files()]
    assert len(names) > 100 and len(set(names)) == len(names)
