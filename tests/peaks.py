"""How much memory this process has held at most since a moment, as Linux tells it.

Not `ru_maxrss`, whose peak is that of the whole process and of what started it: what stays below is not seen.
"""

from pathlib import Path


def forget_peak() -> int:
    """Lets the peak begin at what is held now: kilobytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """The most that was held: kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
