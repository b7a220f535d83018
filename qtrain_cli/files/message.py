"""How long a coded message (`codec`) may get, before anything is coded. Standard library only."""

from __future__ import annotations

#: Bytes by which an arithmetic coder's message may exceed the bits of its numbers.
MESSAGE_SLACK = 4


def message_bytes(count: int, bits: int) -> int:
    """The longest message of so many codes with so many bits each on the average, its end included."""
    return -(-count * bits // 8) + MESSAGE_SLACK
