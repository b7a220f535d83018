"""What a pickle's names become while it is read: stand-ins that remember what the file says, and do nothing.

The classes of ``torch.nn.modules`` are not made while a file is read: one that may call their constructors
and set their attributes could ask for terabytes, or hang a function into ``_forward_hooks`` or ``forward``.
Nor are functions called: ``relu`` of one number that a stride of 0 shows a thousand million times fills
gigabytes. `stock_layers` makes modules of the stand-ins afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from torch import nn

#: Functions that stock layers keep as attributes (the activation of transformer layers).
STOCK_FUNCTIONS = {
    "torch.nn.functional.relu": nn.functional.relu,
    "torch._C._nn.gelu": nn.functional.gelu,
}


def _stock_classes() -> dict[str, type[nn.Module]]:
    files = [module for module in vars(nn.modules).values() if isinstance(module, ModuleType)]
    classes = [value for file in files for value in vars(file).values() if isinstance(value, type)]
    lazy = nn.modules.lazy.LazyModuleMixin  # has no weights yet, and replaces its own class
    return {
        f"{cls.__module__}.{cls.__qualname__}": cls
        for cls in classes
        if issubclass(cls, nn.Module)
        and cls is not nn.Module
        and not issubclass(cls, lazy)
        and cls.__module__.startswith("torch.nn.modules.")
    }


#: Every stock layer by the name a pickle gives it.
STOCK_CLASSES = _stock_classes()
#: What training scripts keep beside the weights. Nothing of it is ever made.
SIDE_NOTES = frozenset({
    "argparse.Namespace", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype",
    "numpy.dtypes.Float32DType", "numpy.dtypes.Float64DType", "numpy.dtypes.Int64DType", "pathlib.PosixPath",
    "pathlib.PurePosixPath",
})  # fmt: skip


@dataclass(eq=False)
class Name:
    """A class or function that a pickle names, such as "torch.nn.modules.linear.Linear"."""

    source: str


@dataclass(eq=False)
class Inert:
    """What became of a name that the pickle calls: its arguments, and the state it was given."""

    source: str
    args: tuple[Any, ...] = ()
    state: Any = field(default_factory=dict)


class StockRecord(Inert):
    """Stands in for a stock layer."""


def is_known(source: str) -> bool:
    """Whether a name is a stock layer's, or of something usual beside weights."""
    return source in STOCK_CLASSES or source in STOCK_FUNCTIONS or source in SIDE_NOTES


def called(name: Name, args: tuple[Any, ...]) -> Inert:
    """What a call of `name` leaves."""
    return (StockRecord if name.source in STOCK_CLASSES else Inert)(name.source, args)
