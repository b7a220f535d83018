"""Whole numbers as base-128 digits, lowest first; zigzag: 0, -1, 1, -2, ... Standard library only."""

from __future__ import annotations


def model_bytes_of(model: tuple[int, int, int]) -> bytes:
    low, high, spread = model
    return zigzag(low) + zigzag(high) + bytes([spread])


def unsigned(value: int) -> bytes:
    digits = bytearray()
    while value >= 128:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def read_unsigned(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[place] & 127) << shift
        shift, place = shift + 7, place + 1
        if data[place - 1] < 128:
            return value, place


def zigzag(value: int) -> bytes:
    return unsigned(2 * value if value >= 0 else -2 * value - 1)


def unzigzag(data: bytes, place: int) -> tuple[int, int]:
    value, place = read_unsigned(data, place)
    return (value >> 1) if value % 2 == 0 else -(value + 1) // 2, place
