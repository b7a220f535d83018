"""How a model is called: with other tensors in place of its own, on one batch or on whole splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput, is_out_of_memory

#: A batch in evaluation has at most so many rows, and input numbers: 1,000 of 3x32x32, 27 of 3x224x224.
EVALUATION_ROWS, EVALUATION_NUMBERS = 1000, 2**22


def call_model(module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """The outputs (N, ...) for inputs (N, ...) with `state` in place of the module's own tensors.

    Inputs that are no token numbers take the precision of the model's tensors; outputs come back as float32.
    Names that are tied in the module must share one tensor in `state`. A buffer to which the module assigns a
    new tensor is replaced in `state`, if that is a dictionary.

    Raises:
        BadInput: the model fails on these inputs, or does not return one tensor with a row for each.
    """
    mode = " in training mode" if module.training else ""
    shape = list(inputs.shape[1:])
    precision = next((tensor.dtype for tensor in state.values() if tensor.is_floating_point()), inputs.dtype)
    try:
        given = inputs if inputs.dtype == torch.int64 else inputs.to(precision)
        # Each slot once, and no tying by torch, which swaps a module of two names twice and leaves it so.
        own = {name: state[name] for name in _slots(module) if name in state}
        outputs = torch.func.functional_call(module, own, (given,), tie_weights=False)
        if isinstance(state, dict):
            state.update(own)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise BadInput(
            f"the model does not take {len(inputs)} inputs of shape {shape}{mode} ({_first_line(error)})",
            _advice(str(error)),
        ) from error
    if not isinstance(outputs, Tensor) or outputs.shape[:1] != inputs.shape[:1]:
        found = list(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise BadInput(
            f"the model returns {found}{mode} for {len(inputs)} inputs of shape {shape}",
            "the model must return one tensor with a row for each input: name a class by --arch that does,"
            " such as one whose forward picks it out",
        )
    return outputs.float() if outputs.is_floating_point() else outputs


#: What an error says, in lower case -> what to do about it; the first that is found.
_ADVICE = {
    "more than 1 value per channel": "choose a --batch-size that leaves no single row over",
    "size()[0]": "the graph takes batches of one size: export it with a dynamic batch dimension",
    "positional argument": "name a class by --arch whose forward takes one tensor, e.g. around this model",
    "dtype": "check the data's type: whole numbers are looked up only by a model with an embedding",
    "scalar type": "check the data's type: whole numbers are looked up only by a model with an embedding",
    "index out of range": "the data have numbers beyond the model's table: check its vocabulary",
}


def _advice(error: str) -> str:
    """What to do about an error of a model's forward."""
    said = error.lower()
    found = next((advice for words, advice in _ADVICE.items() if words in said), None)
    return found or "the model's own forward says so: check --arch, and the shape of one input"


def _slots(module: nn.Module) -> Iterator[str]:
    """The names of all parameters and buffers, those of a module that has two names under the first one."""
    for path, layer in module.named_modules():
        for name in (*layer._parameters, *layer._buffers):
            yield joined(path, name)


def joined(path: str, name: str) -> str:
    """The name in a state dictionary of a layer's own tensor; the path of the whole model is empty."""
    return f"{path}.{name}" if path else name


def predict(
    module: nn.Module,
    state: Mapping[str, Tensor],
    inputs: Tensor,
    prepare: Callable[[Tensor], Tensor],
) -> Tensor:
    """Outputs of the model in evaluation mode with `state` in place of its own tensors: (N, ...) on the CPU.

    Raises:
        BadInput: as `call_model`.
    """
    device = next(iter(state.values())).device
    rows = max(1, min(EVALUATION_ROWS, EVALUATION_NUMBERS // max(1, inputs[0].numel())))
    module.eval()
    with torch.no_grad():
        return torch.cat(
            [call_model(module, state, prepare(batch.to(device))).cpu() for batch in inputs.split(rows)]
        )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])
