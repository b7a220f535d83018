"""The Python use: a module in, an artifact out; an artifact in, ordinary tensors out.

    import qtrain_cli

    artifact = qtrain_cli.compress(module, train=loader, validation=held_out, test=test_loader, budget="1KB")
    artifact.write("model.qtrain")

    artifact = qtrain_cli.load("model.qtrain")      # refuses what is damaged or does not match its digest
    artifact.record["test_accuracy"]                # the record, as `qtrain report --json` prints it
    weights = artifact.state_dict()                 # {name: tensor}, for any load_state_dict
    artifact.put_into(model)                        # the same, into one's own module

    tune = qtrain_cli.load("fine-tune.qtrain", base=model)   # of changes: a loaded base, or the path of one
    tune.apply_to(model)                            # in milliseconds; model now is the fine-tune
    tune.remove_from(model)                         # and now the base again, bit for bit

    student = qtrain_cli.load_student("student.qtrain")      # a hybrid, a control or a quantum network
    scores = student(images)                        # inputs as the data have them: it normalises them itself

Nothing in an artifact is ever run, and no circuit is needed after `load`: the tensors are ordinary ones.
A student is an ordinary module, whose circuit is simulated at every call.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.artifact.container import read_container
from qtrain_cli.artifact.description import Description, record_of
from qtrain_cli.artifact.numbers import decode_artifact
from qtrain_cli.artifact.student import require_student, student_record
from qtrain_cli.artifact.student_file import decode_student
from qtrain_cli.commands.compare import compare_methods
from qtrain_cli.data import Normalisation
from qtrain_cli.data.given import Handed
from qtrain_cli.errors import BadInput, Interrupted, RunFailed, UsageError, suggestion
from qtrain_cli.files.atomic import check_output, write_bytes_atomically
from qtrain_cli.files.config_file import configured_bases
from qtrain_cli.models import IN_MEMORY
from qtrain_cli.report.lines import tell
from qtrain_cli.report.progress import shown_progress
from qtrain_cli.results.comparison import Comparison
from qtrain_cli.runs.compress import compress_model
from qtrain_cli.runs.grounds import base_of, base_of_module, found_base, ground_of_file, require_base
from qtrain_cli.runs.handed_in import HandedIn, handed_in
from qtrain_cli.runs.regenerate import regenerate
from qtrain_cli.runs.switching import Switch
from qtrain_cli.runs.teachers import module_of
from qtrain_cli.settings import CompareSettings, CompressSettings, VerifySettings
from qtrain_cli.settings.declared import said_record, settings_of
from qtrain_cli.settings.option import Option
from qtrain_cli.targets.ground import Ground
from qtrain_cli.tasks.task import Loss

#: What a call from Python hands over itself.
_FILES = (
    "model.path", "model.arch", "model.arch_args", "model.weights", "model.trust_pickle", "data.source",
)  # fmt: skip


@dataclass(frozen=True)
class LoadedArtifact:
    """A regenerated artifact: its `record`, and `exact`, whether the digest agrees to the last bit.

    A bare artifact has no record.
    """

    record: dict[str, Any] | None
    exact: bool
    _state: dict[str, Tensor]
    _content: bytes
    _switch: Switch | None = None

    def write(self, path: str | os.PathLike[str], force: bool = False) -> Path:
        """Writes the artifact's file, whole or not at all, and returns its path.

        Raises:
            UsageError: there is one, and not `force`. BadInput: it cannot be written.
        """
        check_output(Path(path), force)
        write_bytes_atomically(Path(path), self._content, force)
        return Path(path)

    def state_dict(self) -> dict[str, Tensor]:
        """The model's tensors by name, on the CPU, in a new dictionary; tied names share one tensor."""
        return dict(self._state)

    def put_into(self, module: nn.Module) -> nn.Module:
        """Loads the tensors into a module of the same architecture, and returns it.

        Raises:
            BadInput: names or shapes differ; the message lists the difference.
        """
        try:
            module.load_state_dict(self._state)
        except RuntimeError as error:
            raise BadInput(
                f"the artifact does not fit the module: {error}",
                "give a module of the class that was compressed; state_dict() has the tensors for another",
            ) from None
        return module

    def apply_to(self, module: nn.Module) -> nn.Module:
        """Makes a loaded base the fine-tune, in place, and returns it; it gets the head that it lacks.

        Args:
            module: the base, on any device, in the precision that the artifact was made with.

        Raises:
            UsageError: the artifact holds a whole model.
            BadInput: the module has other tensors than the base where the artifact changes them.
        """
        return self._switched.apply_to(module)

    def remove_from(self, module: nn.Module) -> nn.Module:
        """The inverse of `apply_to`: the module is what it was before, bit for bit.

        Raises:
            UsageError: this artifact was not applied to the module.
        """
        return self._switched.remove_from(module)

    @property
    def _switched(self) -> Switch:
        if self._switch is None:
            raise UsageError("the artifact holds a whole model, and changes no base", "use put_into(module)")
        return self._switch


