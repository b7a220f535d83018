"""Fixtures of graphs."""

import pytest

from qtrain_cli.exports import writers


@pytest.fixture
def traced_once(monkeypatch):
    """A module is traced for the first of its formats: .onnx last, which changes the graph for its writer."""
    trace, known = writers.trace, {}

    def once(module, *others):
        if module not in known:
            known[module] = trace(module, *others)
        return known[module]

    monkeypatch.setattr(writers, "trace", once)
