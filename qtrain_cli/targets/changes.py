"""Which tensors a file of changes generates: differences of whole tensors, or factors of matrices.

    delta    every selected tensor, and what the base lacks
    lora     a factor B (rows, r) of each selected matrix (a convolution's is (out, in * kernel)), and what
             the base lacks
    lora-xs  R (r, r) between the matrix's own leading directions, and what the base lacks
             (Balazy et al. 2024, arXiv 2405.17604)

The matrices are named as PEFT names them: a layer by the end of its path (``query,value``), ``all-linear``
for all linear layers but the output's; where none are named, those of attention that PEFT itself
takes. `--targets` and `--ignore` take this project's patterns too, and of differences the word ``biases``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor, nn

from qtrain_cli.errors import BadInput, UsageError, suggestion
from qtrain_cli.targets.change import DELTA, FACTORED, LORA, XS, Wanted, factor_of
from qtrain_cli.targets.entries import GENERATED, KEPT, TIED, LayoutSpec, TensorEntry
from qtrain_cli.targets.layout import layout_of, matches_pattern

ALL_LINEAR = "all-linear"
#: What classifiers of Hugging Face call their last layer.
LAST_LAYERS = ("score", "classifier")
#: `--targets` of differences: every bias and every scale of a normalisation, but of these layers, the first
#: and one that most heads do not ask.
BIASES, NOT_BIASES = "biases", ("embed", "pooler")
#: The last names of the layers of attention whose factors are learned, by family; the first found counts.
ATTENTION = (
    ("query", "value"), ("q_proj", "v_proj"), ("q_lin", "v_lin"), ("q", "v"), ("query_key_value",),
    ("c_attn",), ("qkv_proj",), ("Wqkv",), ("qkv",), ("in_proj_weight",),
)  # fmt: skip
#: Of a transformer of more weights the differences of its biases alone are tried, and factors of its
#: attention; without data to try them on it is the former. Any other model has differences of all.
MANY_WEIGHTS = 10**6
#: A head is this many times as large as an initialiser would have it, for one and the same movement of the
#: numbers: of 1, 3 and 8 the one that learned TREC best.
NEW_HEAD_GAIN = 3
RANKS = {LORA: 4, XS: 8}
#: s, where none is asked for.
SCALES = {LORA: 0.2, XS: 0.1, DELTA: 0.4, BIASES: 3.0}


def settled_target(
    wanted: Wanted | None, module: nn.Module, targets: Sequence[str]
) -> tuple[Wanted, tuple[str, ...]]:
    """The target and the tensors with nothing left open."""
    chosen = tuple(name for text in targets for name in text.split(",") if name)
    of_peft = bool(chosen) and all(_is_of_peft(module, name) for name in chosen)
    wanted = wanted or Wanted(LORA if of_peft else DELTA)
    if wanted.kind == DELTA and not chosen and _is_large_transformer(module):
        chosen = (BIASES,)
    usual = BIASES if wanted.kind == DELTA and chosen == (BIASES,) else wanted.kind
    rank = (wanted.rank or RANKS[wanted.kind]) if wanted.kind in FACTORED else 0
    return wanted._replace(rank=rank, scale=wanted.scale or SCALES[usual]), chosen


def _is_of_peft(module: nn.Module, pattern: str) -> bool:
    """Whether `--targets` names layers as PEFT does, and no tensor as we do."""
    names = [name for name, _ in module.named_parameters()]
    if pattern in (ALL_LINEAR, BIASES) or any(matches_pattern(pattern, name, "--targets") for name in names):
        return pattern == ALL_LINEAR
    return any(_is_end(pattern, _layer_of(name)) for name, _ in _named_matrices(module))


def candidates(module: nn.Module) -> list[tuple[Wanted, tuple[str, ...]]]:
    """The targets with their tensors that are worth trying where none are named, the likeliest first."""
    if not _is_large_transformer(module):
        return [(Wanted(DELTA), ())]
    return [(Wanted(DELTA), (BIASES,)), (Wanted(LORA), _attention(module))]


def _is_large_transformer(module: nn.Module) -> bool:
    many = sum(tensor.numel() for tensor in module.parameters()) > MANY_WEIGHTS
    return many and bool(_attention(module))


def changes_layout(
    module: nn.Module, wanted: Wanted, lacking: frozenset[str], targets: Sequence[str], ignore: Sequence[str]
) -> LayoutSpec:
    """The layout of a file of changes: generated entries, and buffers that the base lacks.

    Args:
        module: the model, with the head that the base may lack.
        wanted, targets: settled (`settled_target`).
        lacking: the names that the base lacks.
        ignore: the option; a tensor that the base lacks is always generated.

    Raises:
        UsageError: a pattern that matches nothing. BadInput: nothing is left to generate.
    """
    whole = layout_of(module, (), ()).entries
    new = [_from_zero(entry) for entry in whole if entry.name in lacking and entry.role != TIED]
    matrices = [entry for entry in new if entry.role == GENERATED and len(entry.shape) > 1]
    if len(matrices) == 1:
        new = [_head(entry) if entry in matrices else entry for entry in new]
    if wanted.kind == DELTA:
        chosen = layout_of(module, _spelt_out(module, targets), ignore).of_role(GENERATED)
        old = [_from_zero(entry) for entry in chosen if entry.name not in lacking]
    else:
        names = [name for name in _matrices(module, targets, ignore) if name not in lacking]
        shapes = {entry.name: entry.shape for entry in whole if entry.role != TIED}
        old = [_factor(name, shapes[name], wanted) for name in names if name in shapes]
    return LayoutSpec((*old, *new))


def lora_numbers(
    module: nn.Module, wanted: Wanted, lacking: frozenset[str], targets: Sequence[str], ignore: Sequence[str]
) -> int:
    """How many numbers an ordinary LoRA has, A, B and what the base lacks: of factors that of their rank and
    matrices, beside differences the usual one, 0 of a module without matrices. Arguments as those of
    `changes_layout`."""
    rank, patterns = (wanted.rank, (targets, ignore)) if wanted.rank else (RANKS[LORA], ((), ()))
    try:
        layout = changes_layout(module, Wanted(LORA, rank), lacking, *patterns)
    except BadInput:
        return 0
    shapes = {factor_of(name): tensor.shape for name, tensor in _named_matrices(module)}
    factors = [entry.name for entry in layout.of_role(GENERATED) if entry.name in shapes]
    return layout.generated + rank * sum(math.prod(shapes[name][1:]) for name in factors)


def _spelt_out(module: nn.Module, targets: Sequence[str]) -> list[str]:
    """The patterns with `BIASES` as names. Raises `BadInput` where the model has none."""
    named = module.named_parameters()
    biases = [name for name, tensor in named if tensor.dim() == 1 and not _is_apart(name)]
    if BIASES in targets and not biases:
        raise BadInput("the model has no biases", "name its tensors with --targets")
    return [name for pattern in targets for name in (biases if pattern == BIASES else [pattern])]


def _is_apart(name: str) -> bool:
    return any(part in name.lower() for part in NOT_BIASES)


def _from_zero(entry: TensorEntry) -> TensorEntry:
    """A difference is float32, around zero; a constant row stays the base's. A buffer is kept."""
    if entry.role == KEPT:
        return entry
    return replace(entry, dtype="F32", centre=0.0, stored="")


