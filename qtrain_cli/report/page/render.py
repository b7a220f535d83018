"""A page as HTML, by the one template, with a policy that lets nothing in and nothing out.

The policy names the SHA-256 of the very style and script that stand in the page: a text that slipped through
every escape could still not run, load or send anything.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from typing import Any

from qtrain_cli.errors import missing_package
from qtrain_cli.report.page.parts import Page
from qtrain_cli.report.text import clipped, unmarked
from qtrain_cli.results.versions import VERSION

_TEMPLATE = "page.html"
#: A per cent sign behind a space where no line ends.
_UNIT = "\u00a0%"


def page_html(page: Page) -> bytes:
    """The whole document, UTF-8. The same page gives the same bytes. Raises `BadInput` without jinja2."""
    try:
        from markupsafe import Markup
    except ImportError:
        raise missing_package("--html", "jinja2", "html") from None

    style, script = _text("page.css"), _text("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}';"
        " base-uri 'none'; form-action 'none'"
    )
    html = _environment().get_template(_TEMPLATE).render(
        page=page, style=Markup(style), script=Markup(script), policy=Markup(policy), svg=Markup,
        version=VERSION,
    )  # fmt: skip
    return unmarked(html, "&#35;").encode()


@functools.cache
def _environment() -> Any:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError:
        raise missing_package("--html", "jinja2", "html") from None
    return Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalized,
        loader=FunctionLoader(_text),
    )  # fmt: skip


def _finalized(value: Any) -> Any:
    """Texts as people may see them, a figure never apart from its unit; what is markup has escaped itself."""
    return clipped(value).replace(" %", _UNIT) if type(value) is str else value


@functools.cache
def _text(name: str) -> str:
    from importlib.resources import files

    return files(__package__).joinpath("template", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
