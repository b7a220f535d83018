"""A model's own tokenizer: texts -> token numbers, by the packages `tokenizers` and `transformers`.

    FOLDER/tokenizer.json                  a tokenizer of `tokenizers`, read as it is
    FOLDER/tokenizer_config.json, vocab... what `transformers.AutoTokenizer` makes of a model's folder

The folder is `--tokenizer`, else the one that the model lies in. Nothing is downloaded, and code that a
folder brings is never run. The model's configuration, where there is one, says which number stands for
padding, since a model makes its mask from that number, and how many places it has.

Left out: tokenizers without a fast form (`tokenizers`), several special modes, texts of more than two parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtrain_cli.data.room import short
from qtrain_cli.errors import BadInput, Refused, UsageError, missing_package
from qtrain_cli.files.json_file import read_object
from qtrain_cli.files.reading import open_ordinary

TOKENIZER, SETTINGS, MODEL = "tokenizer.json", "tokenizer_config.json", "config.json"
#: Files by any of which a folder is known to have a tokenizer.
_KNOWN_BY = (TOKENIZER, SETTINGS, "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model")
#: Tokens of a text where neither tokenizer nor model says how many there may be.
USUAL_LENGTH = 512
#: Written for "no limit": larger numbers are none.
_NO_LIMIT = 10**6
#: Models whose first place is that after the padding number's (`create_position_ids_from_input_ids`).
_PLACES_AFTER_PADDING = (
    "roberta",
    "camembert",
    "longformer",
    "mpnet",
    "esm",
    "data2vec-text",
    "luke",
    "mobilebart",
)
#: Of texts, one or two a row.
Texts = Sequence[tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """One that is ready: `words` numbers, `padding` among them, at most `limit` tokens a text (or pair).

    `separator` ends the first text of a pair, where the model is told which of both a token is of.
    """

    backend: Any
    name: str
    words: int
    padding: int
    limit: int
    separator: int | None = None

    def __call__(self, texts: Texts) -> tuple[list[list[int]], int]:
        """The numbers of each row, special tokens included, and how many rows were cut off."""
        pairs = [row if len(row) == 2 else row[0] for row in texts]
        found = self.backend.encode_batch(pairs, add_special_tokens=True)
        return [one.ids for one in found], sum(1 for one in found if one.overflowing)

    def of_words(self, rows: Sequence[list[str]]) -> tuple[list[list[int]], list[list[int | None]], int]:
        """The same of texts that are lists of words, and of which word of its row each token is."""
        found = self.backend.encode_batch(rows, is_pretokenized=True, add_special_tokens=True)
        cut = sum(1 for one in found if one.overflowing)
        return [one.ids for one in found], [one.word_ids for one in found], cut


def tokenizer_folder(said: Path | None, beside: Path | None) -> Path | None:
    """Where the tokenizer is: what was said, or the model's folder if it has one."""
    if said is not None:
        return said
    return beside if beside and any((beside / name).is_file() for name in _KNOWN_BY) else None


def load_tokenizer(place: Path, beside: Path | None, most: int | None) -> Tokenizer:
    """The tokenizer of a folder, or of a ``tokenizer.json``.

    Args:
        place: the folder or file.
        beside: the folder that the model lies in.
        most: `--max-length`.

    Raises:
        BadInput: there is none, it is damaged, or a package is missing. UsageError: `most` is beyond what the
            model has places for. Refused: it is code of the folder's own.
    """
    folder, settings, model = _configurations(place, beside)
    backend, padding, named = _backend(folder, place, settings)
    words = backend.get_vocab_size(with_added_tokens=True)
    padding = _whole(model.get("pad_token_id"), padding, words)
    limit = _limit(settings, model, named, padding)
    if most is not None and limit is not None and most > limit:
        raise UsageError(
            f"--max-length is {most}; the model takes at most {limit} tokens", f"give {limit} or less"
        )
    limit = most or min(limit or USUAL_LENGTH, USUAL_LENGTH)
    special = backend.num_special_tokens_to_add(is_pair=True)
    if limit <= special:
        raise UsageError(
            f"--max-length {limit} leaves no room for text beside {special} special tokens", "give more"
        )
    backend.no_padding()
    backend.enable_truncation(limit)
    separator = _separator(backend) if _at_least_two(model.get("type_vocab_size")) else None
    return Tokenizer(backend, folder.name or str(folder), words, padding, limit, separator)


