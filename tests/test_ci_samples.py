"""What `samples/ci` has for pipelines does what it promises; so does the project's workflow for wheels.

The steps of the action run as a runner runs them, the templates fit their schemas, the hook refuses damage.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
CI = ROOT / "samples" / "ci"
WORKFLOWS = ROOT / ".github" / "workflows"
#: A file, its schema as check-jsonschema ships it, and what that needs besides.
SCHEMAS = [
    (CI / "action.yml", "github-actions", ()),
    (CI / "workflow.yml", "github-workflows", ()),
    (CI / "gitlab-ci.yml", "gitlab-ci", ("--data-transform", "gitlab-ci")),
    (WORKFLOWS / "wheels.yml", "github-workflows", ()),
]
INPUT = re.compile(r"\$\{\{ inputs\.([\w-]+) \}\}")


def read(path: Path) -> Any:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load(path.read_text())


@pytest.fixture
def here(tmp_path: Path, digits: Path, warm: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``ci`` and ``digits`` side by side, as in samples; `qtrain` is this checkout's."""
    shutil.copytree(CI, tmp_path / "ci")
    shutil.copytree(digits, tmp_path / "digits")
    monkeypatch.setenv("PATH", warm)
    return tmp_path


def environment(here: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(here)}


class Action:
    """The composite action in a folder."""

    def __init__(self, here: Path) -> None:
        self.here, self.document = here, read(CI / "action.yml")
        self.summary, self.outputs = here / "summary.md", here / "outputs"

    def run(self, **given: str) -> int:
        """Its shell steps but the install, with these inputs; the exit code of the last that ran."""
        rows = self.document["inputs"].items()
        inputs = {name: str(row.get("default", "")) for name, row in rows} | given
        steps = [
            step for step in self.document["runs"]["steps"] if "run" in step and step["name"] != "Install"
        ]
        for step in steps:
            if "compress" in step.get("if", "compress") and inputs["command"] != "compress" and "if" in step:
                continue
            done = self._step(step, lambda text: INPUT.sub(lambda found: inputs[found[1]], text))
            if done.returncode:
                return done.returncode
        return 0

    def _step(self, step: dict[str, Any], filled: Any) -> subprocess.CompletedProcess[str]:
        assert not INPUT.search(step["run"]), "an input in a script's text is a way to run anything"
        more = {name: filled(text) for name, text in step["env"].items()}
        more |= {"GITHUB_OUTPUT": str(self.outputs), "GITHUB_STEP_SUMMARY": str(self.summary)}
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
            cwd=self.here / filled(step.get("working-directory", ".")), env=environment(self.here) | more,
            capture_output=True, text=True, check=False,
        )  # fmt: skip


def test_the_action_compresses_gates_and_leaves_what_it_uploads(here: Path) -> None:
    action = Action(here)
    given = {"command": "compress", "artifact": "small net.qtrain", "working-directory": "ci",
             "model": "../digits/digits_cnn_module.pt", "options": "--epochs 2 --device 'cpu'"}  # fmt: skip
    assert action.run(**given, gates="--min-accuracy 0.01 --max-drop 1") == 0
    said = dict(line.split("=", 1) for line in action.outputs.read_text().splitlines())
    assert said == {"passed": "true", "artifact": "ci/small net.qtrain"}
    upload = action.document["runs"]["steps"][-1]
    assert upload["if"] == "always()"
    text = upload["with"]["path"].replace("${{ steps.kept.outputs.artifact }}", said["artifact"])
    paths = INPUT.sub(lambda found: given[found[1]], text).split("\n")
    assert all((here / path).is_file() for path in paths if path), paths
    assert "test accuracy" in action.summary.read_text()


def test_the_action_fails_where_a_gate_is_missed_and_says_so(here: Path, artifact: Path) -> None:
    shutil.copy(artifact, here / "net.qtrain")
    action = Action(here)
    assert action.run(artifact="net.qtrain", gates="--max-bytes 10") == 3
    assert action.outputs.read_text() == "passed=false\n"
    assert "**FAILED**" in action.summary.read_text() and "<failure" in (here / "qtrain.xml").read_text()


@pytest.mark.parametrize(
    "given",
    [
        {"gates": "'--min-accuracy 0.99 --max-bytes 1KB"},
        {"gates": "-n -e"},
        {"command": "comprss"},
        {"command": "compress", "options": '"--epochs 2'},
    ],
)
def test_the_action_passes_nothing_that_it_does_not_understand(here: Path, artifact: Path, given) -> None:
    shutil.copy(artifact, here / "net.qtrain")
    action = Action(here)
    assert action.run(artifact="net.qtrain", **given) != 0
    assert not action.outputs.exists() or "passed=true" not in action.outputs.read_text()


def test_an_artifact_anywhere_is_kept(here: Path, artifact: Path) -> None:
    shutil.copy(artifact, here / "net.qtrain")
    (here / "ci" / "qtrain.toml").unlink()
    action = Action(here)
    assert action.run(artifact=str(here / "net.qtrain"), gates="  ", **{"working-directory": "ci"}) == 0
    assert f"artifact={here}/net.qtrain\n" in action.outputs.read_text()


