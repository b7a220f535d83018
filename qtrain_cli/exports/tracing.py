"""A module's graph for the exports that carry one: trace it once, run it eagerly as their oracle.

`trace` copies the module twice, gives the copies the weights of `state` on the CPU, and runs
`torch.export` on a batch of two (a batch of one would be taken for a constant) with a free batch dimension:

    state + module + example (k, ...) -> ExportedProgram with inputs (batch, ...), batch >= 1

A module whose code fixes the batch size is traced for a batch of one, and `note` says so. Source lines and
example inputs are taken out of the program: the first hold the exporter's file paths, the second would be
stored as a pickle. What outputs are compared with is the other copy, used as anyone uses the weights:
loaded by `load_state_dict`, then put into evaluation mode by `eval()`. Of several outputs the graph has the
one that counts (`models.outputs.first_tensor`). Left out: other dynamic dimensions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from qtrain_cli.data.inputs import Inputs, lead_of, mapped, shape_in_words, tensors_in
from qtrain_cli.errors import BadInput, RunFailed
from qtrain_cli.exports.packed import packed_as_padded
from qtrain_cli.models.arguments import arguments_of
from qtrain_cli.models.fixed_batch import fixed_rows
from qtrain_cli.models.in_place import own_streams, twin_of
from qtrain_cli.models.outputs import first_tensor
from qtrain_cli.models.precision import precision_of
from qtrain_cli.models.probes import PROBE_SEED, readable

PLAIN_ADVICE = "write .safetensors or .pt, which hold the weights without the graph"


@dataclass(frozen=True)
class RealRows:
    """Inputs (k, ...) that are no example but rows of somebody's data, as the model is given them."""

    inputs: Inputs


@dataclass(frozen=True)
class Traced:
    """A module in eval mode with the exported weights, and the graph traced from it; `loaded` is its oracle.

    `example` is (2, ...), or a batch of the one size that is allowed; `note` is empty unless it is fixed.
    `rows` are of somebody's data, if there are any.
    """

    module: nn.Module
    loaded: nn.Module
    program: ExportedProgram
    example: Inputs
    note: str
    rows: Inputs | None = None

    @property
    def dynamic(self) -> bool:
        """True when the graph takes any batch size."""
        return not self.note

    def probes(self) -> list[Inputs]:
        """Seeded inputs to compare outputs on: batches of 1 and 3, or of the one size that is allowed; real
        rows besides, if there are any."""
        generator = torch.Generator().manual_seed(PROBE_SEED)
        sizes = (1, 3) if self.dynamic else (len(self.example),)
        return [_rows_like(self.example, size, generator) for size in sizes] + self._real()

    def _real(self) -> list[Inputs]:
        if self.rows is None:
            return []
        if self.dynamic:
            return [self.rows]
        size, whole = len(self.example), mapped(lambda part: _filled_up(part, len(self.example)), self.rows)
        return list(whole.split(size))

    @property
    def compared(self) -> str:
        """On what outputs are compared."""
        real = "" if self.rows is None else f"{len(self.rows)} rows of the data and on "
        return f"{real}seeded random inputs"

    def shapes(self, free: Any) -> Any:
        """`free` for each tensor of a call, as `torch.export` and the ONNX exporter take it."""
        return shapes_of(self.module, self.example, free)

    def calls(self, graph: Callable[..., Any]) -> Callable[[Inputs], Tensor]:
        """A graph of the program, given inputs as the module is."""

        def outputs(inputs: Inputs) -> Tensor:
            placed, named = arguments_of(self.module, inputs)
            found: Tensor = graph(*placed, **named)
            return found

        return outputs

    def eager(self, inputs: Inputs) -> Tensor:
        """What plain PyTorch computes. Raises `BadInput` if the module cannot run on `inputs`."""
        with own_streams(PROBE_SEED):
            return _run(self.loaded, inputs)

    def draws(self, inputs: Inputs) -> bool:
        """Whether the module draws random numbers in evaluation: its outputs depend on their seed."""
        with own_streams(PROBE_SEED + 1):
            return not torch.allclose(_run(self.loaded, inputs), self.eager(inputs), equal_nan=True)


