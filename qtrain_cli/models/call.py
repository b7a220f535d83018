"""How a model is called: with other tensors in place of its own, on one batch or on whole splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput, QtrainError, is_out_of_memory
from qtrain_cli.models.in_place import run_in_place, unchanged
from qtrain_cli.models.inputs import advice_on, precision_of

#: A batch in evaluation has at most so many rows, and input numbers: 1,000 of 3x32x32, 27 of 3x224x224.
EVALUATION_ROWS, EVALUATION_NUMBERS = 1000, 2**22


def call_model(module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """The outputs (N, ...) for inputs (N, ...) with `state` in place of the module's own tensors.

    Inputs that are no token numbers take the precision of the parameters that read them (`inputs`); outputs
    come back as float32. Differentiable in the tensors of `state` that require gradients. Names that are tied
    in the module must share one tensor in `state`. A buffer to which the module assigns a new tensor is
    replaced in `state`, if that is a dictionary (`in_place`).

    Raises:
        BadInput: the model fails on these inputs, or does not return a tensor with a row for each.
    """
    given = _given(module, inputs).detach()
    with _failing_as_ours(module, inputs):
        outputs = run_in_place(module, state, given, lambda: _called(module, given))
    return _plain(outputs)


def _given(module: nn.Module, inputs: Tensor) -> Tensor:
    return inputs if inputs.dtype == torch.int64 else inputs.to(precision_of(module, inputs))


def _plain(outputs: Tensor) -> Tensor:
    return outputs.float() if outputs.is_floating_point() else outputs


def _called(module: nn.Module, inputs: Tensor) -> Tensor:
    """Raises `BadInput` for what is no tensor with a row for each input."""
    outputs = first_tensor(module(inputs))
    if not isinstance(outputs, Tensor) or outputs.shape[:1] != inputs.shape[:1]:
        found = list(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        shape = list(inputs.shape[1:])
        raise BadInput(
            f"the model returns {found}{_mode(module)} for {len(inputs)} inputs of shape {shape}",
            "the model must return a tensor with a row for each input, alone or first of several: name a"
            " class by --arch that does, such as one whose forward picks it out",
        )
    return outputs


def first_tensor(outputs: Any) -> Any:
    """What counts of a model's outputs: a tensor itself, `logits`, or the first of several."""
    if isinstance(outputs, Mapping):
        return outputs["logits"] if "logits" in outputs else next(iter(outputs.values()), outputs)
    return outputs[0] if isinstance(outputs, (tuple, list)) and outputs else outputs


@contextmanager
def noting_choice(module: nn.Module, log: Callable[[str], None]) -> Iterator[None]:
    """Afterwards one line is logged, if the module returned several outputs, on which of them counts."""
    found: dict[str, None] = {}
    handle = module.register_forward_hook(lambda module, args, outputs: found.setdefault(_choice(outputs)))
    try:
        yield
    finally:
        handle.remove()
    for choice in filter(None, found):
        log(f"of the model's outputs {choice} counts")


def _choice(outputs: Any) -> str:
    if isinstance(outputs, Mapping) and len(outputs) > 1:
        return "'logits'" if "logits" in outputs else f"'{next(iter(outputs))}', the first of {len(outputs)},"
    several = isinstance(outputs, (tuple, list)) and len(outputs) > 1
    return f"the first of {len(outputs)}" if several else ""


@contextmanager
def _failing_as_ours(module: nn.Module, inputs: Tensor) -> Iterator[None]:
    mode = _mode(module)
    try:
        yield
    except Exception as error:
        if isinstance(error, QtrainError) or is_out_of_memory(error):
            raise
        raise BadInput(
            f"the model does not take {len(inputs)} inputs of shape {list(inputs.shape[1:])}{mode}"
            f" ({_first_line(error)})",
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
    inputs: Tensor,
    prepare: Callable[[Tensor], Tensor],
) -> Tensor:
    """Outputs of the model as its user has it with `state`: loaded, then in evaluation mode. (N, ...) on the
    CPU.

    Tensors that `state` lacks are the module's own. The module is as it was afterwards.

    Raises:
        BadInput: as `call_model`, or the module does not take the state.
    """
    device = next(iter(state.values())).device
    rows = max(1, min(EVALUATION_ROWS, EVALUATION_NUMBERS // max(1, inputs[0].numel())))
    with torch.no_grad(), unchanged(module):
        load_into(module, state)
        return torch.cat([_evaluated(module, state, prepare(part.to(device))) for part in inputs.split(rows)])


def _evaluated(module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    with _failing_as_ours(module, inputs):
        return _plain(_called(module, _given(module, inputs))).cpu()


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
