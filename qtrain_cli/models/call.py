"""How a model is called: with other tensors in place of its own, on one batch or on whole splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput, is_out_of_memory
from qtrain_cli.models.inputs import advice_on, precision_of

#: A batch in evaluation has at most so many rows, and input numbers: 1,000 of 3x32x32, 27 of 3x224x224.
EVALUATION_ROWS, EVALUATION_NUMBERS = 1000, 2**22


def call_model(module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """The outputs (N, ...) for inputs (N, ...) with `state` in place of the module's own tensors.

    Inputs that are no token numbers take the precision of the parameters that read them (`inputs`); outputs
    come back as float32. Names that are tied in the module must share one tensor in `state`. A buffer to
    which the module assigns a new tensor is replaced in `state`, if that is a dictionary.

    Raises:
        BadInput: the model fails on these inputs, or does not return one tensor with a row for each.
    """
    mode = " in training mode" if module.training else ""
    shape = list(inputs.shape[1:])
    try:
        given = inputs if inputs.dtype == torch.int64 else inputs.to(precision_of(module, inputs))
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
            advice_on(error),
        ) from error
    if not isinstance(outputs, Tensor) or outputs.shape[:1] != inputs.shape[:1]:
        found = list(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise BadInput(
            f"the model returns {found}{mode} for {len(inputs)} inputs of shape {shape}",
            "the model must return one tensor with a row for each input: wrap it in a class that does,"
            " such as with its .logits",
        )
    return outputs.float() if outputs.is_floating_point() else outputs


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