def trace(module: nn.Module, state: Mapping[str, Tensor], example: Inputs | RealRows) -> Traced:
    """The graph of `module` holding `state`; `module` itself stays as it is.

    Args:
        module: takes inputs (k, ...) and returns what counts as one tensor.
        state: a complete state dictionary for it, on any device.
        example: a batch of k >= 1 inputs, or real rows; floats are cast to the weights' dtype.

    Raises:
        BadInput: `state` does not fit `module`, or `module` does not run on `example`.
        RunFailed: `torch.export` cannot trace the module.
    """
    if isinstance(example, RealRows):
        rows = _as_read(example.inputs, holding(module, state))
        return replace(trace(module, state, rows), rows=rows)
    held, loaded = holding(module, state), _loaded(module, state)
    pair = mapped(_two_of, _as_read(example, held))
    if size := fixed_rows(module):
        return _of_one_size(held, loaded, mapped(lambda part: _repeated(part, size), pair))
    pair = readable(pair, held, _run)
    try:
        return Traced(held, loaded, _program(held, pair, {0: Dim("batch", min=1)}), pair, "")
    except Exception as error:
        note = f"the batch size is fixed at 1, because the module cannot be traced without: {reason(error)}"
    try:
        return Traced(held, loaded, _program(held, pair[:1], None), pair[:1], note)
    except Exception as error:
        raise RunFailed(f"the module cannot be traced: {reason(error)}", PLAIN_ADVICE) from error


def _of_one_size(held: nn.Module, loaded: nn.Module, batch: Inputs) -> Traced:
    """The graph of an archive that takes batches of this size only."""
    _run(held, batch)
    try:
        note = f"the batch size is fixed at {len(batch)}, as in the archive that the model comes from"
        return Traced(held, loaded, _program(held, batch, None), batch, note)
    except Exception as error:
        raise RunFailed(f"the module cannot be traced: {reason(error)}", PLAIN_ADVICE) from error