def _at_least_two(kinds: Any) -> bool:
    return type(kinds) is int and kinds >= 2


def _separator(backend: Any) -> int | None:
    """The last token of a pair's first text; None where the tokenizer does not tell them apart."""
    found = backend.encode("a", "a", add_special_tokens=True)
    first = found.type_ids.index(1) if 1 in found.type_ids else 0
    return int(found.ids[first - 1]) if first else None


def _configurations(place: Path, beside: Path | None) -> tuple[Path, Mapping[str, Any], Mapping[str, Any]]:
    """The folder, the tokenizer's settings, and the configuration of the model (empty where there is
    none)."""
    folder = place.parent if place.is_file() else place
    if not folder.is_dir():
        raise BadInput(f"the tokenizer's folder '{place}' does not exist", "check --tokenizer")
    settings = read_object(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    own = next((one / MODEL for one in (beside, folder) if one and (one / MODEL).is_file()), None)
    return folder, settings, read_object(own) if own else {}


def _backend(folder: Path, place: Path, settings: Mapping[str, Any]) -> tuple[Any, int | None, int | None]:
    """The tokenizer of `tokenizers`, its padding number, and its own limit, as far as they are known."""
    file = place if place.is_file() else folder / TOKENIZER
    if settings.get("auto_map"):
        raise Refused(
            f"the tokenizer of '{folder.name}' is code of the folder's own, which qtrain does not run",
            f"save it as a {TOKENIZER} of the package tokenizers",
        )
    known = tokenizer_folder(None, folder) is not None
    if known and not place.is_file() and (settings or not file.is_file()):
        made = _by_transformers(folder)
        if made is not None:
            return made.backend_tokenizer, made.pad_token_id, made.model_max_length
    if not file.is_file():
        raise BadInput(
            f"'{folder}' has no {TOKENIZER}", "give the folder of the model's tokenizer by --tokenizer"
        )
    backend = _by_tokenizers(file)
    padded = backend.padding or {}
    return backend, padded.get("pad_id", _named_padding(backend, settings)), None


def _by_tokenizers(file: Path) -> Any:
    try:
        import tokenizers
    except ImportError:
        raise missing_package(f"'{file.name}'", "tokenizers", "hf") from None
    open_ordinary(file).close()
    try:
        return tokenizers.Tokenizer.from_file(str(file))
    except BaseException as error:  # of Rust's, whose panics are no `Exception`
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise BadInput(
            f"'{file.name}' is no tokenizer: {short(str(error))}", "save or download it again"
        ) from None


def _by_transformers(folder: Path) -> Any:
    """What `AutoTokenizer` makes of the folder; None where the package is not there."""
    try:
        import transformers
    except ImportError:
        return None
    transformers.utils.logging.set_verbosity_error()
    try:
        made = transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_fast=True
        )
    except Exception as error:  # of its own choosing
        raise BadInput(
            f"transformers makes no tokenizer of '{folder.name}': {short(str(error))}",
            "give the folder of the model's tokenizer by --tokenizer",
        ) from None
    if not getattr(made, "is_fast", False):
        raise BadInput(f"the tokenizer of '{folder.name}' has no fast form", f"save it as {TOKENIZER}")
    return made


def _named_padding(backend: Any, settings: Mapping[str, Any]) -> int | None:
    named = settings.get("pad_token")
    named = named.get("content") if isinstance(named, Mapping) else named
    names = (named, "[PAD]", "<pad>", "<|pad|>", "[pad]", "</s>", "<|endoftext|>")
    found = (backend.token_to_id(name) for name in names if isinstance(name, str))
    return next((number for number in found if number is not None), None)


def _whole(configured: Any, own: int | None, words: int) -> int:
    """The padding number: the model's, which masks by it, else the tokenizer's, else 0."""
    found = configured if type(configured) is int and 0 <= configured < words else own
    return 0 if found is None else found


def _limit(
    settings: Mapping[str, Any], model: Mapping[str, Any], named: int | None, padding: int
) -> int | None:
    """How many tokens the model has places for, as far as anyone says."""
    places = model.get("max_position_embeddings") or model.get("n_positions")
    if type(places) is int and str(model.get("model_type")) in _PLACES_AFTER_PADDING:
        places -= padding + 1
    said: tuple[Any, ...] = (named, settings.get("model_max_length"), places)
    limits = [int(one) for one in said if type(one) in (int, float) and 0 < one < _NO_LIMIT]
    return min(limits, default=None)
