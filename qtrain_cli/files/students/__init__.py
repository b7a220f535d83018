"""A student as one safetensors file, the second kind of `.qtrain` artifact. FORMAT.md is its definition.

    description   metadata "qtrain": student, input, digest, lesson, record, check       standard library only
    tensors       the trained tensors, float32, under the names of the student's shapes  torch

Bytes, header and checksum are the first kind's (`files.artifact.container`). Nothing in a file is ever run.
"""
