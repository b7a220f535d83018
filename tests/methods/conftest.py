"""A tiny model that every method can be tried on: digits, a network of 818 weights."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from small_files import INPUTS, model_scene, trained_network
from torch import nn

from qtrain_cli.methods.method import Scene


@pytest.fixture
def scene_of() -> Callable[..., Scene]:
    """``scene_of(module, shape, **changes)``: the scene of a model for inputs of that shape."""

    def make(module: nn.Module, shape=INPUTS, **changes) -> Scene:
        return replace(model_scene(module, shape), **changes)

    return make


@pytest.fixture
def scene() -> Scene:
    return model_scene(trained_network())