def _head(entry: TensorEntry) -> TensorEntry:
    """A head that begins at zero, with its steps."""
    return replace(entry, fan_in=max(1, round(entry.fan_in / NEW_HEAD_GAIN**2)))


def _factor(name: str, shape: tuple[int, ...], wanted: Wanted) -> TensorEntry:
    rank, least = wanted.rank, min(shape[0], math.prod(shape[1:]))
    if wanted.kind == XS and rank > least:
        raise BadInput(f"'{name}' has {least} directions, and not {rank}", "lower --target lora-xs:rank=")
    rows = rank if wanted.kind == XS else shape[0]
    return TensorEntry(factor_of(name), (rows, rank), "F32", GENERATED, fan_in=rank)


def _matrices(module: nn.Module, targets: Sequence[str], ignore: Sequence[str]) -> list[str]:
    """The names of the matrices that get factors, in the model's order."""
    there = dict(_named_matrices(module))
    wanted = tuple(targets) or _attention(module) or (ALL_LINEAR,)
    linear = _linear(module, there)
    chosen = {name for pattern in wanted for name in _selected(pattern, there, linear, "--targets")}
    chosen -= {name for pattern in ignore for name in _selected(pattern, there, linear, "--ignore")}
    if not chosen:
        raise BadInput("no matrix is left to give factors to", "widen --targets or narrow --ignore")
    return [name for name in there if name in chosen]


def _named_matrices(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Each parameter of two axes and more, once."""
    yield from ((name, tensor) for name, tensor in module.named_parameters() if tensor.dim() >= 2)


def _selected(pattern: str, there: dict[str, Tensor], linear: list[str], option: str) -> list[str]:
    if pattern == ALL_LINEAR:
        return linear
    found = [name for name in there if matches_pattern(pattern, name, option) or _ends_with(name, pattern)]
    if not found:
        layers = {name.split(".")[-2] for name in there if "." in name}
        raise UsageError(f"{option} '{pattern}' matches no matrix", suggestion(pattern, layers))
    return found


def _ends_with(name: str, pattern: str) -> bool:
    """Whether a layer, or its own tensor, is called so: PEFT's way."""
    return any(_is_end(pattern, path) for path in (name, _layer_of(name)))


def _is_end(pattern: str, path: str) -> bool:
    return f".{path}".endswith(f".{pattern}")


def _layer_of(name: str) -> str:
    """The path of the layer whose tensor this is."""
    return name.rpartition(".")[0]


def _linear(module: nn.Module, there: dict[str, Tensor]) -> list[str]:
    """What PEFT takes for ``all-linear`` of a model of Hugging Face; of any other, and of one without linear
    layers, every matrix but the embeddings and, where there are several, the last."""
    layers = _linear_layers(module)
    if found := [name for name in there if _layer_of(name) in layers]:
        return found
    names = [name for name in there if "embed" not in name.lower() and there[name].shape[0] < 20_000]
    return names[:-1] or names


def _linear_layers(module: nn.Module) -> set[str]:
    """PEFT's: linear layers of a model of Hugging Face, GPT-2's `Conv1D` too, but the output's embeddings or,
    without any, the last layer of a classifier. None of any other model."""
    embeddings_of_output = getattr(module, "get_output_embeddings", None)
    if embeddings_of_output is None:
        return set()
    output = embeddings_of_output()
    apart = [getattr(module, name, None) for name in LAST_LAYERS] if output is None else [output]
    linear = ((path, layer) for path, layer in module.named_modules() if _is_linear(layer))
    return {path for path, layer in linear if layer not in apart}


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or is_turned(layer)


def is_turned(layer: nn.Module) -> bool:
    """Whether a layer is GPT-2's `Conv1D`, whose matrix is (in, out)."""
    return type(layer).__name__ == "Conv1D"


def _attention(module: nn.Module) -> tuple[str, ...]:
    """The names of the first family of which the module has every one."""
    names = [name for name, _ in _named_matrices(module)]
    for family in ATTENTION:
        if all(any(_ends_with(name, last) for name in names) for last in family):
            return family
    return ()
