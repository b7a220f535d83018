"""Other tensors in a module's place, put there as their user will: by value, into the module's own tensors.

    the state's values in --> forward --> its own values back --> ... --> the same for the backward pass

A forward may reach a parameter by any way: by attribute, through a list or an alias of its own, in scripted
code, or once more in the backward pass (activation checkpointing). All of these see the state; a call that
only replaces attributes until the forward has ended, as `torch.func.functional_call` does, would leave them
the module's own weights. Gradients are found as anyone finds them: each parameter is a leaf, whose `.grad`
goes on into the tensor of the state.

Copying the values of a large model, there and back and for the backward pass once more, takes a good part of
its step. So a large one lends its parameters the memory of the state instead, once it is known to make the
same of it: nothing in it holds a view of the memory it had, and its forward writes into none of them. One
that begins to write only later, at some step, would write into the state.

Buffers are replaced and not overwritten, so that what a layer changes in training is changed in the state.
The backward pass computes with those that the forward found, and changes none.
"""

from __future__ import annotations

import copy
import random
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput

Forward = Callable[[], Tensor]
Surrounding = Callable[[], AbstractContextManager[None]]
#: Where a tensor is: the dictionary of its layer, and its name there.
Place = tuple[dict[str, Any], str]

#: Parameters of a model that has more numbers take the state's memory; of a smaller one they are copied soon.
LENDS = 2**20
_LENT: weakref.WeakKeyDictionary[nn.Module, bool] = weakref.WeakKeyDictionary()
_LED: weakref.WeakKeyDictionary[nn.Module, bool] = weakref.WeakKeyDictionary()
_UNLED = "None of the inputs have requires_grad"


def places_of(module: nn.Module) -> dict[str, list[Place]]:
    """The places of each tensor of the state dictionary, by its name there: several where it is tied.

    They are found by the tensors themselves, since a hook may give them other names.
    """
    found: dict[int, list[Place]] = {}
    for owned, name, tensor in _owned(module):
        found.setdefault(id(tensor), []).append((owned, name))
    named = module.state_dict(keep_vars=True).items()
    return {name: found[id(tensor)] for name, tensor in named if id(tensor) in found}


@contextmanager
def unchanged(module: nn.Module, lent: frozenset[int] = frozenset()) -> Iterator[None]:
    """Modes, tensors and their values afterwards are those before, whatever was put in place or assigned.

    Args:
        module: is given back as it was.
        lent: `id` of the tensors whose values somebody else sees to.
    """
    before, modes = list(_owned(module)), [(part, part.training) for part in module.modules()]
    every = {id(tensor): tensor for _, _, tensor in before}
    own = [(tensor, tensor.detach().clone()) for key, tensor in every.items() if key not in lent]
    leaves = [(t, t.requires_grad, t.grad) for t in every.values() if t.is_leaf and t.is_floating_point()]
    # A graph may hold the tensors: it gets their values back before it needs them, and must not mind.
    versions = torch.autograd._unsafe_preserve_version_counter(tuple(every.values()))
    try:
        with versions:
            yield
    finally:
        if module.training != modes[0][1]:
            module.train(modes[0][1])
        for part, training in modes:
            if part.training != training:
                part.training = training
        for owned, name, tensor in before:
            if owned[name] is not tensor:
                owned[name] = tensor
        for tensor, value in own:
            if tensor.layout != torch.strided or 0 not in tensor.stride():
                tensor.data.copy_(value)
        for tensor, wanted, gradient in leaves:
            tensor.requires_grad_(wanted).grad = gradient


def twin_of(module: nn.Module) -> nn.Module:
    """A deep copy, also where a layer holds a tensor that was computed from its parameters (weight norm)."""
    computed = [value for layer in module.modules() for value in vars(layer).values() if _is_computed(value)]
    return copy.deepcopy(module, {id(tensor): tensor.detach().clone() for tensor in computed})


def _is_computed(value: Any) -> bool:
    return isinstance(value, Tensor) and not value.is_leaf


@contextmanager
def own_streams(seed: int | None = None) -> Iterator[None]:
    """What is drawn inside leaves no trace in the streams of torch, NumPy and Python; from `seed`, if any."""
    numbers, plain = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng():
            if seed is not None:
                torch.manual_seed(seed)
                np.random.seed(seed)
                random.seed(seed)
            yield
    finally:
        np.random.set_state(numbers)
        random.setstate(plain)


def run_in_place(
    module: nn.Module,
    state: Mapping[str, Tensor],
    inputs: Tensor,
    forward: Forward,
    again: Surrounding = nullcontext,
) -> Tensor:
    """What `forward` returns with `state` in place; differentiable in its tensors that require gradients.

    Args:
        module: is as it was afterwards, and once the gradients are found.
        state: tensors by the names of the module's state dictionary; names that are tied share one. A buffer
            that changes is changed in it, and one that is assigned replaced, if it is a dictionary.
        inputs: what `forward` uses. Where a part of the module is recomputed in the backward pass by a way
            that needs it, they lead gradients.
        forward: calls the module; raises for outputs that are not as they should be.
        again: what a backward pass has around it that computes a part anew.
    """
    call = _Call(module, state, again)
    if torch.is_grad_enabled() and call.wanted:
        if _needs_lead(module, call, inputs, forward):
            inputs.requires_grad_()
        call.lends = _may_lend(module, call, forward)
        outputs: Tensor = _Forward.apply(call, forward, *(given for _, given in call.wanted))
        return outputs
    call.lends = _LENT.get(module, False) and call.fits()
    with call.in_place(state):
        outputs = forward()
        call.keep_buffers()
    return outputs


