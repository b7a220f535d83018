"""The table of parameters is that of the commands' own signatures, whole and with kinds that exist."""

import typing

import pytest

from qtrain_cli.cli.config import KINDS
from qtrain_cli.cli.parameters import VERBS, Parameter, option_parameters

ROWS = [(verb, option, row) for verb in VERBS for option, row in option_parameters(verb).items()]


@pytest.mark.parametrize(("verb", "option", "row"), ROWS)
def test_every_option_has_a_kind_that_exists_and_its_own_name(verb, option, row):
    assert row.kind in KINDS
    assert row.name in typing.get_type_hints(VERBS[verb])
    assert option == option.strip("-")


def test_nothing_is_left_out_but_what_has_no_place_in_a_file():
    for verb, function in VERBS.items():
        named = {row.name for row in option_parameters(verb).values()}
        assert set(typing.get_type_hints(function)) - named == {"return", "as_json", "verbose"}


@pytest.mark.parametrize(
    ("verb", "option", "parameter"),
    [
        ("compress", "model", Parameter("model", "path")),
        ("compress", "data", Parameter("data", "data")),
        ("compress", "arch", Parameter("arch", "arch")),
        ("compress", "arch-args", Parameter("arch_args", "json")),
        ("compress", "mean", Parameter("mean", "numbers")),
        ("compress", "bytes", Parameter("bytes_", "text")),
        ("compress", "params", Parameter("params", "int")),
        ("compress", "ratio", Parameter("ratio", "float")),
        ("compress", "targets", Parameter("targets", "list")),
        ("compress", "trust-pickle", Parameter("trust_pickle", "consent")),
        ("compress", "force", Parameter("force", "flag")),
        ("compress", "out", Parameter("out", "path")),
        ("export", "out", Parameter("out", "path")),
        ("export", "artifact", Parameter("artifact", "path")),
        ("export", "model", Parameter("model", "path")),
        ("report", "baseline", Parameter("baseline", "path")),
        ("report", "junit", Parameter("junit", "path")),
        ("inspect", "file", Parameter("file", "path")),
        ("compare", "bytes", Parameter("bytes_", "row")),
        ("sample", "shots", Parameter("shots", "row")),
        ("train", "shots", Parameter("shots", "int")),
        ("compare-students", "methods", Parameter("methods", "row")),
        ("compare-gradients", "gradients", Parameter("gradients", "row")),
    ],
)
def test_kinds_are_read_off_the_types(verb, option, parameter):
    assert option_parameters(verb)[option] == parameter
