"""The weights that a file stands for, one tensor after the other while circuits are run.

    stored groups -> numbers -> method's portable decoder, part by part -> tensors in their dtypes -> digest

What is in memory is the tensor that is being filled and the part that it is filled from: of ours some
circuits (`methods.generator.method.parts`), of a method that decodes all at once everything. The digest goes
over the tensors as they come, so that it is known when the last one is there, and not before: whoever writes
them elsewhere gives them their name after that.

Left out: changes to a base (`regenerate`), which are summed with it in float64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.artifact.description import DIGEST_DIGITS, Description, Digest
from qtrain_cli.artifact.numbers import Artifact, Coded, StoredNumbers
from qtrain_cli.errors import Refused, is_out_of_memory
from qtrain_cli.methods.forms import Plan
from qtrain_cli.methods.table import method_of
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry
from qtrain_cli.targets.ground import whole_state
from qtrain_cli.targets.layout import DTYPES, in_dtype, with_row

#: A generated tensor, and its place among the others.
Named = tuple[TensorEntry, Tensor]
#: (weights that are made, all of them), at most a million of them apart.
Share = Callable[[int, int], None]
#: Weights that are rounded at a time.
_BLOCK = 2**20


def streams(description: Description) -> bool:
    """Whether the weights of this file come one tensor after the other."""
    return description.change is None and not description.digest.former


def unseen(done: int, total: int) -> None:
    """Shows nothing of how much is done."""


def checked_tensors(artifact: Artifact, share: Share = unseen) -> Iterator[Named]:
    """Each generated tensor of a file that `streams`, with its constant row.

    Raises:
        Refused: the numbers cannot be decoded, a weight is not finite; after the last tensor, where all of
            them are not those of the file's digest.
    """
    description, hashed = artifact.description, hashlib.sha256()
    plan, layout = description.plan, description.layout
    try:
        for entry, tensor in made_tensors(description.method, plan, layout, artifact.numbers, share):
            _require_finite(entry, tensor)
            hashed.update(bytes_in(tensor))
            yield entry, tensor
            del tensor
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise undecodable(description.method, error) from None
    if _digest(hashed) != description.digest:
        raise not_matching(description.digest)


def require_digest(artifact: Artifact, share: Share = unseen) -> None:
    """Raises as `checked_tensors`, of which it keeps none."""
    for _ in checked_tensors(artifact, share):
        pass


def finished(
    method: str, plan: Plan, layout: LayoutSpec, numbers: StoredNumbers
) -> tuple[dict[str, Tensor], Digest]:
    """The model's whole state dictionary and the digest of its generated tensors, for a file to be."""
    hashed, made = hashlib.sha256(), dict[str, Tensor]()
    for entry, tensor in made_tensors(method, plan, layout, numbers):
        hashed.update(bytes_in(tensor))
        made[entry.name] = tensor
    return whole_state(layout, numbers.kept, made, None), _digest(hashed)


def made_tensors(
    method: str, plan: Plan, layout: LayoutSpec, numbers: StoredNumbers, share: Share = unseen
) -> Iterator[Named]:
    """Each generated tensor in its own dtype, with its constant row."""
    row, groups = method_of(method), arrays(stored_numbers(method, plan, numbers))
    parts = row.parts(layout, plan, groups) if row.parts else iter((row.portable(layout, plan, groups),))
    for entry, tensor in _filled(layout, _quietly(parts), share):
        yield entry, with_row(entry, tensor, numbers.kept)
        del tensor


def stored_numbers(method: str, plan: Plan, numbers: StoredNumbers) -> dict[str, Tensor]:
    """What the stored groups stand for, by name: ours in float64, a rival's in float32."""
    found, values = method_of(method), dict[str, Tensor]()
    for name, group in numbers.groups.items():
        if isinstance(group, Coded):
            values[name] = found.grid.decoded(plan, name, group.codes, group.step)
        else:
            values[name] = group.double() if found.exact else group
    return values


def arrays(numbers: Mapping[str, Tensor]) -> dict[str, Floats]:
    """The same in float64 of NumPy."""
    return {name: group.double().numpy() for name, group in numbers.items()}


def bytes_in(tensor: Tensor) -> memoryview:
    """The bytes of a tensor on the CPU as they lie in memory, row-major; no copy of what lies so."""
    view: memoryview = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
    return view


def undecodable(method: str, error: Exception) -> Refused:
    """What a plan means that does not fit its layout."""
    shown = str(error).partition("\n")[0]
    return Refused(
        f"the numbers of the method '{method}' cannot be decoded ({type(error).__name__}: {shown})",
        "do not use this file",
    )


def not_matching(stored: Digest) -> Refused:
    """What other weights mean than those that the file was written for."""
    return Refused(
        f"the regenerated weights do not match the artifact's digest {stored.sha256}",
        "the file was changed, or was written by another version",
    )


def _digest(hashed: hashlib._Hash) -> Digest:
    return Digest(hashed.hexdigest()[:DIGEST_DIGITS])


def _quietly(parts: Iterator[Floats]) -> Iterator[Floats]:
    """A stranger's numbers may overflow, which is found later."""
    while True:
        with np.errstate(all="ignore"):
            part = next(parts, None)
        if part is None:
            return
        yield part
        del part  # the next one is made without it in memory


def _filled(layout: LayoutSpec, parts: Iterator[Floats], share: Share) -> Iterator[Named]:
    """Each generated tensor, as soon as enough weights have come: float64 parts of all of them, in order."""
    nothing, done, total = np.empty(0), 0, layout.generated
    left = nothing
    for entry in layout.of_role(GENERATED):
        tensor, place = torch.empty(entry.count, dtype=DTYPES[entry.dtype]), 0
        while place < entry.count:
            if not left.size:
                left = nothing  # not the end of the last part, which would keep all of it
                left = next(parts)
            taken = torch.from_numpy(left[: min(_BLOCK, entry.count - place)])
            tensor[place : place + len(taken)] = in_dtype(taken, tensor.dtype)
            place, left = place + len(taken), left[len(taken) :]
            share(done + place, total)
        done += place
        yield entry, tensor.view(entry.shape)
        del tensor


def _require_finite(entry: TensorEntry, tensor: Tensor) -> None:
    for part in tensor.reshape(-1).split(_BLOCK):
        if not bool(part.isfinite().all()):
            raise Refused(f"the regenerated tensor '{entry.name}' is not finite", "do not use this file")