class _Call:
    """A module and a state for it: pairs of parameters, and the buffers' places by their names."""

    def __init__(self, module: nn.Module, state: Mapping[str, Tensor], again: Surrounding) -> None:
        self.module, self.state, self.again = module, state, again
        pairs, self.buffers = dict[int, tuple[Tensor, Tensor]](), dict[str, list[Place]]()
        for name, places in places_of(module).items():
            owned, local = places[0]
            if name not in state:
                continue
            if isinstance(owned[local], nn.Parameter):
                pairs.setdefault(id(owned[local]), (owned[local], state[name]))
            else:
                self.buffers[name] = places
        self.pairs = list(pairs.values())
        self.wanted = [(own, given) for own, given in self.pairs if given.requires_grad]
        self.lends = False

    @contextmanager
    def in_place(self, buffers: Mapping[str, Tensor]) -> Iterator[None]:
        """The state's parameters as leaves without gradients, and these buffers."""
        lent = [(own, own.data) for own, _ in self.pairs] if self.lends else []
        with unchanged(self.module, frozenset(id(own) for own, _ in lent)):
            try:
                for own, given in self.pairs:
                    if self.lends:
                        own.data = given.detach()
                    else:
                        own.data.copy_(given.detach())
                    own.requires_grad_(given.requires_grad).grad = None
                for name, places in self.buffers.items():
                    for owned, local in places:
                        owned[local] = buffers[name]
                yield
            finally:
                for own, memory in lent:
                    own.data = memory

    def fits(self) -> bool:
        """Whether every parameter of the state could be the module's own as it lies there."""
        return all(_form(own) == _form(given) for own, given in self.pairs)

    def is_intact(self) -> bool:
        """Whether the parameters in place still have the values of the state."""
        return all(torch.equal(own.detach(), given.detach()) for own, given in self.pairs)

    def versions(self) -> list[int]:
        """How often each parameter was written into."""
        return [own._version for own, _ in self.pairs]

    def keep_buffers(self) -> None:
        """A layer that assigns a new tensor leaves it in the state."""
        for name, places in self.buffers.items():
            owned, local = places[0]
            if isinstance(self.state, dict) and owned[local] is not self.state[name]:
                self.state[name] = owned[local]

    def copied_buffers(self) -> dict[str, Tensor]:
        """Those of the state as they are now; tied ones share one copy."""
        copies = {id(self.state[name]): self.state[name].detach().clone() for name in self.buffers}
        return {name: copies[id(self.state[name])] for name in self.buffers}


class _Forward(torch.autograd.Function):
    """A forward in place, and the gradients of the tensors that were put there."""

    @staticmethod
    def forward(ctx: Any, call: _Call, forward: Forward, *wanted: Tensor) -> Tensor:
        ctx.call, ctx.buffers = call, call.copied_buffers()
        with call.in_place(call.state), torch.enable_grad():
            ctx.outputs = forward()
            call.keep_buffers()
        outputs: Tensor = ctx.outputs.detach()
        if not ctx.outputs.requires_grad:
            ctx.mark_non_differentiable(outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        with ctx.call.in_place(ctx.buffers), ctx.call.again():
            with torch.enable_grad():
                led = _Led.apply(ctx.outputs, gradient)
            led.backward()
            found = [own.grad for own, _ in ctx.call.wanted]
        ctx.outputs = None
        dense = [part.to_dense() if part is not None and part.is_sparse else part for part in found]
        return None, None, *dense


class _Led(torch.autograd.Function):
    """A number whose gradient by the outputs is given. `backward(outputs, gradient)` does the same, and to
    compare two shapes imports a library of symbolic algebra first: a second of each start."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return torch.zeros((), device=outputs.device)

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, None]:
        return ctx.gradient, None


def _needs_lead(module: nn.Module, call: _Call, inputs: Tensor, forward: Forward) -> bool:
    """Whether reentrant checkpointing would lose gradients, because its inputs have none; tried once.

    Raises:
        BadInput: it would, and whole numbers lead none.
    """
    if module not in _LED:
        with own_streams(), warnings.catch_warnings(), torch.enable_grad():
            warnings.filterwarnings("error", message=_UNLED)
            try:
                with call.in_place(call.copied_buffers()):
                    forward()
                _LED[module] = False
            except UserWarning:
                _LED[module] = True
    if _LED[module] and not inputs.is_floating_point():
        raise BadInput(
            "the model checkpoints activations with use_reentrant=True: no gradient reaches its weights",
            "use use_reentrant=False, or switch checkpointing off",
        )
    return _LED[module]


def _may_lend(module: nn.Module, call: _Call, forward: Forward) -> bool:
    """Whether the module makes the same of the state's memory as of a copy of its values; tried once, where
    it has so many that it matters."""
    if module not in _LENT:
        large = sum(own.numel() for own, _ in call.pairs) > LENDS
        _LENT[module] = large and call.fits() and _same_of_both(call, forward)
    return _LENT[module] and call.fits()


def _same_of_both(call: _Call, forward: Forward) -> bool:
    found = []
    for call.lends in (False, True):
        with own_streams(0), torch.no_grad(), call.in_place(call.copied_buffers()):
            begun = call.versions()
            found.append(forward())
            # What was cast here leads no gradient, and PyTorch 2.10 would take it again.
            torch.clear_autocast_cache()
            if call.versions() != begun or not call.is_intact():
                return False
    return torch.equal(*found)


def _form(tensor: Tensor) -> tuple[torch.dtype, torch.device, torch.Size, tuple[int, ...]]:
    return tensor.dtype, tensor.device, tensor.shape, tensor.stride()


def _owned(module: nn.Module) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    """Each parameter and buffer at each of its places, those that a state dictionary leaves out as well."""
    for layer in module.modules():
        for owned in (layer._parameters, layer._buffers):
            yield from ((owned, name, tensor) for name, tensor in owned.items() if tensor is not None)
