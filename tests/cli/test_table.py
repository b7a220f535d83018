"""Options become settings: every one its own field, the defaults those of the settings."""

import importlib
from pathlib import Path

import pytest

from qtrain_cli.cli.table import COMMANDS
from qtrain_cli.methods.table import METHODS
from qtrain_cli.quantum.noise import Noise
from qtrain_cli.settings import (
    PLOT_ENDINGS,
    QNN_LR,
    SHARPENED,
    AlignSettings,
    BudgetSettings,
    CircuitSettings,
    CompareGradientsSettings,
    CompareSettings,
    CompareStudentsSettings,
    CompressSettings,
    DataSettings,
    ExportSettings,
    FitSettings,
    GateSettings,
    GradientSettings,
    ModelSettings,
    PlanSettings,
    ReportSettings,
    SampleSettings,
    SelfSettings,
    TeachSettings,
    VerifySettings,
)


class Seen(Exception):
    pass


@pytest.fixture
def settings_of(cli, monkeypatch):
    """``settings_of("compress", ...)``: what the command was called with, before it did anything."""
    monkeypatch.setattr("qtrain_cli.cli.perform._refuse_missing", lambda said: None)

    def call(verb, *words):
        seen = []

        def run(*arguments):
            seen.extend(arguments)
            raise Seen

        monkeypatch.setattr(
            importlib.import_module(f"qtrain_cli.commands.{verb.replace('-', '_')}"), "run", run
        )
        ended = cli(verb, *words)
        assert seen, ended.err
        return seen[0]

    return call


MODEL = (
    "--arch", "net.py:Net", "--arch-args", '{"width": 8}', "--weights", "ema", "--trust-pickle",
)  # fmt: skip
BUDGET = (
    "--ansatz", "efficient-su2", "--entangler", "cz-ring", "--circuits", "3", "--mapping", "mlp",
    "--angle-bits", "5", "--targets", "conv*", "--targets", "re:fc", "--ignore", "norm", "--bare",
)  # fmt: skip
MODEL_SETTINGS = ModelSettings(Path("net.pt"), "net.py:Net", {"width": 8}, "ema", True)
BUDGET_SETTINGS = BudgetSettings(
    params=None, ratio=None, bytes=None, ansatz="efficient-su2", entangler="cz-ring", layers=7, circuits=3,
    mapping="mlp", angle_bits=5, targets=("conv*", "re:fc"), ignore=("norm",), bare=True,
)  # fmt: skip


def test_compress_with_everything(settings_of):
    found = settings_of(
        "compress", "net.pt", "--data", "hf:mnist", "--mean", "0.4,0.5", "--std", "1,2", "--validation",
        "0.2", *MODEL, *BUDGET, "--layers", "7", "--distill", "0.5", "--temperature", "2", "--epochs", "3",
        "--batch-size", "4", "--lr", "0.5", "--seed", "6", "--device", "cuda:1", "-o", "out.qtrain",
        "--gradient", "spsa", "--shots", "100", "--pennylane-device", "default.mixed", "--spsa-samples", "8",
        "--resume", "--force", "--log", "tensorboard:runs", "--dry-run",
    )  # fmt: skip
    assert found == CompressSettings(
        MODEL_SETTINGS,
        DataSettings("hf:mnist", (0.4, 0.5), (1.0, 2.0), 0.2),
        BUDGET_SETTINGS,
        FitSettings(0.5, 2.0, 3, 4, 0.5, 6, "cuda:1", GradientSettings("spsa", 100, "default.mixed", 8)),
        Path("out.qtrain"),
        resume=True,
        force=True,
        log="tensorboard:runs",
        dry_run=True,
    )


@pytest.mark.parametrize("place", ["h.json", "tensorboard:", "", "nowhere"])
def test_a_place_for_a_history_is_a_file_of_lines_a_folder_or_none(cli, place):
    ended = cli("compress", "net.pt", "--data", "d.npz", "--log", place)
    assert (ended.code, ended.out) == (2, "")
    assert f"--log is '{place}'; allowed: FILE.jsonl, tensorboard:FOLDER or none" in ended.err


def test_students_have_their_history_in_their_file(settings_of):
    assert settings_of("train", "qnn:qubits=2,layers=1", "--data", "d.npz").log == "none"


@pytest.mark.parametrize(
    ("words", "seeds"), [((), 3), (("--quick",), 1), (("--quick", "--seeds", "2"), 2), (("--seeds", "5"), 5)]
)
def test_quick_has_one_seed_unless_more_are_asked_for(settings_of, words, seeds):
    found = settings_of("compare", "net.pt", "--data", "d.npz", "--bytes", "1KB", *words)
    assert found.seeds == tuple(range(seeds)) and found.quick == ("--quick" in words)


