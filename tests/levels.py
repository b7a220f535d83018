"""The instruction sets of the compiled kernel that run here."""

from qtrain_cli.quantum import native


def levels() -> list[str]:
    """Their names, the best first; none where the kernel was not built."""
    if native._kernels is None:
        return []
    found = []
    for name in ("x86-64-v4", "x86-64-v3", "base"):
        try:
            found.append(native._kernels.use(name))
        except ValueError:
            continue
    native._kernels.use("best")
    return found
