"""The artifact: one safetensors file that regenerates a model's weights. FORMAT.md is its definition.

    container     the bytes: read once, header, checksum                           standard library only
    description   metadata "qtrain": generator, layout, digest, record, check      standard library only
    numbers       tensors "angles", "steps", "mapping", and the kept ones          torch
    size          how large a file will be, before it exists                       torch

Import from these files: the first two must stay free of torch. Nothing in an artifact is ever run.
"""