def test_data_by_the_datas_own_names(settings_of):
    found = settings_of(
        "compress", "net.pt", "--data", "d", "--columns", "image=img,label=fine",
        "--split", "test=validation",
        "--tokenizer", "tok", "--max-length", "64", "--transform", "resize=8", "--skip-damaged",
        "--augment", "flip,crop",
    )  # fmt: skip
    assert found.data == DataSettings(
        "d", columns=(("image", "img"), ("label", "fine")), splits=(("test", "validation"),),
        tokenizer=Path("tok"), max_length=64, transform="resize=8", skip_damaged=True,
    )  # fmt: skip
    assert found.fit.augment == ("flip", "crop")


def test_compress_with_nothing(settings_of):
    assert settings_of("compress", "some/net.v1.pt", "--data", "d.npz") == CompressSettings(
        ModelSettings(Path("some/net.v1.pt")),
        DataSettings("d.npz"),
        BudgetSettings(),
        FitSettings(),
        Path("net.v1.qtrain"),
        own_lr=True,
        log="beside",
    )


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("--params", "640"), "params", 640),
        (("--ratio", "8"), "ratio", 8.0),
        (("--bytes", "2KB"), "bytes", 2000),
    ],
)
@pytest.mark.parametrize("verb", ["compress", "plan"])
def test_budgets(settings_of, verb, words, field, value):
    data = ("--data", "d.npz") if verb == "compress" else ()
    assert settings_of(verb, "net.pt", *data, *words).budget == BudgetSettings(**{field: value})


def test_plan(settings_of):
    found = settings_of(
        "plan", "net.pt", *MODEL, *BUDGET, "--layers", "7", "--input-shape", "1,28,28", "--batch-size", "4",
        "--seed", "6", "--device", "cpu",
    )  # fmt: skip
    fit = FitSettings(batch_size=4, seed=6, device="cpu")
    assert found == PlanSettings(MODEL_SETTINGS, BUDGET_SETTINGS, fit, (1, 28, 28))
    assert settings_of("plan", "net.pt") == PlanSettings(
        ModelSettings(Path("net.pt")), BudgetSettings(), FitSettings()
    )


def test_export(settings_of):
    words = ("export", "net.qtrain", "--classical", "-o", "net.pt")
    assert settings_of(*words) == ExportSettings(Path("net.qtrain"), Path("net.pt"), classical=True)
    assert settings_of(*words, "--model", "net.pt", *MODEL, "--force") == ExportSettings(
        Path("net.qtrain"),
        Path("net.pt"),
        MODEL_SETTINGS,
        "net.py:Net",
        {"width": 8},
        force=True,
        classical=True,
    )


def test_export_must_be_told_what(cli):
    ended = cli("export", "net.qtrain", "-o", "net.pt")
    assert (ended.code, ended.out) == (2, "")
    assert "add --classical" in ended.err
    ended = cli("export", "net.qtrain", "--classical", "--quantum", "-o", "net.pt")
    assert (ended.code, ended.out) == (2, "")
    assert "both --classical and --quantum are given" in ended.err


def test_export_of_circuits(settings_of):
    words = ("export", "net.qtrain", "--quantum", "-o", "net.qasm")
    assert settings_of(*words) == ExportSettings(
        Path("net.qtrain"), Path("net.qasm"), quantum=True, classical=False
    )
    assert settings_of(*words, "--circuit", "3").circuit == 3


def test_sample(settings_of):
    words = ("sample", "net.qtrain", "--data", "d.npz", "--shots", "1000")
    assert settings_of(*words, "--arch", "net.py:Net") == SampleSettings(
        Path("net.qtrain"), (1000,), DataSettings("d.npz"), arch="net.py:Net"
    )
    found = settings_of(
        "sample", "net.qtrain", "--data", "d.npz", "--shots", "1e3,exact", "--noise", "none,readout:0.1",
        "--mean", "0.5", "--std", "2", "--model", "net.pt", *MODEL, "--repeat", "7", "--trajectories", "9",
        "--seed", "6", "--plot", "p.png", "--force",
    )  # fmt: skip
    assert found == SampleSettings(
        Path("net.qtrain"), (1000, None), DataSettings("d.npz", (0.5,), (2.0,)),
        (Noise(), Noise(readout=0.1)), MODEL_SETTINGS, "net.py:Net", {"width": 8}, None, 7, 9, 6,
        Path("p.png"), True,
    )  # fmt: skip
    assert settings_of(*words, "--model", "net.pt", "--device", "default.qubit").device == "default.qubit"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "sample needs to know the model to evaluate; give its file with --model"),
        (("--model", "m.pt", "--shots", "many"), "--shots 'many' is no number of shots; allowed: whole"),
        (("--model", "m.pt", "--shots", "0"), "--shots '0' is no number of shots"),
        (("--model", "m.pt", "--shots", "1e16"), "--shots '1e16' is no number of shots"),
        (("--model", "m.pt", "--shots", "1.5"), "--shots '1.5' is no number of shots"),
        (("--model", "m.pt", "--shots", "1e3,"), "--shots '' is no number of shots"),
        (("--model", "m.pt", "--shots", "1e3,1000"), "--shots has 1000 twice; give each number once"),
        (("--model", "m.pt", "--noise", "depolarising:1"), "unknown noise 'depolarising'; did you mean"),
        (
            ("--model", "m.pt", "--noise", "readout:2"),
            "the probability of readout noise is 2; allowed: 0 to 1",
        ),
        (("--model", "m.pt", "--noise", "readout:0.1", "--device", "x"), "--device and --noise are given"),
        (("--model", "m.pt", "--repeat", "0"), "--repeat is 0; allowed: 1 to"),
        (("--model", "m.pt", "--trajectories", "-1"), "--trajectories is -1; allowed: 1 to"),
        (("--model", "m.pt", "--seed", "-1"), "--seed is -1; allowed: 0 to"),
        (("--model", "m.pt", "--plot", "p.gif"), "--plot 'p.gif' has no ending for pictures; allowed: .png"),
        (("--model", "m.pt", "--mean", "0.5"), "--mean and --std go together"),
    ],
)
def test_sample_values_that_are_refused(cli, words, message):
    ended = cli("sample", "net.qtrain", "--data", "d.npz", "--shots", "1000", *words)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err.splitlines()[-1]