#: What torch and its exporters say of sizes and branches that are known once it runs: u0 is the first, which
#: no name in someone's code is (self.u1, 'u1').
_UNBACKED = re.compile(r"unbacked|data[- ]?dependent|(?<![\w.'])u\d+(?![\w'])", re.IGNORECASE)
_NO_GRAPH = (
    "a size or a branch in its code depends on the values of the inputs (as in x[mask], or an if on a"
    " tensor), and a graph has but one"
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def reason(error: BaseException) -> str:
    """What an error means, where that is known; else the first line of what others wrote for a whole screen,
    or its class if it says nothing. Of an error that only says in which step another arose, the other's."""
    causes = list(_causes(error))
    if any(_UNBACKED.search(str(cause)) for cause in causes):
        return _NO_GRAPH
    told = causes[-1] if "Next steps" in str(error) else error
    lines = _COLOURS.sub("", str(told)).strip().splitlines()
    return lines[0] if lines else type(told).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def holding(module: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A CPU copy of `module` in eval mode with the weights, and the dtypes, of `state`."""
    held = _twin(module, state)
    for part in held.modules():
        # Not eval(), which the modules of torch.export refuse, and where an adapter merges its tensors.
        part.training = False
    _load(held, state)
    return held


def _loaded(module: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Another one, with the weights loaded as their user loads them."""
    loaded = _twin(module, state)
    _set_mode(loaded, training=True)
    _load(loaded, state)
    _set_mode(loaded, training=False)
    return loaded


def _twin(module: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    twin = twin_of(module).cpu()
    twin.register_forward_hook(lambda module, args, outputs: first_tensor(outputs))
    for name, tensor in (*twin.named_parameters(), *twin.named_buffers()):
        if name in state:
            tensor.data = tensor.data.to(state[name].dtype)
    return twin


def _load(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    try:
        module.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        advice = "give the architecture that the weights were made for"
        raise BadInput(f"the module does not fit the weights: {error}", advice) from error


def _set_mode(module: nn.Module, training: bool) -> None:
    """`train()` or `eval()`, which the modules of torch.export refuse: they have one mode."""
    try:
        module.train(training)
    except NotImplementedError:
        module.training = training


def _as_read(example: Inputs, module: nn.Module) -> Inputs:
    """The rows of `example` (k, ...), in the dtype of the module's weights."""
    for part in tensors_in(example):
        if part.dim() == 0 or len(part) == 0:
            raise BadInput(
                f"the example input has the shape {list(part.shape)}; allowed: 1 row or more",
                "give rows with --data, or write .safetensors, which needs none",
            )
    rows = example.detach().cpu()
    precision = precision_of(module, rows) if lead_of(rows).is_floating_point() else None
    return mapped(lambda part: part.to(precision) if part.is_floating_point() else part, rows)


def _two_of(part: Tensor) -> Tensor:
    return torch.cat([part[:2], part[:2]])[:2].clone()  # (2, ...)


def _run(module: nn.Module, inputs: Inputs) -> Tensor:
    placed, named = arguments_of(module, inputs)
    try:
        with torch.no_grad():
            outputs = module(*placed, **named)
    except Exception as error:
        if isinstance(error, BadInput):
            raise
        advice = "give the input shape that the module was made for"
        raise BadInput(f"the module fails on {shape_in_words(inputs)}: {reason(error)}", advice) from error
    if not isinstance(outputs, Tensor):
        raise BadInput(f"the module returns a {type(outputs).__name__}; allowed: one tensor", PLAIN_ADVICE)
    return outputs


def shapes_of(module: nn.Module, inputs: Inputs, free: Any) -> Any:
    """`free` in the place of each tensor of the call of `module` with these inputs."""
    placed, named = arguments_of(module, inputs)
    if named:
        return dict.fromkeys(named, free)
    return tuple(dict.fromkeys(one, free) if isinstance(one, dict) else free for one in placed)


def _program(module: nn.Module, example: Inputs, free: dict[int, Dim] | None) -> ExportedProgram:
    placed, named = arguments_of(module, example)
    shapes = None if free is None else shapes_of(module, example, free)
    with packed_as_padded(module), _masks_alone():
        program = torch.export.export(module, placed, named or None, dynamic_shapes=shapes)
    program.example_inputs = None
    for graph in program.graph_module.modules():
        if isinstance(graph, torch.fx.GraphModule):
            for node in graph.graph.nodes:
                node.meta.pop("stack_trace", None)
    return program


def _rows_like(example: Inputs, size: int, generator: torch.Generator) -> Inputs:
    return mapped(lambda part: _random_like(part, size, generator), example)


@contextmanager
def _masks_alone() -> Iterator[None]:
    """Decoders look at a mask's values for whether it is causal, which only makes them faster."""
    detect = torch.nn.modules.transformer._detect_is_causal_mask
    torch.nn.modules.transformer._detect_is_causal_mask = _said_causal
    try:
        yield
    finally:
        torch.nn.modules.transformer._detect_is_causal_mask = detect


def _said_causal(mask: Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
    return is_causal is True


def _random_like(example: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """`size` rows: normal numbers for a float example; its own rows, which are in range, for any other."""
    if example.is_floating_point():
        return torch.randn((size, *example.shape[1:]), generator=generator).to(example.dtype)
    return _repeated(example, size)


def _filled_up(rows: Tensor, size: int) -> Tensor:
    """All rows in whole batches of a size, the first ones once more at the end."""
    return _repeated(rows, math.ceil(len(rows) / size) * size)


def _repeated(rows: Tensor, size: int) -> Tensor:
    """So many rows, the same ones again and again: (k, ...) -> (size, ...)."""
    return rows.repeat(math.ceil(size / len(rows)), *[1] * (rows.dim() - 1))[:size]
