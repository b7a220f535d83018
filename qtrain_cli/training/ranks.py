"""The processes of one run: each has a share of every batch, and all of them have the same numbers.

    rank 0              writes, prints, and decides what depends on files
    a share             rows `rank`, `rank + count`, ... of a batch; what is split in one piece is a block
    summed              the same sum in every process, whoever had what; float64 where its order must not show
    gathered            blocks of all processes, one after the other; its gradient is the sum over processes,
                        so that a loss may be taken of all of them in each

The processes are those of PyTorch's own launcher (`torchrun`, or `--processes`), which says to each who it is
by environment. They talk by `torch.distributed`: gloo for tensors on the CPU, NCCL for those on GPUs.

Whoever waits for a process that has ended learns it at once, by its closed connections (`ProcessEnded`).
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from qtrain_cli.errors import QtrainError, first_line, is_out_of_memory

#: A process waits for as long as others work: for one that writes, or measures a large split.
LONGEST_WAIT = timedelta(days=7)
#: What all of them are refused, each meets within the time that it takes to load torch.
_UNTIL_FIRST_ENDS = timedelta(seconds=5)
#: Seconds, until all have met.
_BETWEEN_LOOKS = 0.02
_Result = TypeVar("_Result")


class ProcessEnded(QtrainError):
    """Another process of this run is gone; that one knows why."""

    aftermath = True


@dataclass(frozen=True)
class Ranks:
    """Which process this is of how many, and the same among those of this machine; who has started it."""

    rank: int = 0
    count: int = 1
    local: int = 0
    local_count: int = 1
    parent: int = 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    @property
    def together(self) -> bool:
        """Whether all of them are on one machine."""
        return self.local_count == self.count

    @property
    def share(self) -> slice:
        """This process's rows of a batch: neighbours, which are of like length, go to different ones."""
        return slice(self.rank, None, self.count)

    def block(self, whole: int, rank: int | None = None) -> slice:
        """This process's (or another's) part of so many things, in one piece, as many as in its `share`."""
        place, (size, more) = self.rank if rank is None else rank, divmod(whole, self.count)
        first = place * size + min(place, more)
        return slice(first, first + size + (place < more))

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in its place. Raises `ProcessEnded`."""
        with _heard():
            dist.all_reduce(tensor)
        return tensor

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Puts those of rank 0 into everybody's place, as bytes: gloo knows few kinds of numbers.

        Raises:
            ProcessEnded: another process is gone.
        """
        if self.several:
            with _heard(), torch.no_grad():
                for tensor in tensors:
                    flat = tensor.detach().contiguous().view(-1)
                    dist.broadcast(flat.view(torch.uint8), 0)
                    if not tensor.is_contiguous():
                        tensor.copy_(flat.view(tensor.shape))

    def gathered(self, part: Tensor, whole: int) -> Tensor:
        """`whole` rows out of everybody's `block` of them, in order. Raises `ProcessEnded`."""
        found: Tensor = _Gathered.apply(part, self, whole)
        return found

    def led(self, decide: Callable[[], _Result]) -> _Result:
        """What rank 0 found, or raised, in every process: what depends on files, or costs doing it twice.

        Raises:
            ProcessEnded: rank 0 is gone. QtrainError: as `decide` does in rank 0.
        """
        if not self.several:
            return decide()
        told: list[Any] = [None]
        failed: QtrainError | None = None
        if self.first:
            try:
                told = [decide()]
            except QtrainError as error:
                failed, told = error, [_Raised(error)]
        with _heard():
            dist.broadcast_object_list(told, 0)
        if failed:
            raise failed
        if isinstance(told[0], _Raised):
            raise told[0].error
        found: _Result = told[0]
        return found


@dataclass(frozen=True)
class _Raised:
    """What rank 0 ended with."""

    error: QtrainError


ALONE = Ranks()
_PRESENT = [ALONE]


def present() -> Ranks:
    """The processes of this run; one where none has been joined."""
    return _PRESENT[0]


