"""`qtrain card`: the hub reads it, its figures are the record's, and names in it are no markup."""

import json
import shutil

import pytest

from qtrain_cli.report.card import HUB_METRICS, card_markdown
from qtrain_cli.report.markdown import escaped
from qtrain_cli.tasks import TASKS


@pytest.fixture
def folder(tmp_path, artifact, monkeypatch):
    shutil.copy(artifact, tmp_path / "net.qtrain")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def card_of(cli, *words):
    ended = cli("card", "net.qtrain", "-o", "README.md", *words)
    assert ended.code == 0, ended.err
    return ended


def test_the_card_has_the_records_figures_and_commands_that_work(cli, folder):
    record = json.loads(cli("report", "net.qtrain", "--json").out)
    card_of(cli, "--license", "mit")
    text = (folder / "README.md").read_text()
    assert f"value: {record['test_accuracy']}" in text and f"low: {record['test_accuracy_low']}" in text
    assert record["artifact_sha256"] in text and "Teacher's test accuracy" in text
    for line in ("qtrain report net.qtrain", "qtrain verify net.qtrain",
                 "qtrain export net.qtrain --classical -o model.safetensors"):  # fmt: skip
        assert f"\n{line}\n" in text
        assert cli(*line.split()[1:]).code == 0
    code = text.split("```python\n")[1].split("```")[0]
    scope: dict = {}
    exec(code, scope)
    assert len(scope["weights"]) == 11


def test_the_hub_reads_it_back(cli, folder):
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    said = card_of(
        cli, "--license", "mit", "--dataset", "mnist", "--base-model", "timm/resnet18.a1_in1k", "--json"
    )
    document = json.loads(said.out)
    assert document["checked"].startswith("read back by huggingface_hub")
    card = hub.ModelCard.load(folder / "README.md")
    (result,) = card.data.eval_results
    record = json.loads(cli("report", "net.qtrain", "--json").out)
    assert (result.metric_type, result.metric_value) == ("accuracy", record["test_accuracy"])
    assert (result.dataset_type, card.data.license, card.data.datasets) == ("mnist", "mit", ["mnist"])
    assert (card.data.base_model, card.data.pipeline_tag) == ("timm/resnet18.a1_in1k", "image-classification")


def test_a_card_that_the_hub_does_not_take_is_not_written(cli, folder, monkeypatch):
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

    class Other(hub.ModelCard):
        def __init__(self, text):
            super().__init__(text.replace("value: ", "value: 1"))

    monkeypatch.setattr(hub, "ModelCard", Other)
    ended = cli("card", "net.qtrain", "-o", "README.md")
    assert ended.code == 1 and "huggingface_hub does not take the card" in ended.err
    assert not (folder / "README.md").exists()


def test_it_is_read_back_once(cli, folder, monkeypatch):
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    read, whole = [], hub.ModelCard
    monkeypatch.setattr(hub, "ModelCard", lambda text: read.append(text) or whole(text))
    card_of(cli, "--json")
    assert len(read) == 1


def test_without_the_package_the_card_says_that_nothing_was_checked(cli, folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    assert "not checked: huggingface_hub is not installed" in card_of(cli).out


def test_files_that_lie_beside_it_are_listed(cli, folder, digits):
    cli("export", "net.qtrain", "--classical", "-o", "net.safetensors")
    (folder / "secret.pt").write_bytes(b"another model")
    (folder / "index.html").write_text("a site")
    (folder / "notes.txt").write_text("not for the hub")
    shutil.copy(digits / "digits_cnn_module.pt", folder)
    card_of(cli)
    text = (folder / "README.md").read_text()
    assert "the model that it was made from |" in text and "PyTorch file" not in text
    size = (folder / "net.safetensors").stat().st_size
    assert f"| net.safetensors | {size:,} | ordinary weights |" in text and "notes" not in text
    assert "secret" not in text and "index.html" not in text
    assert text.count("| net.qtrain |") == 1


def test_names_are_no_markup(cli, folder):
    (folder / "net.qtrain").rename(folder / "a|b`<i>.qtrain")
    ended = cli("card", "a|b`<i>.qtrain", "-o", "README.md", "--title", "x](http://y) --- <b>")
    assert ended.code == 0, ended.err
    text = (folder / "README.md").read_text()
    assert f"# {escaped('x](http://y) --- <b>')}\n" in text
    assert f"| {escaped('a|b`<i>.qtrain')} |" in text and "'a|b`<i>.qtrain'" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--license", "Apache 2"), "is no word for a licence"),
        (("--dataset", "a b"), "--dataset 'a b' is no name on the hub"),
        (("--base-model", "a/b/c"), "--base-model 'a/b/c' is no name on the hub"),
    ],
)
def test_what_the_hub_would_not_know_is_refused(cli, folder, words, said):
    ended = cli("card", "net.qtrain", "-o", "README.md", *words)
    assert ended.code == 2 and said in ended.err and "write " in ended.err


def test_an_own_readme_is_kept(cli, folder):
    (folder / "README.md").write_text("mine")
    ended = cli("card", "net.qtrain", "-o", "README.md")
    assert (ended.code, (folder / "README.md").read_text()) == (2, "mine")
    assert "--force" in ended.err


def test_a_student_has_a_card(cli, folder, digits):
    cli(
        "train",
        "qnn:qubits=2,layers=1",
        "--data",
        digits / "digits.npz",
        "--epochs",
        "1",
        "-o",
        "s.qtrain",
        "-q",
    )
    ended = cli("card", "s.qtrain", "-o", "README.md")
    assert ended.code == 0, ended.err
    text = (folder / "README.md").read_text()
    assert "qtrain_cli.load_student(" in text and "circuit is simulated" in text


@pytest.mark.parametrize(
    "task",
    ["classification", "regression", "language", "segmentation", "entities", "features", "multilabel"],
)
def test_every_task_has_a_head_and_words_of_the_hub(task, make_record, tmp_path):
    from qtrain_cli.commands.card import Card, Companion
    from qtrain_cli.settings import CardSettings

    record = make_record(task)
    settings = CardSettings(tmp_path / "n.qtrain", tmp_path / "README.md")
    form, pipeline = next(iter(record.scores.row.pipelines.items()))
    text = card_markdown(Card(settings, record, form, (Companion("n.qtrain", 3, "x"),)))
    metric = record.to_json()["metric"]
    assert f"  - {HUB_METRICS.get(metric, metric)}\n" in text
    assert f"pipeline_tag: {pipeline}\n" in text


def test_every_row_has_a_word_of_the_hub():
    assert all(
        row.pipelines and row.pipelines.keys() <= {"picture", "text", "table"} for row in TASKS.values()
    )