def load(
    path: str | os.PathLike[str],
    module: nn.Module | None = None,
    *,
    base: nn.Module | str | os.PathLike[str] | None = None,
    bases: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
) -> LoadedArtifact:
    """Reads an artifact and regenerates its weights.

    Args:
        path: the file.
        module: any module of the model's architecture, for a file that leaves out what all of them have.
        base: what a file of changes belongs to: the loaded model, or a file or folder that holds it.
        bases: files and folders of which one may be it, where `base` is not said: the one with the digest is
            taken. None: the `bases` of the nearest `qtrain.toml`, as on a command line.

    Raises:
        UsageError: the file needs such a module, or a base.
        BadInput: no such file, or no artifact.
        Refused: it is damaged or hostile, it changes another base, or its weights do not match its digest.
    """
    container = read_container(Path(path))
    artifact = decode_artifact(container)
    description = artifact.description
    ground = _ground(container.path, description, base, bases)
    found = regenerate(artifact, module, ground)
    record = record_of(description, container).to_json() if description.origin else None
    switch = Switch(ground, description.layout, found.state) if ground else None
    return LoadedArtifact(record, found.exact, found.state, container.data, switch)


def _ground(
    path: Path,
    description: Description,
    base: nn.Module | str | os.PathLike[str] | None,
    bases: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None,
) -> Ground | None:
    change = description.change
    if change is None:
        require_base(description, base is not None)
        return None
    if isinstance(base, nn.Module):
        found = base_of_module(base, type(base).__name__)
    else:
        several = (bases,) if isinstance(bases, (str, os.PathLike)) else bases or ()
        places = configured_bases(Path()) if bases is None and base is None else tuple(map(Path, several))
        named = VerifySettings(path, base=None if base is None else Path(base), bases=places)
        loaded, name = found_base(change, named)
        found = base_of(loaded, name)
    return ground_of_file(change, description.layout, found)


@dataclass(frozen=True)
class LoadedStudent:
    """A student: its `record`, and its `module` in evaluation mode, whose inputs are normalised ones."""

    record: dict[str, Any]
    module: nn.Module
    _prepare: Normalisation

    def __call__(self, inputs: Tensor) -> Tensor:
        """Scores (N, k) for inputs (N, ...) as the data have them; uint8 is divided by 255. No gradients."""
        with torch.no_grad():
            scores: Tensor = self.module(self._prepare(inputs))
        return scores


def load_student(path: str | os.PathLike[str]) -> LoadedStudent:
    """Reads a student that `qtrain train` or `qtrain distill` wrote.

    Raises:
        BadInput: no such file, or no student's.
        Refused: it is damaged or hostile.
    """
    container = read_container(Path(path))
    require_student(container)
    file = decode_student(container)
    description = file.description
    record = student_record(description, container).to_json()
    return LoadedStudent(record, module_of(file), Normalisation(description.mean, description.std))


