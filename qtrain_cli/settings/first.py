"""The first and the last steps with a folder: `init` writes its options down, `card` describes what came out,
`help` has pages to read. One record a command."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from qtrain_cli.errors import UsageError
from qtrain_cli.settings.change import ChangeSettings, model_or_base
from qtrain_cli.settings.option import Inside, Option, Otherwise, Said
from qtrain_cli.settings.parsing import require
from qtrain_cli.settings.shared import ArtifactPath, Force, GeneratedOnly, KeptAsTheyAre, Seed
from qtrain_cli.settings.sources import DataSettings, ModelSettings

#: What the package brings to try it with: a trained network and its data.
SAMPLE_MODEL, SAMPLE_DATA = "digits_cnn_module.pt", "digits.npz"
_WRITTEN = Option("--out", "The file to write.", short="-o", kind="output")
#: As the hub takes them.
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")


def _sample_or(sample: Path | str, missing: str, option: str) -> Callable[[Said], Path | str]:
    """The sample's file with --sample; without it the option has to be said."""

    def rule(said: Said) -> Path | str:
        if not said["sample"]:
            raise UsageError(
                f"init needs {missing}",
                f"give {option}, or try it first with what the package brings: qtrain init --sample",
            )
        return sample

    return rule


_MODEL_OR_SAMPLE = _sample_or(Path(SAMPLE_MODEL), "a model and data", "MODEL and --data DATA")
_DATA_OR_SAMPLE = _sample_or(SAMPLE_DATA, "data", "--data DATA")


def _model_of_init(said: Said) -> Path | str:
    """The base itself where that alone is said, which learns from labels; else as `_sample_or`."""
    if said["base"] and not said["sample"]:
        return model_or_base(said)
    return _MODEL_OR_SAMPLE(said)


def _config_here(said: Said) -> Path:
    return Path("qtrain.toml")


@dataclass(frozen=True)
class InitSettings:
    """`qtrain init`: model, base and data as for compress; what is found of them goes to `out`.

    With `sample` the package's own model and data are put beside it first, where they are not there yet.
    """

    model: Annotated[
        ModelSettings,
        Inside("path", Otherwise("the base, or the sample's with --sample", _model_of_init)),
    ]
    data: Annotated[DataSettings, Inside("source", Otherwise("the sample's with --sample", _DATA_OR_SAMPLE))]
    out: Annotated[
        Path,
        _WRITTEN,
        Otherwise("qtrain.toml", _config_here),
    ]
    targets: GeneratedOnly = ()
    ignore: KeptAsTheyAre = ()
    seed: Seed = 0
    sample: Annotated[
        bool, Option("--sample", "Begin with the small model and data that the package brings.")
    ] = False
    force: Force = False
    change: ChangeSettings = field(default_factory=ChangeSettings)


@dataclass(frozen=True)
class CardSettings:
    """`qtrain card`: an artifact, the file to write, and what no artifact says of itself."""

    artifact: ArtifactPath
    out: Annotated[Path, _WRITTEN]
    title: Annotated[
        str | None, Option("--title", "The card's heading."), Otherwise("the artifact's name")
    ] = None
    license: Annotated[
        str | None, Option("--license", "The hub's word for the licence, e.g. apache-2.0 or mit.")
    ] = None
    base_model: Annotated[
        str | None,
        Option("--base-model", "The hub's name of the model it was made from, e.g. timm/resnet18.a1_in1k."),
    ] = None  # fmt: skip
    datasets: Annotated[
        tuple[str, ...], Option("--dataset", "The hub's name of the data, e.g. mnist. Repeatable.")
    ] = ()
    force: Force = False

    def __post_init__(self) -> None:
        for option, name in (
            ("--base-model", self.base_model),
            *(("--dataset", name) for name in self.datasets),
        ):
            require(
                name is None or bool(_REPOSITORY.fullmatch(name)),
                f"{option} '{name}' is no name on the hub",
                "write NAME or OWNER/NAME",
            )
        require(
            self.license is None or bool(_LICENCE.fullmatch(self.license)),
            f"--license '{self.license}' is no word for a licence; allowed: small letters, digits, . and -",
            "write e.g. apache-2.0, mit, cc-by-4.0 or other",
        )


@dataclass(frozen=True)
class HelpSettings:
    """`qtrain help`: a page by its topic; None: the list of them."""

    topic: Annotated[str | None, Option("TOPIC", "A page, or a command.", completes="topics")] = None
