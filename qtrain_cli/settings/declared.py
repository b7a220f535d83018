"""Records and their options: which options a record has, and the record that was said.

A field that is a record contributes the options of its own fields. Where it may be None, it is None unless
its first field was said; that one's option may be another than usual, as `--model` is for what else is
`MODEL`:

    model: Annotated[ModelSettings | None, Option("--model", "Whose graph .pt2 and .onnx carry.")] = None

Two fields may have one and the same option. Two options of one name in a command are a mistake of ours.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qtrain_cli.errors import UsageError
from qtrain_cli.settings.option import Inside, Option, Otherwise, Said

#: Of a field without a default.
NO_DEFAULT = dataclasses.MISSING


@dataclass(frozen=True)
class Setting:
    """One field of a command's records.

    `path` is ``fit.seed``, `default` the field's own or `NO_DEFAULT`. Without an `option` a rule fills it.
    """

    path: str
    type: Any
    default: Any
    option: Option | None
    otherwise: Otherwise

    @property
    def required(self) -> bool:
        """Whether a command line has to say it."""
        return (
            self.default is NO_DEFAULT and not self.otherwise.rule and not (self.option and self.option.every)
        )


@dataclass(frozen=True)
class _Field:
    """A field as it is written: its type without None, its default, and the marks beside the type."""

    type: Any
    optional: bool
    default: Any
    marks: tuple[Any, ...]

    @property
    def is_record(self) -> bool:
        return isinstance(self.type, type) and dataclasses.is_dataclass(self.type)

    def mark(self, kind: type) -> Any:
        return next((mark for mark in self.marks if isinstance(mark, kind)), None)

    def otherwise_of(self, name: str) -> Otherwise | None:
        inside = (mark for mark in self.marks if isinstance(mark, Inside))
        return next((mark.otherwise for mark in inside if mark.field == name), None)


def settings_of(record: Any, without: Collection[str] = ()) -> tuple[Setting, ...]:
    """All that can be said of a record (or one annotated value, or None), but the fields `without`, by path.

    Raises:
        ValueError: two options of one name.
    """
    if record is None:
        return ()
    found = tuple(_under("", _field(record, NO_DEFAULT), _Field(None, False, NO_DEFAULT, ()), without))
    options: dict[str, Option] = {}
    for option in (setting.option for setting in found if setting.option):
        if options.setdefault(option.name, option) != option:
            raise ValueError(f"two options are called {option.name}")
    return found


def said_record(record: Any, settings: Sequence[Setting], said: Said, fixed: Mapping[str, Any]) -> Any:
    """The record (or value) that was said with these settings; `fixed` has values by path that are not said.

    Raises:
        UsageError: as the records refuse what they are given, and options what they go with.
    """
    options = {setting.option.name: setting.option for setting in settings if setting.option}
    read = {name: _read(option, said.get(name)) for name, option in options.items()}
    values = {**_values(settings, read), **fixed}
    _check_led(record, settings, read, values)
    told = {setting.option.name: values.get(setting.path) for setting in settings if setting.option}
    for name, option in options.items():
        if option.needs and read[name] is not None:
            option.needs(option.flag, told)
    return _made("", _field(record, NO_DEFAULT), values) if record else None


def _check_led(record: Any, settings: Sequence[Setting], read: Said, values: Mapping[str, Any]) -> None:
    """Refuses what was said of a record that may be None, and is: only its first option makes it one."""
    led = dict(_led("", _field(record, NO_DEFAULT), values)) if record else {}
    of_others = {setting.option.name for setting in settings if setting.option and setting.path not in led}
    leads = {setting.path: setting.option.flag for setting in settings if setting.option}
    for setting in settings:
        option = setting.option
        if option is None or option.name in of_others or option.every or setting.path not in led:
            continue
        if read[option.name] not in (None, (), {}, False, setting.default):
            lead = leads.get(led[setting.path], "")
            raise UsageError(f"{option.flag} goes with {lead}", f"say {lead} too, or leave {option.flag} out")


def _led(path: str, field: _Field, values: Mapping[str, Any], lead: str = "") -> Iterator[tuple[str, str]]:
    """Each path below records that are None, with the path of the record's first field."""
    if not field.is_record:
        if lead:
            yield path, lead
        return
    inner = {f"{path}.{name}".strip("."): one for name, one in _fields(field.type).items()}
    if not lead and field.optional and next(iter(inner)) not in values:
        lead = next(iter(inner))
    for where, one in inner.items():
        yield from _led(where, one, values, lead)


def values_said(record: Any, settings: Sequence[Setting]) -> dict[str, Any]:
    """What a record has that is not the default, by the option's name: the reverse of `said_record`."""
    found = {}
    for setting in settings:
        value = record
        for name in setting.path.split("."):
            value = getattr(value, name, None)
        if setting.option and value not in (None, (), {}, setting.default):
            found[setting.option.name] = value
    return found


def _read(option: Option, value: Any) -> Any:
    if option.read and value is not None:
        return option.read(value)
    return tuple(value) if isinstance(value, list) else value


def _values(settings: Sequence[Setting], read: Said) -> dict[str, Any]:
    """Values by path: what was said, and what rules make where nothing was."""
    values = {}
    for setting in settings:
        value = read[setting.option.name] if setting.option else None
        if value is None and setting.otherwise.rule:
            value = setting.otherwise.rule(read)
        if value is not None:
            values[setting.path] = value
    return values


def _under(path: str, field: _Field, above: _Field, without: Collection[str]) -> Iterator[Setting]:
    """The settings of a field: its own, or those of the record that it is."""
    if path in without:
        return
    if not field.is_record:
        yield from _own(path, field, above)
        return
    for number, (name, inner) in enumerate(_fields(field.type).items()):
        if number == 0 and field.optional:
            inner = _leading(inner, field)
        yield from _under(f"{path}.{name}".strip("."), inner, field, without)


def _own(path: str, field: _Field, above: _Field) -> Iterator[Setting]:
    option = field.mark(Option)
    otherwise = above.otherwise_of(path.rpartition(".")[2]) or field.mark(Otherwise)
    if option or otherwise:
        yield Setting(path, field.type, field.default, option, otherwise or Otherwise())


def _leading(first: _Field, whole: _Field) -> _Field:
    """The first field of a record that may be None: it need not be said."""
    option = whole.mark(Option) or first.mark(Option)
    return dataclasses.replace(first, default=None, marks=(option,))


def _made(path: str, field: _Field, values: Mapping[str, Any]) -> Any:
    if not field.is_record:
        return values[path]
    inner = {f"{path}.{name}".strip("."): one for name, one in _fields(field.type).items()}
    if field.optional and next(iter(inner)) not in values:
        return None
    given = {where: one for where, one in inner.items() if where in values or one.is_record}
    return field.type(**{where.rpartition(".")[2]: _made(where, one, values) for where, one in given.items()})


@functools.cache
def _fields(record: type) -> dict[str, _Field]:
    hints = typing.get_type_hints(record, include_extras=True)
    return {
        field.name: _field(hints[field.name], field.default if field.default_factory is NO_DEFAULT else None)
        for field in dataclasses.fields(record)
    }


def _field(hint: Any, default: Any) -> _Field:
    marks = getattr(hint, "__metadata__", ())
    bare = typing.get_args(hint)[0] if marks else hint
    parts = typing.get_args(bare) if isinstance(bare, types.UnionType) else (bare,)
    some = [part for part in parts if part is not types.NoneType]
    return _Field(some[0], len(some) < len(parts), default, marks)
