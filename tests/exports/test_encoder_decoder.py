"""T5, an encoder and a decoder of three inputs: its graphs, for rows of any padding and as many as wanted."""

import onnxruntime
import pytest
import torch

from qtrain_cli.data.inputs import NamedInputs
from qtrain_cli.exports import export

pytest.importorskip("transformers", reason="needs the extra hf")
import families
import transformers


def of_one_layer(module):
    """Both stacks cut to the layer that has the positions' biases: what follows it is traced as it is."""
    for stack in (module.encoder, module.decoder):
        stack.block = stack.block[:1]
    return module


def test_t5_has_graphs_that_take_its_three_inputs_by_name(tmp_path, traced_once):
    torch.manual_seed(0)
    module = of_one_layer(families.t5(transformers)).eval()
    blank = NamedInputs({n: torch.zeros_like(part) for n, part in families.sequences(2, 1).items()})
    paths = [tmp_path / f"t5{ending}" for ending in (".pt2", ".onnx")]
    for path in paths:
        assert not export(module.state_dict(), path, module=module, example=blank).note
    graph, session = torch.export.load(paths[0]).module(), onnxruntime.InferenceSession(paths[1])
    for count in (1, 5):
        rows = families.sequences(count, count)
        with torch.no_grad():
            expected = module(**rows).logits
        fed = {name: part.numpy() for name, part in rows.items()}
        for found in (graph(**rows), torch.from_numpy(session.run(["output"], fed)[0])):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
