"""Several processes that train one network: each takes its share of every batch, torch's DDP adds up their gradients.

What is drawn depends on (seed, position) alone, so any number of processes see the same batches. Every process keeps
the whole state, and all states stay equal; the first one alone reports and writes checkpoints.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Team(Protocol):
    """The processes of one training, seen from one of them. All call the same methods in the same order."""

    rank: int
    size: int

    def share_of(self, positions: range) -> range:
        """The positions of a batch that this process takes; consecutive, and as many as the others' or one fewer."""

    def joined(self, network: nn.Module) -> nn.Module:
        """The network as it is to be called, so that gradients become those of the whole team."""

    def keeping_gradients(self, network: nn.Module) -> AbstractContextManager[object]:
        """Passes of a joined network inside keep their gradients to themselves; the next one outside adds them up."""

    def first_says(self, answer: bool) -> bool:
        """The answer of the first process."""

    def worst(self, grade: int) -> int:
        """The highest grade that any process gives."""

    def total(self, value: float) -> float:
        """The sum over all processes, equal to the last bit in all of them."""


class Alone:
    """A team of this process only: nothing is exchanged, and the network is called as it is."""

    rank = 0
    size = 1

    def share_of(self, positions: range) -> range:
        return positions

    def joined(self, network: nn.Module) -> nn.Module:
        return network

    def keeping_gradients(self, network: nn.Module) -> AbstractContextManager[object]:
        return nullcontext()

    def first_says(self, answer: bool) -> bool:
        return answer

    def worst(self, grade: int) -> int:
        return grade

    def total(self, value: float) -> float:
        return value


ALONE = Alone()


class Distributed:
    """One of several processes of this machine: NCCL between CUDA devices, gloo between CPU processes.

    Flags and counts go through gloo in either case, so that asking for them does not make the host wait for a device.
    """

    def __init__(self, rank: int, size: int, store_path: str, device: torch.device) -> None:
        """Waits until all have come. `store_path` is a file that does not exist yet, the same for all."""
        self.rank = rank
        self.size = size
        self._device = device
        on_cuda = device.type == "cuda"
        dist.init_process_group(
            "nccl" if on_cuda else "gloo",
            store=dist.FileStore(store_path, size),  # type: ignore[attr-defined]  # documented all the same
            rank=rank,
            world_size=size,
            device_id=device if on_cuda else None,
        )
        self._talk = (
            cast("dist.ProcessGroup", dist.new_group(backend="gloo")) if on_cuda else None
        )  # None: the only one

    def leave(self) -> None:
        """Close the connections after a training that ended as it should; every process does."""
        dist.destroy_process_group()

    def give_up(self) -> None:
        """Close them when others are gone. NCCL's end with the process: it might wait for those who never answer."""
        if self._device.type != "cuda":
            dist.destroy_process_group()

    def share_of(self, positions: range) -> range:
        return positions[self.rank * len(positions) // self.size : (self.rank + 1) * len(positions) // self.size]

    def joined(self, network: nn.Module) -> nn.Module:
        device_ids = [self._device] if self._device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=device_ids, gradient_as_bucket_view=True)

    def keeping_gradients(self, network: nn.Module) -> AbstractContextManager[object]:
        if not isinstance(network, DistributedDataParallel):
            raise TypeError("the network was not joined")
        kept: AbstractContextManager[object] = network.no_sync()
        return kept

    def first_says(self, answer: bool) -> bool:
        said = torch.tensor(answer, dtype=torch.uint8)
        dist.broadcast(said, src=0, group=self._talk)
        return bool(said)

    def worst(self, grade: int) -> int:
        worst = torch.tensor(grade)
        dist.all_reduce(worst, dist.ReduceOp.MAX, group=self._talk)
        return int(worst)

    def total(self, value: float) -> float:
        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total, group=self._talk)
        return float(total)

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values, in place; shapes and types must be equal already."""
        for tensor in tensors:
            sent = tensor.detach().contiguous()  # the receivers' memory may be laid out otherwise
            dist.broadcast(sent, src=0, group=None if sent.is_cuda else self._talk)
            if self.rank:
                tensor.detach().copy_(sent)
