"""What `torch.save` wrote, to a module: a state dictionary with ``--arch``, or a whole pickled module.

The file is read twice: first its structure, on the meta device, so that every mismatch is reported before a
tensor is read or the real model is built; then its numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from qtrain_cli.errors import Refused
from qtrain_cli.models.entries import Entry, choose_entry, require_numbers, require_plain, tensors_of
from qtrain_cli.models.matching import fit_to_architecture
from qtrain_cli.models.opened import ModelFile, nothing_unexpected
from qtrain_cli.models.pickles import is_module, read_trusted, read_weights_only
from qtrain_cli.models.reading import ReadModel, said_choice
from qtrain_cli.models.untrusted.sizes import require_within_file
from qtrain_cli.models.untrusted.stand_ins import StockRecord
from qtrain_cli.models.untrusted.stock_layers import rebuild_module
from qtrain_cli.settings import ModelSettings


def load_weights_file(settings: ModelSettings, form: str, file: ModelFile) -> ReadModel:
    """The module, its set of weights, and the trust it took: as little as possible, even with
    ``--trust-pickle``.

    Raises:
        Refused: the file wants to run something, and `settings` does not trust it.
        BadInput: damaged, no or several sets of weights, or weights that do not fit ``--arch``.
    """
    try:
        return _load_safely(settings, form, file)
    except Refused:
        if not settings.trust_pickle:
            raise
    entry = _choose(settings, read_trusted(file, form))
    return _to_module(settings, entry, lambda: entry, "trusted-pickle")


def _load_safely(settings: ModelSettings, form: str, file: ModelFile) -> ReadModel:
    with nothing_unexpected(file.name):
        outline = _choose(settings, read_weights_only(file, form, "meta"))
        trust = "stock-layers" if is_module(outline.value) else "weights-only"
        outline = _without_stand_ins(outline)
        require_within_file(_tensors(outline), file.size)

    def read() -> Entry:
        with nothing_unexpected(file.name):
            return _without_stand_ins(_choose(settings, read_weights_only(file, form, "cpu")))

    return _to_module(settings, outline, read, trust)


def _choose(settings: ModelSettings, tree: Any) -> Entry:
    return choose_entry(tree, settings.weights, is_module, settings.path.name)


def _without_stand_ins(entry: Entry) -> Entry:
    if isinstance(entry.value, StockRecord):
        return replace(entry, value=rebuild_module(entry.value))
    return entry


def _to_module(settings: ModelSettings, outline: Entry, read: Callable[[], Entry], trust: str) -> ReadModel:
    """The module of the entry that `read` reads; `outline` is the same entry, perhaps without numbers."""
    name, notes = settings.path.name, said_choice(outline.path, outline.others)
    entry = outline.path if outline.others or settings.weights else None
    require_plain(_tensors(outline), name)

    def numbers() -> dict[str, Tensor]:
        tensors = _tensors(read())
        require_numbers(tensors, name)
        return tensors

    if isinstance(outline.value, nn.Module) and settings.arch is None:
        module = read().value
        require_numbers(_tensors(Entry("", module)), name)
        return ReadModel(module.cpu(), trust, entry, notes)
    fitted = fit_to_architecture(settings, _tensors(outline), numbers)
    return ReadModel(fitted.module, trust, entry, (*notes, *fitted.notes))


def _tensors(entry: Entry) -> dict[str, Tensor]:
    state = entry.value.state_dict() if isinstance(entry.value, nn.Module) else entry.value
    return tensors_of(state)
