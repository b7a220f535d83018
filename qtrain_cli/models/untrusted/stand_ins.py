"""What a pickle's names become while it is read: stand-ins that remember what the file says, and do nothing.

The classes of ``torch.nn.modules`` are not handed to the unpickler, not even to the restricted one: a file
that may call their constructors and set their attributes could ask for terabytes, or hang a function into
``_forward_hooks`` or ``forward``. Nor are functions: ``relu`` of one number that a stride of 0 shows a
thousand million times fills gigabytes. `stock_layers` makes modules of the stand-ins afterwards.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, ClassVar

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


class Inert:
    """What a pickle's global becomes: it can be called, made and given a state, and only remembers."""

    source: ClassVar[str] = ""

    def __new__(cls, *args: Any) -> Inert:
        record = super().__new__(cls)
        record.args = args
        record.state = {}
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state

    args: tuple[Any, ...]
    state: Any


class StockRecord(Inert):
    """Stands in for a stock layer."""


def inert(source: str, base: type[Inert] = Inert) -> type[Inert]:
    """A new stand-in for the global `source`."""
    return type("Inert", (base,), {"source": source})


#: What training scripts keep beside the weights. Read as inert objects, so nothing of it is ever run.
SIDE_NOTES = (
    "argparse.Namespace",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.dtypes.Float32DType",
    "numpy.dtypes.Float64DType",
    "numpy.dtypes.Int64DType",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
)
#: What PyTorch's restricted unpickler is told to allow beyond its own names: (stand-in, name).
ALLOWED: list[tuple[Any, str]] = [
    *((inert(name, StockRecord), name) for name in STOCK_CLASSES),
    *((inert(name), name) for name in (*STOCK_FUNCTIONS, *SIDE_NOTES)),
]