def compress(
    module: nn.Module,
    train: Handed,
    validation: Handed = None,
    test: Handed = None,
    *,
    fresh: Callable[[], nn.Module] | None = None,
    loss: Loss | None = None,
    metric: Loss | None = None,
    **options: Any,
) -> LoadedArtifact:
    """Compresses a module, as `qtrain compress` does a file.

    Args:
        module: of trained weights. It is copied and stays as it is.
        train: (x, y), a data set of pairs, or a loader of batches; y (N,) class numbers, (N, k) numbers, ...
        validation: the same, for choosing the best state; by default a share of `train`, but of a loader's.
        test: the same, used once, at the end.
        fresh: makes an untrained module of the same architecture. The record's figures are then those of a
            module that was never trained, with the weights loaded; without it the record says they are not.
        loss: of outputs (N, ...) and targets (N, ...), a scalar, in place of the task's in training.
        metric: of the same, a score for each row (N,), more is better: by it the validation rows choose the
            best state. The record's figures are the task's.
        options: those of `qtrain compress` by their names, ``_`` for ``-``: ``epochs=20``, ``mean=0.5``,
            ``budget="1KB"`` (that is ``bytes``), ``params=720``, ``task="regression"``. Without ``out`` there
            is no file until `write` of the result makes one; ``quiet=True`` shows neither stages nor the bar,
            which go to stderr, in a notebook to the cell.

    Raises:
        TypeError: an option that there is not.
        UsageError, BadInput, RunFailed, Interrupted: as `qtrain compress`.
    """
    quiet, out = options.pop("quiet", False), options.pop("out", None)
    with tempfile.TemporaryDirectory(prefix="qtrain-") as folder:
        path = Path(folder, "model.qtrain") if out is None else Path(out)
        settings = _settings(CompressSettings, {**options, "out": path}, module)
        given = HandedIn(train, validation, test, fresh, loss, metric)
        with shown_progress(quiet) as show, _gone_with(folder):
            compress_model(settings, show, _teller(quiet), handed_in(module, given, settings))
        return load(path, fresh() if fresh else module)


def compare(
    module: nn.Module,
    train: Handed,
    validation: Handed = None,
    test: Handed = None,
    *,
    fresh: Callable[[], nn.Module] | None = None,
    loss: Loss | None = None,
    **options: Any,
) -> Comparison:
    """Sets our method against others at equal bytes, as `qtrain compare` does.

    Args:
        module, train, validation, test, fresh, loss: as for `compress`.
        options: those of `qtrain compare`: ``bytes="600,1KB"``, ``methods="ours,pruning"``, ``seeds=3``, and
            ``state``, the folder for finished cells, from which the same call goes on. ``quiet`` as above.

    Returns:
        Every cell; with `results.verdict.verdict` who wins.

    Raises:
        As `compress`.
    """
    quiet = options.pop("quiet", False)
    settings = _settings(CompareSettings, options, module)
    given = HandedIn(train, validation, test, fresh, loss)
    with shown_progress(quiet) as show:
        return compare_methods(settings, _teller(quiet), show, handed_in(module, given, settings))


def _said(record: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by the command line's names, each as a command line would have it."""
    named = {name.replace("_", "-"): value for name, value in options.items() if value is not None}
    if "budget" in named:
        named["bytes"] = named.pop("budget")
    known = {setting.option.name: setting.option for setting in settings_of(record, _FILES) if setting.option}
    strange = [name for name in named if name not in known]
    if strange:
        raise TypeError(
            f"there is no option '{strange[0].replace('-', '_')}': {suggestion(strange[0], known)}"
        )
    return {**dict.fromkeys(known), **{name: _typed(known[name], value) for name, value in named.items()}}


def _typed(option: Option, value: Any) -> Any:
    """What an option reads as a text, as that text: 0.5 as ``0.5``, (600, 1000) as ``600,1000``."""
    if not option.read or isinstance(value, str) or option.typed not in (None, str):
        return value
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _settings(record: Any, options: Mapping[str, Any], module: nn.Module) -> Any:
    fixed = {"model.path": Path(type(module).__name__), "data.source": IN_MEMORY}
    return said_record(record, settings_of(record, _FILES), _said(record, options), fixed)


@contextmanager
def _gone_with(folder: str) -> Iterator[None]:
    """A run whose state lay in this folder says that it is gone, and not where it was."""
    try:
        yield
    except (Interrupted, RunFailed) as error:
        if folder not in error.message:
            raise
        what = error.message.partition(";")[0]
        raise type(error)(
            f"{what}; without out= no state is kept", "give out= and later resume=True"
        ) from None


def _teller(quiet: bool) -> Callable[[str], None]:
    return (lambda line: None) if quiet else tell
