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


@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
def test_t5_has_graphs_that_take_its_three_inputs_by_name(ending, tmp_path):
    torch.manual_seed(0)
    module = of_one_layer(families.t5(transformers)).eval()
    blank = {name: torch.zeros_like(part) for name, part in families.sequences(2, 1).items()}
    path = tmp_path / f"t5{ending}"
    assert not export(module.state_dict(), path, module=module, example=NamedInputs(blank)).note
    for count in (1, 5):
        rows = families.sequences(count, count)
        with torch.no_grad():
            expected = module(**rows).logits
        if ending == ".pt2":
            found = torch.export.load(path).module()(**rows)
        else:
            session = onnxruntime.InferenceSession(path)
            fed = {name: part.numpy() for name, part in rows.items()}
            found = torch.from_numpy(session.run(["output"], fed)[0])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
