"""What scripts and pipelines rely on: streams, exit codes, JSON documents and `qtrain.toml`.

Everything here runs the real command line on real files; `tests/cli` has the parts one by one.
"""

import importlib
import json
import os
import pickle
import resource
import shutil
import signal
from types import NoneType

import numpy as np
import pytest

from qtrain_cli.cli.table import COMMANDS
from qtrain_cli.results import record_fields
from qtrain_cli.tasks import TASKS

ANSI = "\x1b"
SHOTS = ("--shots", "1e4,exact", "--repeat", "2")
QUICK = ("--layers", "4", "--epochs", "1", "--device", "cpu")
BRIEF = QUICK[2:]


@pytest.fixture
def here(tmp_path, digits, artifact, monkeypatch):
    """A folder to work in, with the sample's files, an artifact and files that must be refused."""
    for name in ("digits.npz", "digits_cnn_module.pt"):
        shutil.copy(digits / name, tmp_path / name)
    shutil.copy(artifact, tmp_path / "net.qtrain")
    damaged = bytearray(artifact.read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "damaged.qtrain").write_bytes(damaged)
    (tmp_path / "foreign.pt").write_bytes(pickle.dumps(os.getcwd))
    monkeypatch.chdir(tmp_path)
    for name in ("QTRAIN_DEBUG", "GITHUB_STEP_SUMMARY", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


#: A student of four angles.
TINY = "qnn:qubits=2,layers=1"
#: These run for minutes, and say how far they are.
LONG = ("compress", "sample", "compare", "train", "distill", "compare-students", "compare-gradients")
#: One line of each command that ends well.
GOOD = {
    "init": ("init", "digits_cnn_module.pt", "--data", "digits.npz", "-q"),
    "compress": ("compress", "digits_cnn_module.pt", "--data", "digits.npz", "-o", "new.qtrain", *QUICK),
    "plan": ("plan", "digits_cnn_module.pt", "--input-shape", "1,8,8", "--device", "cpu"),
    "inspect": ("inspect", "net.qtrain"),
    "export": ("export", "net.qtrain", "--classical", "-o", "new.safetensors"),
    "report": ("report", "net.qtrain"),
    "verify": ("verify", "net.qtrain"),
    "card": ("card", "net.qtrain", "-o", "new.md"),
    "sample": ("sample", "net.qtrain", "--model", "digits_cnn_module.pt", "--data", "digits.npz", *SHOTS),
    "env": ("env",),
    "help": ("help", "bytes"),
    "compare": (
        "compare", "digits_cnn_module.pt", "--data", "digits.npz", "--bytes", "1500", "--methods",
        "quantisation", "--quick", "--epochs", "4", "--device", "cpu",
    ),
    "train": ("train", TINY, "--data", "digits.npz", "-o", "new.qtrain", *BRIEF),
    "distill": (
        "distill", "digits_cnn_module.pt", "--student", TINY, "--data", "digits.npz", "-o", "new.qtrain",
        *BRIEF,
    ),
    "compare-students": (
        "compare-students", "--student", TINY, "--data", "digits.npz", "-o", "new", "--seeds", "2",
        "--no-control", *BRIEF,
    ),
    "compare-gradients": (
        "compare-gradients", TINY, "--data", "digits.npz", "-o", "new", "--seeds", "1", "--epochs", "1",
        "--gradients", "adjoint,spsa", "--shots", "0", "--qubits", "2", "--layers", "1",
    ),
}  # fmt: skip

CIRCUITS = ("export", "net.qtrain", "--quantum", "-o", "new.qasm")

#: Lines that end otherwise, each with its exit code and kind.
BAD = [
    (("compress", "digits_cnn_module.pt", "--data", "digits.npz", *QUICK, "--lr", "1e30"), 1, "failure"),
    (("compress", "absent.pt", "--data", "digits.npz"), 2, "bad-input"),
    (("compress", "digits_cnn_module.pt", "--data", "absent.npz"), 2, "bad-input"),
    (("compress", "digits_cnn_module.pt", "--data", "digits.npz", "--nonsense"), 2, "usage"),
    (("compress", "digits_cnn_module.pt", "--data", "digits.npz", "-o", "net.qtrain"), 2, "usage"),
    (("compress", "foreign.pt", "--data", "digits.npz"), 4, "refused"),
    ((*GOOD["compare"][:7], "nothing"), 2, "usage"),
    ((*GOOD["compare"][:5], "nothing"), 2, "usage"),
    (("compare", "absent.pt", *GOOD["compare"][2:]), 2, "bad-input"),
    (("plan", "absent.pt"), 2, "bad-input"),
    (("plan", "digits_cnn_module.pt", "--params", "3"), 2, "bad-input"),
    (("plan", "foreign.pt"), 4, "refused"),
    (("inspect", "absent.pt"), 2, "bad-input"),
    (("inspect", "damaged.qtrain"), 4, "refused"),
    (("export", "absent.qtrain", "--classical", "-o", "new.pt"), 2, "bad-input"),
    (("export", "net.qtrain", "--classical", "-o", "new.txt"), 2, "usage"),
    (("export", "damaged.qtrain", "--classical", "-o", "new.pt"), 4, "refused"),
    (("report", "absent.qtrain"), 2, "bad-input"),
    (("report", "net.qtrain", "--max-error", "1"), 2, "usage"),
    (("report", "damaged.qtrain"), 4, "refused"),
    (("verify", "absent.qtrain"), 2, "bad-input"),
    (("verify", "damaged.qtrain"), 4, "refused"),
    (("export", "net.qtrain", "--quantum", "-o", "new.pt"), 2, "usage"),
    (("export", "net.qtrain", "--quantum", "--circuit", "1", "-o", "new.qasm"), 2, "bad-input"),
    (("export", "damaged.qtrain", "--quantum", "-o", "new.qasm"), 4, "refused"),
    (("sample", "net.qtrain", "--data", "digits.npz", *SHOTS), 2, "usage"),
    (("sample", "net.qtrain", "--arch", "a:B", "--data", "digits.npz", "--shots", "few"), 2, "usage"),
    (("sample", "absent.qtrain", "--arch", "a:B", "--data", "digits.npz", *SHOTS), 2, "bad-input"),
    (("sample", "net.qtrain", "--arch", "torch.nn:Identity", "--data", "digits.npz", *SHOTS), 2, "bad-input"),
    (("sample", "net.qtrain", "--model", "digits_cnn_module.pt", "--data", "no.npz", *SHOTS), 2, "bad-input"),
    (("sample", "net.qtrain", "--model", "foreign.pt", "--data", "digits.npz", *SHOTS), 4, "refused"),
    (("sample", "damaged.qtrain", "--arch", "a:B", "--data", "digits.npz", *SHOTS), 4, "refused"),
    (("env", "--nonsense"), 2, "usage"),
    (("init",), 2, "usage"),
    (("init", "absent.pt", "--data", "digits.npz"), 2, "bad-input"),
    (("init", "foreign.pt", "--data", "digits.npz"), 4, "refused"),
    (("card", "absent.qtrain", "-o", "new.md"), 2, "bad-input"),
    (("card", "net.qtrain", "-o", "net.qtrain", "--force"), 2, "usage"),
    (("card", "damaged.qtrain", "-o", "new.md"), 4, "refused"),
    (("help", "nonsense"), 2, "usage"),
    (("nonsense",), 2, "usage"),
]


def lines(text):
    return text.splitlines()


# --- streams ---------------------------------------------------------------------------------------------


def test_every_command_is_here():
    assert list(GOOD) == list(COMMANDS)


@pytest.mark.parametrize("verb", GOOD)
def test_success_is_data_on_stdout_without_escape_codes(cli, here, verb):
    ended = cli(*GOOD[verb])
    assert ended.code == 0
    assert ended.out.strip() and ANSI not in ended.out + ended.err
    assert "Traceback" not in ended.err and "Warning" not in ended.err
    assert bool(ended.err) == (verb in LONG), "only a run of minutes says how far it is"


@pytest.mark.parametrize("verb", GOOD)
def test_with_json_success_is_one_document_and_quiet_is_quiet(cli, here, verb):
    ended = cli(*GOOD[verb], "--json", "-q")
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert isinstance(document, dict) and "error" not in document


@pytest.mark.parametrize(("words", "code", "kind"), BAD)
def test_failure_is_one_line_on_stderr_and_nothing_on_stdout(cli, here, words, code, kind):
    before = sorted(here.iterdir())
    ended = cli(*words, "-q")
    assert (ended.code, ended.out) == (code, "")
    (line,) = lines(ended.err)
    assert line.startswith("qtrain: error: ") and ANSI not in line
    left = sorted(path.name for path in set(here.iterdir()) - set(before))
    assert left in ([], ["digits_cnn_module.qtrain.ckpt"])
    assert bool(left) == (code == 1), "only a run that failed half-way leaves its state"


@pytest.mark.parametrize(("words", "code", "kind"), BAD)
def test_with_json_failure_is_one_document_too(cli, here, words, code, kind):
    ended = cli(*words, "--json", "-q")
    assert ended.code == code
    document = json.loads(ended.out)
    assert list(document) == ["error"]
    assert list(document["error"]) == ["kind", "message", "advice"]
    assert document["error"]["kind"] == kind
    assert lines(ended.err)[0].startswith(f"qtrain: error: {document['error']['message']}")


@pytest.mark.parametrize("verb", GOOD)
def test_a_bug_is_70_and_an_interrupt_130(cli, here, monkeypatch, verb):
    command = importlib.import_module(f"qtrain_cli.commands.{verb.replace('-', '_')}")
    monkeypatch.setattr(command, "run", lambda *arguments: 1 / 0)
    ended = cli(*GOOD[verb], "--json")
    assert ended.code == 70
    assert json.loads(ended.out)["error"]["kind"] == "internal"
    monkeypatch.setattr(command, "run", lambda *arguments: os.kill(os.getpid(), signal.SIGINT))
    ended = cli(*GOOD[verb])
    assert (ended.code, ended.out, len(lines(ended.err))) == (130, "", 1)


@pytest.mark.parametrize(
    "words",
    [
        GOOD["compress"],
        GOOD["export"],
        CIRCUITS,
        (*GOOD["report"], "--junit", "new.xml"),
        (*GOOD["sample"], "--plot", "new.png"),
    ],
)
def test_a_disk_without_room_is_1_and_leaves_no_output(cli, here, words):
    """A limit on the size of files stands in for it: writing beyond fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    names = sorted(path.name for path in here.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        ended = cli(*words, "-q")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (ended.code, ended.out) == (1, "")
    assert "could not be written: File too large" in lines(ended.err)[0]
    assert sorted(path.name for path in here.iterdir()) == names


def test_debug_shows_the_traceback(cli, here, monkeypatch):
    monkeypatch.setenv("QTRAIN_DEBUG", "1")
    assert "Traceback (most recent call last)" in cli("verify", "absent.qtrain").err


# --- documents -------------------------------------------------------------------------------------------

#: The keys of each document in their order, and the JSON types of their values.
DOCUMENTS = {
    "plan": {
        "model": str, "trust": str, "weights": int, "kept_weights": int, "kept_tensors": dict, "qubits": int,
        "layers": int, "circuits": int, "ansatz": str, "entangler": str, "mapping": str, "angle_bits": int,
        "trained_numbers": int, "parameter_ratio": float, "artifact_bytes": int, "model_bytes": int,
        "bytes_ratio": float, "memory_bytes": int, "seconds_per_step": float, "probe": str, "device": str,
        "target": NoneType, "base": NoneType, "base_sha256": NoneType, "finetune_bytes": NoneType,
        "lora_numbers": NoneType, "seeded_layers": int, "circuit_seconds": float, "start_variance": float,
        "processes": int,
    },
    "inspect": {
        "file": str, "format": str, "bytes": int, "method": str, "circuit": dict, "mapping": dict,
        "angles": dict, "digest": dict, "input": dict, "record": bool, "run": str, "tensors": list,
    },
    "export": {
        "path": str, "bytes": int, "sha256": str, "format": str, "tensors": int, "checked": str, "note": str,
    },
    "init": {
        "path": str, "format": str, "trust": str, "weights": int, "task": str, "classes": int, "labels": list,
        "rows": dict, "input_shape": list, "input_dtype": str, "feedings": list, "budgets": list,
        "params": int, "artifact": str,
    },
    "card": {
        "path": str, "checked": str, "license": NoneType, "library_name": str, "pipeline_tag": str,
        "tags": list, "base_model": NoneType, "base_model_relation": NoneType, "datasets": list,
        "metrics": list, "model-index": list,
    },
    "help": {"topic": str, "text": str, "topics": dict},
    "verify": {
        "artifact": str, "weights": int, "tensors": int, "sha256": str, "agreement": str, "tolerance": float,
    },
}  # fmt: skip

CIRCUIT_DOCUMENT = {
    "path": str, "bytes": int, "sha256": str, "format": str, "circuits": int, "qubits": int, "gates": int,
    "checked": str,
}  # fmt: skip

SAMPLE = {
    "schema": str, "artifact": str, "artifact_sha256": str, "model": str, "task": str, "weights": int,
    "circuits": int, "qubits": int, "layers": int, "mapping": str, "sampler": str, "unbiased": bool,
    "trajectories": int, "repeat": int, "seed": int, "data_sha256": str, "same_data": bool, "test_count": int,
    "teacher_test_accuracy": float, "recorded_test_accuracy": float, "exact_test_accuracy": float,
    "exact_test_accuracy_low": float, "exact_test_accuracy_high": float, "z_variance": float, "rows": list,
}  # fmt: skip
SAMPLE_ROW = {
    "noise": str, "shots": int, "repetitions": int, "test_accuracy": float, "test_accuracy_low": float,
    "test_accuracy_high": float, "repetitions_low": float, "repetitions_high": float,
    "test_rows_low": float, "test_rows_high": float, "deviation": float, "drop": float, "z_error": float,
    "shot_variance": float, "simulation_variance": float,
}  # fmt: skip

RECORD = [
    "schema", "model", "weights", "kept_weights", "qubits", "layers", "circuits", "ansatz", "mapping",
    "angle_bits", "trained_numbers", "artifact_bytes", "model_bytes", "bytes_ratio", "parameter_ratio",
    "train_accuracy", "validation_accuracy", "test_accuracy", "test_count", "test_accuracy_low",
    "test_accuracy_high", "teacher_test_accuracy", "teacher_agreement", "train_loss", "test_loss",
    "generalization_gap", "seconds", "epochs", "seed", "device", "versions", "kept_tensors", "data_sha256",
    "model_sha256", "artifact_sha256", "trust", "figure_note", "weights_entry", "output", "skipped_rows",
    "precision", "processes",
    "target", "base", "base_sha256", "finetune_bytes", "lora_numbers", "seeded_layers",
    "trivial", "metrics", "task", "metric", "metric_value", "metric_low", "metric_high",
    "teacher_metric_value",
]  # fmt: skip


@pytest.mark.parametrize("verb", DOCUMENTS)
def test_documents_have_these_keys_in_this_order(cli, here, verb):
    document = json.loads(cli(*GOOD[verb], "--json").out)
    assert {name: type(value) for name, value in document.items()} == DOCUMENTS[verb]
    assert list(document) == list(DOCUMENTS[verb])


def test_compress_and_report_print_one_record_but_for_the_time(cli, here):
    made = json.loads(cli(*GOOD["compress"], "--json").out)
    told = json.loads(cli("report", "new.qtrain", "--json").out)
    assert list(made) == list(told) == RECORD == list(record_fields(TASKS["classification"]))
    assert type(made.pop("seconds")) is float and told.pop("seconds") is None
    assert made == told and made["trivial"] > 0
    assert made["schema"] == "qtrain.report/1"
    assert made["artifact_bytes"] == (here / "new.qtrain").stat().st_size
    assert {type(made[name]) for name in RECORD if "accuracy" in name or "loss" in name} == {float}
    assert list(made["versions"]) == ["qtrain", "torch", "numpy", "python", "kernel", "threads"]


def test_circuits_have_a_document_of_their_own(cli, here):
    document = json.loads(cli(*CIRCUITS, "--json").out)
    assert {name: type(value) for name, value in document.items()} == CIRCUIT_DOCUMENT
    assert list(document) == list(CIRCUIT_DOCUMENT)
    assert document["bytes"] == (here / "new.qasm").stat().st_size


def test_sample_prints_one_document_with_a_row_for_each_noise_and_number_of_shots(cli, here):
    document = json.loads(cli(*GOOD["sample"], "--noise", "none,depolarizing:1e-3", "--json").out)
    assert {name: type(value) for name, value in document.items()} == SAMPLE
    assert list(document) == list(SAMPLE) and document["schema"] == "qtrain.sample/1"
    rows = document["rows"]
    assert [(row["noise"], row["shots"]) for row in rows] == [
        (noise, shots) for noise in ("none", "depolarizing:0.001") for shots in (10**4, None)
    ]
    assert {name: type(value) for name, value in rows[0].items()} == SAMPLE_ROW
    assert all(list(row) == list(SAMPLE_ROW) for row in rows)


def test_env_is_flat_and_begins_with_what_changes_figures(cli, here):
    document = json.loads(cli("env", "--json").out)
    assert list(document)[:4] == ["qtrain", "torch", "numpy", "python"]
    assert {type(value) for value in document.values()} <= {str, int}
    assert {"platform", "cores", "torch_threads", "gpus"} < set(document)


def test_inspect_tells_artifacts_checkpoints_and_models_apart(cli, here):
    cli("compress", "digits_cnn_module.pt", "--data", "digits.npz", *QUICK, "--lr", "1e30")
    formats = [
        json.loads(cli("inspect", name, "--json").out)["format"]
        for name in ("net.qtrain", "digits_cnn_module.qtrain.ckpt", "digits_cnn_module.pt")
    ]
    assert formats == ["qtrain artifact", "qtrain checkpoint", "torch"]


# --- gates -----------------------------------------------------------------------------------------------


def test_a_failed_gate_is_3_with_the_record_and_the_reason(cli, here):
    words = ("report", "net.qtrain", "--min-accuracy", "0.2", "--max-bytes", "100")
    ended = cli(*words)
    assert ended.code == 3
    assert "max-bytes" in ended.out and "FAILED" in ended.out
    (line,) = lines(ended.err)
    assert "1 of 2 gates failed: max-bytes: the file has" in line
    document = json.loads(cli(*words, "--json").out)
    assert list(document) == [*RECORD, "error"]
    assert document["error"]["kind"] == "gate"


def test_gates_that_pass_are_0(cli, here):
    (here / "old.json").write_text(cli("report", "net.qtrain", "--json").out)
    ended = cli(
        "report", "net.qtrain", "--min-accuracy", "0.2", "--max-drop", "0.8", "--min-ratio", "2",
        "--max-bytes", "3KB", "--baseline", "old.json", "--max-regression", "0",
    )  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("passed") == 5


def test_the_step_summary_is_written_when_it_is_set(cli, here, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(here / "summary.md"))
    assert cli("report", "net.qtrain", "-q").code == 0
    assert (here / "summary.md").read_text().startswith("## qtrain: digits")


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (GOOD["compress"], "new.qtrain"),
        (GOOD["export"], "new.safetensors"),
        (CIRCUITS, "new.qasm"),
        ((*GOOD["sample"], "--plot", "new.png"), "new.png"),
        ((*GOOD["report"], "--markdown", "new.md"), "new.md"),
        ((*GOOD["compare"], "--markdown", "new.md"), "new.md"),
    ],
)
def test_an_existing_output_is_kept_unless_forced(cli, here, words, out):
    (here / out).write_text("mine")
    ended = cli(*words)
    assert ended.code == 2 and f"'{out}' exists" in ended.err and "--force" in ended.err
    assert (here / out).read_text() == "mine"
    assert cli(*words, "--force").code == 0
    assert (here / out).read_bytes() != b"mine"
    assert not [path for path in here.iterdir() if path.name.startswith(".qtrain-")]


# --- qtrain.toml -----------------------------------------------------------------------------------------

TOML = """
[compress]
data = "digits.npz"
out = "made.qtrain"
layers = 4
epochs = 1
device = "cpu"

[export]
artifact = "made.qtrain"
out = "made.pt"

[report]
artifact = "made.qtrain"
min-accuracy = 0.01
junit = "report.xml"
"""


@pytest.mark.parametrize("folder", [".", "a/b"])
def test_the_bare_commands_work_in_a_folder_that_has_one_and_below(cli, here, monkeypatch, folder):
    (here / "qtrain.toml").write_text(TOML)
    (here / folder).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(here / folder)
    model = os.path.relpath(here / "digits_cnn_module.pt")
    ended = [cli(*words) for words in (("compress", model), ("export", "--classical"), ("report",))]
    assert [one.code for one in ended] == [0, 0, 0], [one.err for one in ended]
    assert {"made.qtrain", "made.pt", "report.xml"} <= {path.name for path in here.iterdir()}
    assert "min-accuracy" in ended[2].out


def test_the_command_line_wins(cli, here):
    (here / "qtrain.toml").write_text(TOML)
    words = ("digits_cnn_module.pt", "--epochs", "2", "-o", "other.qtrain", "--json")
    document = json.loads(cli("compress", *words).out)
    assert (document["epochs"], document["layers"]) == (2, 4)
    assert (here / "other.qtrain").exists() and not (here / "made.qtrain").exists()
    assert cli("report", "other.qtrain", "--min-accuracy", "1").code == 3


@pytest.mark.parametrize(
    ("line", "option", "value"),
    [
        ('bytes = "1700"', "artifact_bytes", range(1000, 1701)),
        ("angle-bits = 6", "angle_bits", [6]),
        ("angle_bits = 6", "angle_bits", [6]),
        ('mapping = "mlp"', "mapping", ["mlp"]),
        ("ratio = 30", "parameter_ratio", range(30, 40)),
        ('ignore = "fc"', "kept_weights", [25 + 970]),
    ],
)
def test_any_option_may_come_from_it(cli, here, line, option, value):
    budget = "" if line.startswith(("bytes", "ratio")) else "layers = 4"
    (here / "qtrain.toml").write_text(f"[plan]\n{line}\n{budget}\n")
    found = json.loads(cli("plan", "digits_cnn_module.pt", "--json").out)[option]
    assert int(found) in value if isinstance(found, float) else found in value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[compres]\n", "unknown table [compres]; did you mean 'compress'?"),
        ("[compress]\nepoch = 1\n", "'epoch' in [compress] is unknown; did you mean 'epochs'?"),
        ("[compress]\nepochs = 'one'\n", "'epochs' in [compress] is \"one\"; expected: a whole number"),
        ("[compress]\ntrust-pickle = true\n", "consent to run code, and is given on the command line only"),
        ("[compress]\ntrust_pickle = true\n", "consent to run code, and is given on the command line only"),
        ("[compress]\njson = true\n", "'json' in [compress] is unknown"),
        ("[compress]\nbytes_ = 1\n", "'bytes_' in [compress] is unknown; did you mean 'bytes'?"),
        ("[compress\n", "is not TOML"),
    ],
)
def test_what_is_not_understood_in_it_is_an_error_with_a_suggestion(cli, here, text, message):
    (here / "qtrain.toml").write_text(text)
    ended = cli("compress", "digits_cnn_module.pt", "--data", "digits.npz")
    assert (ended.code, ended.out) == (2, "")
    (line,) = lines(ended.err)
    assert message in line and "qtrain.toml" in line


def test_help_lists_all_commands_and_no_others(cli, here):
    text = cli("--help").out
    listed = [line.split()[0] for line in text.split("Commands:\n")[1].splitlines() if line.strip()]
    files = importlib.import_module("qtrain_cli.commands").__path__
    there = {name.removesuffix(".py") for name in os.listdir(files[0]) if name.endswith(".py")}
    assert listed == list(COMMANDS)
    assert {verb.replace("-", "_") for verb in listed} == there - {"__init__"}


def test_a_dataset_of_numbers_gets_errors_in_place_of_accuracies(cli, here):
    rows = np.random.default_rng(0).random((60, 64)).astype(np.float32)
    images, values = rows.reshape(60, 1, 8, 8), rows[:, :10]
    np.savez(here / "numbers.npz", x_train=images, y_train=values, x_test=images, y_test=values)
    ended = cli(
        "compress", "digits_cnn_module.pt", "--data", "numbers.npz", "--json", "--teacher-any", *QUICK
    )
    document = json.loads(ended.out)
    assert list(document) == list(record_fields(TASKS["regression"]))
    assert document["test_error_low"] <= document["test_error"] <= document["test_error_high"]
    assert cli("report", "digits_cnn_module.qtrain", "--max-error", "1e-9").code == 3
