"""The model card of an artifact, as the Hugging Face hub reads it: a head of YAML, then `card_text`.

    license, base_model, datasets, metrics, pipeline_tag, tags, model-index       one row: the test figure

Every figure is the record's own. Where `huggingface_hub` is installed it reads the finished text back, and a
card that it would not take is not written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qtrain_cli.errors import RunFailed, first_line
from qtrain_cli.report.card_text import Described, card_body, card_title
from qtrain_cli.report.front_matter import front_matter
from qtrain_cli.report.terminal import sheet
from qtrain_cli.report.text import value_text
from qtrain_cli.results import Record, StudentRecord

if TYPE_CHECKING:
    from rich.console import RenderableType

TAGS = ("qtrain", "model-compression", "quantum-train")
#: The hub's word for a figure, where it is not ours.
HUB_METRICS = {"error": "mse", "miou": "mean_iou", "r2": "r_squared", "map": "mean_average_precision"}
#: In place of data that are on no hub.
UNPUBLISHED = "unpublished"
_UNCHECKED, _CHECKED = "not checked: huggingface_hub is not installed", "read back by huggingface_hub {}"


def card_document(card: Described) -> dict[str, Any]:
    """For scripts: the head as data, where the card lies, and whether it was checked."""
    return {"path": str(card.settings.out), "checked": _checked(), **_head(card)}


def card_terminal(card: Described) -> RenderableType:
    """Where it lies, what was said of it, and what may be added."""
    settings, head = card.settings, _head(card)
    said = [("license", "--license"), ("base_model", "--base-model"), ("datasets", "--dataset")]
    rows = [(name, value_text(head[name]), option) for name, option in said]
    return sheet({
        "card": [
            ("path", str(settings.out)), ("checked", _checked()), ("title", card_title(card)),
            *((name, text if text != "-" else f"not said: {option}") for name, text, option in rows),
            ("files", ", ".join(file.name for file in card.files)),
        ]
    })  # fmt: skip


def checked_card(card: Described) -> str:
    """The whole card. Raises `RunFailed` where `huggingface_hub` does not take it."""
    text = card_markdown(card)
    _check(card, text)
    return text


def card_markdown(card: Described) -> str:
    """The whole card, unchecked."""
    return front_matter(_head(card)) + card_body(card)


def _checked() -> str:
    """How a card that was written has been checked: `checked_card` has raised, or written it."""
    try:
        import huggingface_hub
    except ImportError:
        return _UNCHECKED
    return _CHECKED.format(huggingface_hub.__version__)


def _check(card: Described, text: str) -> None:
    """Raises `RunFailed` unless the text, read back, has the record's figure; where nothing reads it, it
    passes."""
    try:
        import huggingface_hub
    except ImportError:
        return
    try:
        read = huggingface_hub.ModelCard(text)
        found = [row.metric_value for row in getattr(read.data, "eval_results") or ()]  # noqa: B009
        if found[:1] != [card.record.to_json()["metric_value"]]:
            raise ValueError(f"its figures are {found}")
    except Exception as error:
        raise RunFailed(
            f"huggingface_hub does not take the card: {first_line(error)}",
            "this is a bug: please report it with the output of `qtrain report --json`",
        ) from error


def _head(card: Described) -> dict[str, Any]:
    settings, record = card.settings, card.record
    figures = record.to_json()
    return {
        "license": settings.license,
        "library_name": "qtrain",
        "pipeline_tag": record.scores.row.pipelines.get(card.form),
        "tags": [*TAGS],
        "base_model": settings.base_model,
        "base_model_relation": settings.base_model and _relation(record),
        "datasets": [*settings.datasets],
        "metrics": [HUB_METRICS.get(figures["metric"], figures["metric"])],
        "model-index": [{"name": card_title(card), "results": [_result(card, figures)]}],
    }


def _relation(record: Record | StudentRecord) -> str:
    """What the hub calls it: a change to a base is an adapter, all else the same model in fewer bytes."""
    return "adapter" if isinstance(record, Record) and record.design.base else "quantized"


def _result(card: Described, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The one row of the index: the test figure with its interval, and those beside it."""
    scores, name = card.record.scores, str(figures["metric"])
    given = card.settings.datasets
    pipeline = scores.row.pipelines.get(card.form, "other")
    interval = {"low": figures["metric_low"], "high": figures["metric_high"], "level": 0.95}
    main = {
        "type": HUB_METRICS.get(name, name), "value": figures["metric_value"], "name": f"Test {name}",
        "args": {**interval, "rows": scores.count},
    }  # fmt: skip
    others = [
        {"type": HUB_METRICS.get(other, other), "value": value, "name": f"Test {other}"}
        for other, value in scores.metrics.items()
        if value is not None
    ]
    dataset = {
        "name": given[0] if given else f"data of SHA-256 {figures['data_sha256'][:16]}",
        "type": given[0] if given else UNPUBLISHED,
        "split": "test",
    }
    return {"task": {"type": pipeline}, "dataset": dataset, "metrics": [main, *others]}
