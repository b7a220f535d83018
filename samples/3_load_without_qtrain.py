"""Exported weights need PyTorch and safetensors only: this script does not import qtrain.

python samples/3_load_without_qtrain.py digits.safetensors
"""

import sys
from pathlib import Path

import numpy as np
import torch
from digits_cnn import digits_cnn
from safetensors.torch import load_file

model = digits_cnn().eval()
model.load_state_dict(load_file(sys.argv[1]))
data = np.load(Path(__file__).parent / "digits" / "digits.npz")
inputs = torch.from_numpy(data["x_test"]).float() / 255
with torch.no_grad():
    right = model(inputs).argmax(1).numpy() == data["y_test"]
print(f"test accuracy {right.mean():.7f} of {len(right)}")
