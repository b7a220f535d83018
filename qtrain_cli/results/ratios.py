"""The two ratios of a record: the only definitions in this project. Standard library only.

    bytes ratio       model bytes / artifact bytes                      (model bytes: `targets.size`)
    parameter ratio   (generated + kept) / (trained numbers + kept)

Kept tensors and buffers count on both sides of both ratios.
"""

from __future__ import annotations


def bytes_ratio(model: int, artifact: int) -> float:
    """How many times smaller the whole file is than the model's tensors in float32."""
    return model / artifact


def parameter_ratio(weights: int, kept: int, trained: int) -> float:
    """Numbers in the model over numbers in the artifact; kept ones count on both sides."""
    return (weights + kept) / (trained + kept)