def test_sample_needs_shots(cli):
    ended = cli("sample", "net.qtrain", "--data", "d.npz", "--model", "m.pt")
    assert ended.code == 2 and "Missing option '--shots'" in ended.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--classical", "--circuit", "0"), "--circuit goes with --quantum"),
        (("--quantum", "--model", "m.pt"), "--quantum has no use for --model and --arch"),
        (("--quantum", "--arch", "m.py:Net"), "--quantum has no use for --model and --arch"),
    ],
)
def test_export_options_that_exclude_each_other(cli, words, message):
    ended = cli("export", "net.qtrain", "-o", "net.qasm", *words)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_report(settings_of, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert settings_of("report", "net.qtrain") == ReportSettings(Path("net.qtrain"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    found = settings_of(
        "report", "net.qtrain", "--min-accuracy", "0.9", "--max-error", "0.2", "--max-drop", "0.03",
        "--min-ratio", "8", "--max-bytes", "2KiB", "--baseline", "old.json", "--max-regression", "0.01",
        "--markdown", "a.md", "--junit", "a.xml", "--force",
    )  # fmt: skip
    gates = GateSettings(0.9, 0.2, 0.03, 8.0, 2048, Path("old.json"), 0.01)
    assert found == ReportSettings(
        Path("net.qtrain"), gates, Path("a.md"), Path("a.xml"), Path("summary.md"), force=True
    )


def test_a_command_that_takes_a_file_alone(settings_of):
    assert settings_of("inspect", "net.qtrain") == Path("net.qtrain")


def test_verify_takes_an_architecture_for_what_is_not_stored(settings_of):
    assert settings_of("verify", "net.qtrain") == VerifySettings(Path("net.qtrain"))
    found = settings_of("verify", "net.qtrain", "--arch", "net.py:Net", "--arch-args", '{"width": 8}')
    assert found == VerifySettings(Path("net.qtrain"), "net.py:Net", {"width": 8})


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_takes_the_three_common_options(cli, verb):
    text = cli(verb, "--help").out
    assert all(flag in text for flag in ("--json ", "-q, --quiet ", "-v, --verbose "))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--params", "1", "--ratio", "2"), "--params and --ratio are given"),
        (("--params", "1", "--layers", "2"), "--params and --layers both fix the size"),
        (("--params", "0"), "--params is 0; allowed: above 0"),
        (("--bytes", "much"), "'much' is not a size"),
        (("--mean", "0.5"), "--mean and --std go together"),
        (("--mean", "a", "--std", "1"), "--mean 'a' is not a list of numbers"),
        (("--std", "0", "--mean", "0"), "--std must be positive"),
        (("--arch-args", "[1]"), "--arch-args is not a JSON object"),
        (("--arch-args", "{"), "--arch-args is not JSON"),
        (("--epochs", "0"), "'--epochs': Input should be greater than or equal to 1"),
        (("--epochs", "many"), "'--epochs': Input should be a valid integer"),
        (("--lr", "nan"), "--lr is nan; allowed: above 0"),
        (("--distill", "2"), "--distill is 2.0; allowed: 0 to 1"),
        (("--seed", "-1"), "--seed is -1; allowed: 0 to"),
        (("--angle-bits", "1"), "angle bits is 1"),
        (("--validation", "1"), "--validation is 1.0; allowed: 0 to below 1"),
        (("--mapping", "quadratic"), "--mapping 'quadratic' does not exist"),
        (("--entangler", "none"), "'none'"),
        (("--device", "tpu"), "--device 'tpu' is unknown"),
    ],
)
def test_values_that_are_refused(cli, digits, tmp_path, words, message):
    ended = cli(
        "compress", digits / "digits_cnn_module.pt", "--data", digits / "digits.npz", "-o",
        tmp_path / "net.qtrain", *words,
    )  # fmt: skip
    assert ended.code == 2
    assert message in ended.err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_train_and_distill(settings_of):
    assert settings_of("train", "qnn:qubits=2", "--data", "d.npz") == TeachSettings(
        "qnn:qubits=2", DataSettings("d.npz"), FitSettings(distill=0.0, lr=QNN_LR), Path("student.qtrain")
    )
    found = settings_of(
        "distill", "net.pt", "--student", "hybrid", "--data", "d.npz", *MODEL, "--distill", "0.9",
        "--temperature", "2", "--temperature-end", "0.5",
        "--align", "fc", "--align-loss", "cka", "--align-weight", "0.5", "--self",
        "born-again", "--generations", "3", "--gradient", "spsa", "--shots", "7", "--noise", "0.1",
        "--test-shots", "0", "--test-noise", "0.2", "-o", "s.qtrain", "--resume", "--force",
    )  # fmt: skip
    assert found == TeachSettings(
        "hybrid", DataSettings("d.npz"), FitSettings(0.9, 2.0, temperature_end=0.5),
        Path("s.qtrain"), MODEL_SETTINGS,
        AlignSettings("fc", "cka", 0.5), CircuitSettings("spsa", 7, 0.1, 0, 0.2),
        SelfSettings("born-again", 3), resume=True, force=True,
    )  # fmt: skip
    alone = settings_of("distill", "--student", "hybrid", "--data", "d.npz", "--self", "running-average")
    assert (alone.teacher, alone.itself, alone.align) == (None, SelfSettings("running-average"), None)


def test_compare_students_and_gradients(settings_of):
    words = ("--student", "qnn", "--data", "d.npz", "-o", "cells")
    found = settings_of("compare-students", *words)
    assert found == CompareStudentsSettings(
        ("qnn",),
        DataSettings("d.npz"),
        FitSettings(),
        Path("cells"),
        ("labels", "born-again", "running-average"),
    )
    taught = settings_of("compare-students", "net.pt", *words, "--align", "fc", "--no-control", "--lr", "0.3")
    assert taught.methods == ("labels", SHARPENED, "distill", "align", "distill+align")
    assert (taught.control, taught.lr, taught.teacher) == (False, 0.3, ModelSettings(Path("net.pt")))
    fit = FitSettings(distill=0.0, lr=QNN_LR, device="cpu")
    assert settings_of("compare-gradients", "qnn", *words[2:]) == CompareGradientsSettings(
        "qnn", DataSettings("d.npz"), fit, Path("cells")
    )


def test_compare(settings_of):
    words = ("compare", "net.pt", "--data", "d.npz", "--bytes", "2KB,600")
    found = settings_of(*words)
    assert found == CompareSettings(
        ModelSettings(Path("net.pt")), DataSettings("d.npz"), (600, 2000), tuple(METHODS), (0, 1, 2),
        FitSettings(), Path("net.compare"),
    )  # fmt: skip
    assert settings_of(*words, "--methods", "ours, narrow").methods == ("ours", "narrow")


#: What each command that draws needs to be asked.
DRAWS = {
    "sample": ("net.qtrain", "--arch", "a:B", "--data", "d.npz", "--shots", "9"),
    "compare": ("net.pt", "--data", "d.npz", "--bytes", "1KB"),
    "compare-gradients": ("qnn", "--data", "d.npz", "-o", "cells"),
}


def test_every_command_that_draws_takes_the_same_endings_in_any_case(cli, settings_of):
    assert DRAWS.keys() == {name for name, row in COMMANDS.items() if "plot" in row.options}
    for verb, words in DRAWS.items():
        for ending in (*PLOT_ENDINGS, *map(str.upper, PLOT_ENDINGS)):
            assert settings_of(verb, *words, "--plot", f"p{ending}").plot == Path(f"p{ending}")
        ended = cli(verb, *words, "--plot", "p.gif")
        assert ended.code == 2 and "--plot 'p.gif' has no ending for pictures; allowed: .png" in ended.err


def test_rules_and_readers_see_their_own_module():
    """One that is written within an annotation would not: it is compiled where the annotation is read."""
    for row in COMMANDS.values():
        for setting in row.says:
            option = setting.option
            functions = (setting.otherwise.rule, option and option.needs, option and option.read)
            for function in functions:
                plain = getattr(function, "func", function)
                assert plain is None or "__name__" in plain.__globals__, setting.path
