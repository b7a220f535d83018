"""`qtrain compress --bare`: a file that regenerates its weights, and holds no record of how good they are."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

import qtrain_cli
from qtrain_cli.artifact.description import read_record
from qtrain_cli.artifact.numbers import read_artifact
from qtrain_cli.cli import main
from qtrain_cli.commands import inspect, verify
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.settings import VerifySettings


@pytest.fixture
def bare(finished, tmp_path):
    """A finished bare file with its receipt, and what `compress` returned."""
    return tmp_path / "net.qtrain", finished(bare=True).put_into(tmp_path).record


@pytest.fixture
def data(digits):
    return ["--data", str(digits / "digits.npz"), "--model", str(digits / "digits_cnn_module.pt")]


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same_weights(one: Path, other: Path) -> bool:
    states = [qtrain_cli.load(path).state_dict() for path in (one, other)]
    return all(bool((states[0][name] == states[1][name]).all()) for name in states[0] | states[1])


def test_it_is_the_same_file_without_record_and_origin(bare, finished):
    path, record = bare
    whole, at = finished().run.record, finished().folder / "net.qtrain"
    assert path.stat().st_size == record.artifact_bytes < whole.artifact_bytes - 72 - 40
    assert same_weights(path, at)
    assert record.artifact_sha256 == sha256_of(path) != whole.artifact_sha256
    expected = replace(whole, artifact_bytes=record.artifact_bytes, artifact_sha256=record.artifact_sha256)
    assert replace(record, seconds=None) == replace(expected, seconds=None) and record.seconds > 0
    origin = read_artifact(at).description.origin
    assert origin.measured == record.measured and read_artifact(path).description.origin is None
    for text in (record.measured.data_sha256, record.measured.model_sha256, origin.run):
        assert bytes.fromhex(text) not in path.read_bytes()


@pytest.mark.parametrize(("size", "bits"), [(500, 3), (500, 32), (700, 8), (1111, 32), (1800, 3)])
def test_a_bare_file_keeps_to_its_bytes(short, tmp_path, size, bits):
    """Three epochs, of which the last runs with rounded angles."""
    done = short(layers=None, bytes=size, angle_bits=bits, epochs=3, bare=True)
    found = (tmp_path / "net.qtrain").stat().st_size
    assert size - 100 <= found == done.record.artifact_bytes <= size
    assert verify.run(VerifySettings(tmp_path / "net.qtrain")).agreement == "exact"


def test_a_budget_of_bytes_buys_more_numbers(short, tmp_path):
    sizes = [
        short(layers=None, bytes=700, angle_bits=5, epochs=1, bare=bare, out=tmp_path / f"{bare}.qtrain")
        for bare in (True, False)
    ]
    more, fewer = (done.record.design.trained_numbers for done in sizes)
    assert more - fewer >= 8 * 72 // 5


def test_what_needs_no_record_works(bare, tmp_path, capsys):
    path, _ = bare
    assert verify.run(VerifySettings(path)).agreement == "exact"
    found = inspect.run(path)
    assert found["run"] is None and found["bytes"] == path.stat().st_size
    loaded = qtrain_cli.load(path)
    assert loaded.record is None and loaded.exact
    assert main(["export", str(path), "--classical", "-o", str(tmp_path / "net.safetensors")]) == 0
    assert main(["export", str(path), "--quantum", "-o", str(tmp_path / "net.qasm")]) == 0
    assert main(["inspect", str(path), "--json"]) == 0


@pytest.mark.parametrize(
    "gates", [[], ["--min-accuracy", "0.1"], ["--max-bytes", "9KB", "--min-ratio", "2", "--json"]]
)
def test_a_report_is_refused_with_gates_and_without(bare, gates, capsys):
    path, _ = bare
    assert main(["report", str(path), *gates]) == 2
    said = capsys.readouterr()
    assert f"'{path}' holds no record: it was written with --bare" in said.out + said.err
    assert "`compress --bare --json` prints the record" in said.out + said.err


@pytest.mark.parametrize(("limit", "code"), [("9KB", 0), ("100", 3)])
def test_the_size_of_a_file_is_judged_without_a_record(bare, limit, code, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    path, _ = bare
    gate = ["--max-bytes", limit, "--markdown", str(tmp_path / "a.md"), "--junit", str(tmp_path / "a.xml")]
    assert main(["report", str(path), *gate]) == code
    size = path.stat().st_size
    shown = capsys.readouterr().out
    assert f"{path.name}, a bare file of {size:,} bytes" in shown and "Artifact SHA-256" in shown
    assert "accuracy" not in shown and ("FAILED" in shown) == (code == 3)
    for name in ("a.md", "a.xml", "summary.md"):
        assert f"the file has {size:,} bytes" in (tmp_path / name).read_text() or (name, code) == ("a.xml", 0)
    assert main(["report", str(path), *gate, "--force", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["artifact_bytes"]) == ("qtrain.bare/1", size)
    assert found["artifact_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert ("error" in found) == (code == 3)


def test_sampling_is_refused_before_anything_is_measured(bare, data, capsys):
    path, _ = bare
    assert main(["sample", str(path), *data, "--shots", "100"]) == 2
    said = capsys.readouterr().err
    assert "holds no record: it was written with --bare" in said and said.count("\n") == 1


def test_a_finished_bare_file_is_known_again_by_its_receipt(bare, run, tmp_path):
    path, record = bare
    before, receipt = path.read_bytes(), path.with_name("net.qtrain.ckpt")
    assert receipt.stat().st_size < 4000
    again = run(resume=True, bare=True)
    assert again.seen == [] and again.logged[-1] == f"'{path}' is finished already; nothing to do"
    assert {**again.record.to_json(), "seconds": 0} == {**record.to_json(), "seconds": 0}
    assert path.read_bytes() == before and receipt.exists()


def test_a_receipt_is_of_its_own_run_and_file_alone(bare, run):
    path, _ = bare
    with pytest.raises(BadInput, match=r"belongs to another run: fit\.seed"):
        run(resume=True, bare=True, seed=1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(BadInput, match="is not what this run has written"):
        run(resume=True, bare=True)
    path.unlink()
    assert run(resume=True, bare=True).seen and path.read_bytes() == whole


def test_a_bare_file_without_its_receipt_is_not_taken_for_the_same_run(bare, run):
    path, _ = bare
    before = path.read_bytes()
    path.with_name(path.name + ".ckpt").unlink()
    said = "is bare, and nothing beside it says that this run wrote it"
    with pytest.raises(UsageError, match=said) as refused:
        run(resume=True, bare=True)
    assert refused.value.advice == "name another output, or replace it with --force"
    with pytest.raises(UsageError, match="is bare"):
        run(resume=True)
    with pytest.raises(BadInput, match="holds no record"):
        read_record(path)
    assert path.read_bytes() == before
    assert run(resume=True, force=True, bare=True).record.artifact_sha256 == sha256_of(path)
    assert path.read_bytes() == before


def test_a_finished_file_with_a_record_is_not_taken_for_a_bare_one(run, finished, tmp_path):
    """Who asks for --bare may not want the record to be there."""
    finished().put_into(tmp_path)
    with pytest.raises(UsageError, match="holds a record, which --bare leaves out"):
        run(resume=True, bare=True)
    run(resume=True, force=True, bare=True)
    with pytest.raises(BadInput, match="holds no record"):
        read_record(tmp_path / "net.qtrain")


def test_the_command_line_prints_the_whole_record(digits, tmp_path, cli):
    words = ("--data", digits / "digits.npz", "--layers", "4", "--epochs", "1", "--device", "cpu", "--json")
    model = digits / "digits_cnn_module.pt"
    whole = json.loads(cli("compress", model, *words, "-o", tmp_path / "whole.qtrain").out)
    ended = cli("compress", model, *words, "-o", tmp_path / "bare.qtrain", "--bare")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    differing = {name for name in whole if whole[name] != found[name]}
    assert list(found) == list(whole)
    assert differing == {"artifact_bytes", "artifact_sha256", "bytes_ratio", "seconds"}
    assert found["artifact_bytes"] == (tmp_path / "bare.qtrain").stat().st_size


def test_it_may_stand_in_the_configuration(digits, tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, data = digits / "digits_cnn_module.pt", digits / "digits.npz"
    plans = [cli("plan", model, "--layers", "4", "--json", *words) for words in ((), ("--bare",))]
    whole, bare = (json.loads(ended.out)["artifact_bytes"] for ended in plans)
    Path("qtrain.toml").write_text("[compress]\nbare = true\nlayers = 4\n[plan]\nbare = true\nlayers = 4\n")
    assert json.loads(cli("plan", model, "--json").out)["artifact_bytes"] == bare < whole - 72
    assert cli("compress", model, "--data", data, "--epochs", "1", "-o", "a.qtrain").code == 0
    assert cli("report", "a.qtrain").code == 2 and Path("a.qtrain").stat().st_size <= bare