def by_first(guard: AbstractContextManager[Any]) -> AbstractContextManager[Any]:
    """What the first process alone enters, such as a lock; nothing in the others."""
    return guard if present().first else contextlib.nullcontext()


def named_in(environment: Mapping[str, str]) -> Ranks:
    """What a launcher said of this process; one alone where there was none."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if any(name not in environment for name in names):
        return ALONE
    return Ranks(*(int(environment[name]) for name in names[:4]))


@contextlib.contextmanager
def joined_processes() -> Iterator[Ranks]:
    """The processes that a launcher has started this one with, as long as the block lasts.

    Raises:
        ProcessEnded: they do not meet.
    """
    found = replace(named_in(os.environ), parent=os.getppid())  # now: it may end before the training
    if not found.several:
        yield ALONE
        return
    both = torch.cuda.is_available() and dist.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if both else "gloo"
    with _heard():
        store, rank, count = next(dist.rendezvous("env://", timeout=LONGEST_WAIT))
        store = _of_this_start(store, found)
        given = {"timeout": LONGEST_WAIT, "world_size": count, "rank": rank, "store": store}
        dist.init_process_group(backend, **given)
    _PRESENT[0] = found
    try:
        yield found
    finally:
        _PRESENT[0] = ALONE
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


def leave_together() -> None:
    """Waits until all are done, or one has failed: one that leaves badly must not end another that is still
    writing."""
    with contextlib.suppress(ProcessEnded):
        present().summed(torch.zeros(1))


def end_of_first(own: str) -> str | None:
    """What rank 0 ends with, by the launcher's own store, where each process of this start leaves its end;
    None in rank 0 itself, and where rank 0 says nothing for a while."""
    ranks = named_in(os.environ)
    if not ranks.several:
        return None
    with contextlib.suppress(RuntimeError, ValueError):  # the launcher may be gone
        store = next(dist.rendezvous("env://", timeout=_UNTIL_FIRST_ENDS))[0]
        store.set(f"ended/{ranks.rank}", own)
        if not ranks.first:
            store.wait(["ended/0"], _UNTIL_FIRST_ENDS)
            found: str = store.get("ended/0").decode()
            return found
    return None


def _of_this_start(store: dist.Store, ranks: Ranks) -> dist.Store:
    """A part of the launcher's store for these very processes.

    The launcher keeps one store for all that it starts one after the other. A process that is started anew
    would find addresses there of one that is gone, and wait for it. So each says who it is by a name of its
    own; rank 0 answers by that name, and begins when all have said that they heard it.
    """
    own = uuid.uuid4().hex
    if not ranks.first:
        store.set(f"here/{ranks.rank}", own)
        store.wait([f"begin/{own}"], LONGEST_WAIT)
        own = store.get(f"begin/{own}").decode()
        store.set(f"heard/{own}/{ranks.rank}", "")
    while ranks.first:
        missing = [rank for rank in range(1, ranks.count) if not store.check([f"heard/{own}/{rank}"])]
        if not missing:
            break
        for rank in missing:
            if store.check([f"here/{rank}"]):
                store.set(f"begin/{store.get(f'here/{rank}').decode()}", own)
        time.sleep(_BETWEEN_LOOKS)
    return dist.PrefixStore(own, store)


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """Gloo and NCCL know no other failure than a `RuntimeError`."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise ProcessEnded(
            f"another process of this run has ended ({first_line(error)})",
            "run it again with --resume; with --processes, --max-restarts 3 does so by itself",
        ) from error


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, ranks: Ranks, whole: int) -> Tensor:
        ctx.ranks = ranks
        found = part.new_empty(whole, *part.shape[1:])
        found[ranks.block(whole)] = part
        with _heard():
            for rank in range(ranks.count):
                dist.broadcast(found[ranks.block(whole, rank)], rank)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        ranks, summed = ctx.ranks, gradients[0].clone(memory_format=torch.contiguous_format)
        whole = len(summed)
        with _heard():
            for rank in range(ranks.count):
                dist.reduce(summed[ranks.block(whole, rank)], rank)
        return summed[ranks.block(whole)], None, None
