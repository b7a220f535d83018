"""What a reader is asked for beside its source: how much memory there is, which columns and splits are what,
what becomes of pictures and texts, and what to do about damaged rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qtrain_cli.data.columns import Roles
from qtrain_cli.data.damage import Damage
from qtrain_cli.data.pictures import Pictures, picture_form
from qtrain_cli.data.room import Room
from qtrain_cli.data.tokens import TextForm
from qtrain_cli.data.words import WordLabels
from qtrain_cli.settings import DataSettings


@dataclass(frozen=True)
class Request:
    """One reading. Room, damage, pictures and texts count, or keep, what they are given."""

    room: Room = field(default_factory=Room)
    damage: Damage = field(default_factory=Damage)
    roles: Roles = field(default_factory=Roles)
    splits: Mapping[str, str] = field(default_factory=dict)
    pictures: Pictures = field(default_factory=Pictures)
    texts: TextForm = field(default_factory=TextForm)


def request_of(settings: DataSettings, beside: Path | None) -> Request:
    """The request that the settings say; `beside` is the folder that the model lies in.

    Raises:
        UsageError, BadInput: as `Roles.said`, and as `picture_form` of `--transform`.
    """
    return Request(
        Room(settings.max_bytes),
        Damage(settings.skip_damaged),
        Roles.said(dict(settings.columns)),
        dict(settings.splits),
        Pictures(picture_form(settings.transform, None), beside),
        TextForm(settings.tokenizer, beside, settings.max_length, labels=WordLabels(beside)),
    )
