"""`--dry-run`: every long command says what it would do and how long, and leaves nothing behind."""

import json
import shutil

import pytest

QUICK = ("--epochs", "3", "--device", "cpu")
TINY = "qnn:qubits=2,layers=1"
LINES = {
    "compress": ("compress", "net.pt", "--data", "d.npz", "--layers", "4", *QUICK),
    "compare": (
        "compare", "net.pt", "--data", "d.npz", "--bytes", "1000,1500", "--methods",
        "quantisation,pruning,ours", "--seeds", "2", *QUICK,
    ),
    "train": ("train", TINY, "--data", "d.npz", *QUICK),
    "distill": ("distill", "net.pt", "--student", TINY, "--data", "d.npz", *QUICK),
    "compare-students": (
        "compare-students", "--student", TINY, "--data", "d.npz", "-o", "new", "--seeds", "2", "--methods",
        "labels,born-again", *QUICK,
    ),
    "compare-gradients": (
        "compare-gradients", TINY, "--data", "d.npz", "-o", "new", "--seeds", "2", "--epochs", "3",
        "--gradients", "adjoint,spsa", "--shots", "0",
    ),
    "sample": (
        "sample", "net.qtrain", "--model", "net.pt", "--data", "d.npz", "--shots", "1e4,exact",
        "--repeat", "2", "--noise", "none,depolarizing:0.001",
    ),
}  # fmt: skip
#: Of each: trainings of each part.
TRAININGS = {
    "compress": [1], "train": [1], "distill": [1], "compare-students": [2, 4], "compare-gradients": [2, 2],
    "sample": [2, 2],
}  # fmt: skip


@pytest.fixture
def here(tmp_path, digits, artifact, monkeypatch):
    shutil.copy(digits / "digits.npz", tmp_path / "d.npz")
    shutil.copy(digits / "digits_cnn_module.pt", tmp_path / "net.pt")
    shutil.copy(artifact, tmp_path / "net.qtrain")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("verb", LINES)
def test_it_says_how_long_and_leaves_nothing(here, cli, verb):
    words = [*LINES[verb], *(("-o", "made.qtrain") if verb in ("compress", "train", "distill") else ())]
    before = {path: path.read_bytes() for path in here.rglob("*")}
    ended = cli(*words, "--dry-run", "--json")
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert (document["schema"], document["command"]) == ("qtrain.dry-run/1", verb)
    assert document["memory_bytes"] > 10**7 and document["seconds"] > 0
    assert document["seconds"] == pytest.approx(sum(part["seconds"] for part in document["parts"]))
    if verb in TRAININGS:
        assert [part["trainings"] for part in document["parts"]] == TRAININGS[verb]
    assert {path: path.read_bytes() for path in here.rglob("*")} == before


def test_steps_are_those_of_the_run(here, cli):
    (part,) = json.loads(cli(*LINES["compress"], "-o", "made.qtrain", "--dry-run", "--json").out)["parts"]
    assert (part["epochs"], part["steps"], part["trainings"]) == (3, 3 * (1293 // 128), 1)
    assert part["seconds"] == pytest.approx(
        part["steps"] * part["seconds_per_step"] + 3 * part["seconds_per_validation"]
    )


def test_a_comparison_counts_its_tuning(here, cli):
    words = [*LINES["compare"], "--dry-run", "--json"]
    document = json.loads(cli(*words).out)
    names = [part["name"] for part in document["parts"]]
    assert set(names) == {"quantisation", "pruning", "ours"}
    assert all(part["trainings"] > 2 * 2 for part in document["parts"])


def test_a_comparison_says_which_cells_are_there(here, cli):
    one = (
        "compare", "net.pt", "--data", "d.npz", "--bytes", "1500", "--methods", "pruning", "--quick",
        "--seeds", "1", "--epochs", "2", "--device", "cpu",
    )  # fmt: skip
    dry = (*one, "--dry-run", "--json")
    assert not any("files of" in note for note in json.loads(cli(*dry).out)["notes"])
    assert cli(*one).code == 0
    assert "has files of 1 cells" in json.loads(cli(*dry).out)["notes"][-1]
    other = json.loads(cli(*dry, "--temperature", "3").out)["notes"]
    assert not any("files of" in note for note in other)


def test_a_comparison_in_which_nothing_is_trained_says_why(here, cli):
    words = ("compare", "net.pt", "--data", "d.npz", "--methods", "quantisation", "--dry-run")
    few = cli(*words, "--bytes", "300")
    assert few.code == 0 and "quantisation does not suit this model, or has no file of 300 bytes" in few.out
    assert "Timed on" not in few.out
    enough = cli(*words, "--bytes", "300,9KB")
    assert "does not suit" not in enough.out and "Timed on" in enough.out


def test_people_see_a_table(here, cli):
    ended = cli(*LINES["compress"], "-o", "made.qtrain", "--dry-run")
    assert "qtrain compress would do this" in ended.out and "Dry run: nothing was written" in ended.out
    assert "Writes                           made.qtrain\n" in ended.out
    assert "made.qtrain.jsonl" in ended.out


def test_what_could_not_be_done_is_refused_in_a_dry_run_too(here, cli):
    ended = cli(*LINES["compress"], "-o", "net.qtrain", "--dry-run")
    assert ended.code == 2 and "'net.qtrain' exists" in ended.err
