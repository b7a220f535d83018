"""The artifact: one safetensors file that regenerates a model's weights. FORMAT.md is its definition.

    container     the bytes: read once, header, checksum                           standard library only
    payload       its one tensor: digests, probes, facts, kept tensors, numbers    standard library only
    description   the facts: generator, layout, digest, record                     standard library only
    numbers       angles and mapping, the kept tensors, the file as a whole        torch
    size          how large a file will be, before it exists                       torch

Import from these files: the first three must stay free of torch. Nothing in an artifact is ever run.
"""
