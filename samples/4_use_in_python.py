"""An artifact in Python: its record, its weights, and one's own module.

python samples/4_use_in_python.py digits.qtrain
"""

import sys

from digits_cnn import digits_cnn

import qtrain_cli

artifact = qtrain_cli.load(sys.argv[1])
print(f"recorded test accuracy {artifact.record['test_accuracy']:.7f}")
for name, tensor in artifact.state_dict().items():
    print(f"{name:30} {tuple(tensor.shape)}")
model = artifact.put_into(digits_cnn()).eval()
print(f"{sum(parameter.numel() for parameter in model.parameters()):,} weights in {type(model).__name__}")
