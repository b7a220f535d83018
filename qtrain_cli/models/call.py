"""How a model is called: with other tensors in place of its own, on one batch or on whole splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from qtrain_cli.data.inputs import Inputs, Prepare, lead_of, lengths_of, numbers_in_row, shape_in_words
from qtrain_cli.errors import BadInput, QtrainError, is_out_of_memory
from qtrain_cli.files.spilled import let_go
from qtrain_cli.models.arguments import arguments_of
from qtrain_cli.models.in_place import run_in_place, unchanged
from qtrain_cli.models.mixed import attention_in, products_in
from qtrain_cli.models.outputs import first_tensor
from qtrain_cli.models.precision import advice_on, as_read
from qtrain_cli.settings import FLOAT32

#: A batch in evaluation has at most so many rows.
EVALUATION_ROWS = 1000
#: And so many input numbers, on a processor and on a GPU: 341 of 3x32x32 and 6 of 3x224x224, or 1,000 and 27.
#: Half of the time that more of them take on a processor goes by in getting and clearing memory.
EVALUATION_NUMBERS, GPU_NUMBERS = 2**20, 2**22
#: And, of rows that have a length, so many tokens with their padding: what a layer makes of more leaves a
#: processor's caches, and the longest of 1,000 rows is three times their mean.
EVALUATION_TOKENS, GPU_TOKENS = 2**12, 2**16


def call_model(
    module: nn.Module, state: Mapping[str, Tensor], inputs: Inputs, precision: str = FLOAT32
) -> Tensor:
    """The outputs (N, ...) for inputs (N, ...) with `state` in place of the module's own tensors.

    Inputs that are no token numbers take the precision of the parameters that read them (`precision`), and
    several stand in the call as `arguments` says; outputs come back as float32. Differentiable in the tensors
    of `state` that require gradients. Names that are tied in the module must share one tensor in `state`. A
    buffer to which the module assigns a new tensor is replaced in `state`, if that is a dictionary
    (`in_place`). `precision` is that of the module's products (`mixed`).

    Raises:
        BadInput: the model fails on these inputs, or does not return a tensor with a row for each.
    """
    given = as_read(module, inputs).detach()
    with _failing_as_ours(module, inputs):
        lead = lead_of(given)
        again = partial(attention_in, precision, lead.device)
        with products_in(precision, lead.device):
            outputs = run_in_place(module, state, lead, lambda: _called(module, given), again)
    return _plain(outputs)


def _plain(outputs: Tensor) -> Tensor:
    return outputs.float() if outputs.is_floating_point() else outputs


def _called(module: nn.Module, inputs: Inputs) -> Tensor:
    """Raises `BadInput` for what is no tensor with a row for each input."""
    placed, named = arguments_of(module, inputs)
    outputs = first_tensor(module(*placed, **named))
    if not isinstance(outputs, Tensor) or outputs.shape[:1] != (len(inputs),):
        found = list(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise BadInput(
            f"the model returns {found}{_mode(module)} for {shape_in_words(inputs)}",
            "the model must return a tensor with a row for each input, alone or first of several: pick"
            " another of its outputs with --output, or name a class by --arch whose forward makes one",
        )
    return outputs


@contextmanager
def _failing_as_ours(module: nn.Module, inputs: Inputs) -> Iterator[None]:
    mode = _mode(module)
    try:
        yield
    except Exception as error:
        if isinstance(error, QtrainError) or is_out_of_memory(error):
            raise
        raise BadInput(
            f"the model does not take {shape_in_words(inputs)}{mode} ({_first_line(error)})",
            advice_on(error),
        ) from error


def _mode(module: nn.Module) -> str:
    return " in training mode" if module.training else ""


def joined(path: str, name: str) -> str:
    """The name in a state dictionary of a layer's own tensor; the path of the whole model is empty."""
    return f"{path}.{name}" if path else name


def predict(
    module: nn.Module,
    state: Mapping[str, Tensor],
    inputs: Inputs,
    prepare: Prepare,
    there: bool = False,
) -> Tensor:
    """Outputs of the model as its user has it with `state`: loaded, then in evaluation mode. (N, ...) on the
    CPU, or where the state is (`there`).

    Tensors that `state` lacks are the module's own. The module is as it was afterwards. Rows that have a
    length go to it with those of like length, and come back in their own order.

    Raises:
        BadInput: as `call_model`, or the module does not take the state.
    """
    device = next(iter(state.values())).device
    numbers, tokens = (
        (EVALUATION_NUMBERS, EVALUATION_TOKENS) if device.type == "cpu" else (GPU_NUMBERS, GPU_TOKENS)
    )
    rows = max(1, min(EVALUATION_ROWS, numbers // max(1, numbers_in_row(inputs))))
    with torch.no_grad(), unchanged(module):
        load_into(module, state)
        lengths = lengths_of(prepare, inputs)
        if lengths is None:
            order, parts = None, iter(inputs.split(rows))
        else:
            order = lengths.argsort(stable=True)
            parts = _of_like_length(inputs[order], lengths[order], rows, tokens)
        home = device if there else torch.device("cpu")
        found = [_evaluated(module, state, prepare(part.to(device))).to(home) for part in parts]
        outputs = torch.cat(found)
        return outputs if order is None else outputs[order.argsort().to(home)]


def _of_like_length(inputs: Inputs, lengths: Tensor, rows: int, tokens: int) -> Iterator[Inputs]:
    """Batches of rows that are sorted by their lengths (N,): at most so many rows and tokens, or one row."""
    first = 0
    for end, length in enumerate(lengths.tolist()):
        held = end - first
        if held and (held == rows or (held + 1) * length > tokens):
            yield inputs[first:end]
            first = end
    yield inputs[first:]


def outputs_of(
    module: nn.Module,
    state: Mapping[str, Tensor],
    inputs: Inputs,
    prepare: Prepare,
) -> Callable[[slice], Tensor]:
    """`predict` for some of a split's rows at a time: outputs can be dropped before others are asked for."""
    return lambda part: predict(module, state, inputs[part], prepare)


def _evaluated(module: nn.Module, state: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
    let_go()
    with _failing_as_ours(module, inputs):
        return _plain(_called(module, as_read(module, inputs)))


def load_into(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """What anyone does with a state dictionary: `load_state_dict` while the module is in training mode, as it
    was built, then `eval()`, which may merge, cache or freeze what was loaded. Raises `BadInput`."""
    module.train()
    try:
        module.load_state_dict({**own_state(module), **state})
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise BadInput(
            f"the model's load_state_dict does not take its own state dictionary: {error}",
            "a hook that renames or leaves out tensors needs its counterpart for loading",
        ) from error
    module.eval()


def file_state(module: nn.Module) -> dict[str, Tensor]:
    """Copies of the tensors that a checkpoint of the module in training mode holds; tied ones share one.

    In evaluation mode an adapter may be merged into its layer's weight, once more for each time it is loaded.
    """
    with torch.no_grad(), unchanged(module):
        module.train()
        tensors = module.state_dict(keep_vars=True)
        copies = {id(tensor): tensor.detach().clone() for tensor in tensors.values()}
    return {name: copies[id(tensor)] for name, tensor in tensors.items()}


def own_state(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of the state dictionary, detached, of the module in the mode that it is in."""
    return {name: tensor.detach() for name, tensor in module.state_dict(keep_vars=True).items()}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])