def test_no_input_of_the_action_is_run(here: Path, artifact: Path) -> None:
    shutil.copy(artifact, here / "net.qtrain")
    for gates in ("$(touch hit)", "; touch hit", "`touch hit`", "--markdown 'a b.md' | touch hit"):
        Action(here).run(artifact="net.qtrain", gates=gates)
        Action(here).run(artifact="$(touch hit).qtrain")
    assert not (here / "hit").exists()


def test_the_workflow_uses_the_action_with_inputs_that_it_has(here: Path) -> None:
    action = read(CI / "action.yml")
    (job,) = read(CI / "workflow.yml")["jobs"].values()
    (step,) = (step for step in job["steps"] if step.get("uses", "").endswith("/qtrain"))
    assert step["with"].keys() <= action["inputs"].keys()
    required = {name for name, row in action["inputs"].items() if row.get("required")}
    assert required <= step["with"].keys()


def test_the_job_of_gitlab_leaves_what_it_keeps(here: Path) -> None:
    document = read(CI / "gitlab-ci.yml")
    job = document["qtrain-compress"]
    variables = document[".qtrain"]["variables"] | job["variables"]
    script = "\n".join(job["script"]).replace("qtrain compress", "qtrain compress --epochs 2 --device cpu")
    script = script.replace("qtrain report", "qtrain report --min-accuracy 0.01 --max-drop 1")
    (here / "samples").mkdir()
    for name in ("ci", "digits"):
        (here / name).rename(here / "samples" / name)
    (here / "samples" / "ci" / "qtrain.toml").chmod(0o666)  # as the runner clones
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=here, env=environment(here) | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kept = document[".qtrain"]["artifacts"]
    for path in (*kept["paths"], kept["reports"]["junit"]):
        name = path.replace("$QTRAIN_FOLDER", variables["QTRAIN_FOLDER"])
        assert (here / name.replace("$QTRAIN_ARTIFACT", variables["QTRAIN_ARTIFACT"])).is_file(), name


def test_the_bare_commands_work_with_the_samples_options(here: Path) -> None:
    quick = ("compress", "../digits/digits_cnn_module.pt", "--epochs", "30")
    for words in (quick, ("export", "--classical"), ("report",)):
        done = subprocess.run(
            ["qtrain", *words],
            cwd=here / "ci",
            env=environment(here),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    left = {path.name for path in (here / "ci").iterdir()}
    assert {"digits.qtrain", "digits.safetensors", "qtrain.xml", "qtrain.md"} <= left


# --- the hook --------------------------------------------------------------------------------------------


def hook() -> dict[str, Any]:
    (repository,) = read(CI / "pre-commit-config.yaml")["repos"]
    return repository["hooks"][0]


def test_the_hook_refuses_what_is_damaged_among_others(here: Path, artifact: Path) -> None:
    good, bad = here / "good net.qtrain", here / "bad.qtrain"
    shutil.copy(artifact, good)
    damaged = bytearray(artifact.read_bytes())
    damaged[-1] ^= 1
    bad.write_bytes(damaged)

    def commit(*files: Path) -> int:
        entry = f"{hook()['entry']} " + " ".join(f"'{file}'" for file in files)
        return subprocess.run(
            ["sh", "-c", entry], env=environment(here), capture_output=True, check=False
        ).returncode

    assert commit(good) == 0
    assert commit(good, bad) == commit(bad, good) == 4


def test_the_hook_of_the_repository_is_the_samples(here: Path) -> None:
    (own,) = read(ROOT / ".pre-commit-hooks.yaml")
    assert all(hook()[name] == own[name] for name in ("id", "name", "entry", "language", "files"))
    assert re.search(own["files"], "a/b.qtrain") and not re.search(own["files"], "b.qtrain.ckpt")


# --- schemas ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "schema", "more"), SCHEMAS, ids=lambda value: getattr(value, "name", None))
def test_every_file_for_a_pipeline_fits_its_schema(
    path: Path, schema: str, more: tuple[str, ...], tmp_path
) -> None:
    if not shutil.which(
        "check-jsonschema", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ):
        pytest.skip("check-jsonschema is not installed")
    broken = tmp_path / path.name
    broken.write_text(
        path.read_text().replace("runs", "ruins").replace("jobs:", "jabs:").replace("script:", "- x")
    )
    lint = (sys.executable, "-m", "check_jsonschema")
    codes = [
        subprocess.run(
            [*lint, "--builtin-schema", f"vendor.{schema}", *more, str(one)],
            capture_output=True, check=False,
        ).returncode
        for one in (path, broken)
    ]  # fmt: skip
    assert codes[0] == 0 and codes[1] != 0


def test_what_the_wheels_workflow_runs_is_there() -> None:
    text = (WORKFLOWS / "wheels.yml").read_text()
    assert (
        set(re.findall(r"\.ci/[\w.]+", text)) == {".ci/wheel_works.py"}
        and (ROOT / ".ci/wheel_works.py").is_file()
    )
    matrix = read(WORKFLOWS / "wheels.yml")["jobs"]["compiled"]["strategy"]["matrix"]["os"]
    assert [name.split("-")[0] for name in matrix] == ["ubuntu", "ubuntu", "macos", "windows"]
