"""One training on several devices: the job's own process leads, and starts a further process for each further device.

They live and die with the leader: when it dies the kernel kills the server that forked them, and then them; they are in
its process group, and leave signals to it. The leader tells them after each step whether to go on, so a cancel, a pause
or the end of a slice reaches all at the same step. They read no database and write nothing.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from segsmith_shared.jobs.heap import keep_freed_memory
from segsmith_shared.jobs.tether import die_with_parent
from segsmith_shared.plans.presets import Preset
from segsmith_shared.problems import InvalidInput, Problem
from segsmith_shared.telemetry import logger
from segsmith_worker.device import device_name
from segsmith_worker.diffusion.execution import Execution
from segsmith_worker.diffusion.parallel import ALONE, Distributed, Team
from segsmith_worker.diffusion.training import TrainingState, train

log = logger(__name__)

CONTEXT = multiprocessing.get_context("forkserver")
"""Forked from a server that has only imported: the leader may have started CUDA, which a fork does not survive."""
PRELOAD = ("segsmith_shared.jobs.tether", "segsmith_worker.steps.ranks")
SECONDS_TO_NOTICE = 20.0
SECONDS_TO_END = 60.0
LOST = 71
"""Exit code of a leader that waits, deep in a driver, for somebody who is gone: its worker tries the job again."""


class TooFewDevices(InvalidInput):
    """The installation asks for more devices than the worker sees."""

    title = "Too few devices"


class RankLost(Problem):
    """A process of the team ended early; the job goes on from its last checkpoint."""

    status = 500
    title = "A part of the training was lost"
    retryable = True


@dataclass(frozen=True)
class Order:
    """What every process of a team is told when it starts; weights and pairs come from the leader."""

    preset: dict[str, Any]
    seed: int
    clusters: list[int] | None
    cluster_count: int
    pair_count: int
    torch_threads: int
    compiled: bool


def team_size(wanted: int | Literal["all"], batch: int) -> int:
    """How many processes train together: one per device, and never more than a batch has images.

    Without CUDA a number means so many processes on the CPU, and `all` one. Raises TooFewDevices.
    """
    visible = torch.cuda.device_count() if device_name() == "cuda" else None
    if wanted == "all":
        return min(visible or 1, batch)
    if visible is not None and wanted > visible:
        raise TooFewDevices(
            f"TRAINING_DEVICES asks for {wanted} devices, and this worker sees {visible}.",
            hint="Give the worker more devices (CUDA_VISIBLE_DEVICES), or set TRAINING_DEVICES to `all`.",
        )
    return min(wanted, batch)


@contextmanager
def team(size: int, order: Order, state: TrainingState, pairs: Tensor) -> Iterator[Team]:
    """The team this process leads, its other members holding the same state and pairs already.

    Call `train` once inside, to its end. Raises RankLost when a member is gone; none outlives the block.
    """
    if size == 1:
        yield ALONE
        return
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine: nothing listens to the network
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory(prefix="segsmith-team-") as folder:
        store_path = str(Path(folder) / "store")
        CONTEXT.set_forkserver_preload(list(PRELOAD))
        members = [_member(rank, size, store_path, order) for rank in range(1, size)]
        watch = _Watch(members)
        leader: Distributed | None = None
        seconds_to_end = 0.0
        try:
            for member in members:
                member.start()
            watch.start()
            leader = Distributed(0, size, store_path, state.device)
            leader.spread([pairs, *_tensors_of(state)])
            yield leader
            leader.leave()
            leader, seconds_to_end = None, SECONDS_TO_END
        except RuntimeError as error:
            if lost := _lost(members):
                raise lost from error
            raise
        finally:
            watch.end()
            for member in members:
                if member.pid is not None:
                    member.join(seconds_to_end)
                    member.kill()
                    member.join()
            if leader is not None:
                leader.give_up()


def _member(rank: int, size: int, store_path: str, order: Order) -> ForkServerProcess:
    arguments = (rank, size, store_path, order)
    return CONTEXT.Process(target=follow, args=arguments, name=f"segsmith rank {rank}", daemon=True)


def follow(rank: int, size: int, store_path: str, order: Order) -> None:
    """What a member's process does: train its share of every batch until the leader says that it is enough."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    leader = multiprocessing.parent_process()
    if leader is None or not leader.is_alive():
        sys.exit(LOST)
    keep_freed_memory()
    torch.set_num_threads(order.torch_threads)
    device = torch.device("cuda", rank) if device_name() == "cuda" else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    preset = Preset.model_validate(order.preset)
    channels, side_px = preset.network.pair_channels, preset.network.side_px
    own = Distributed(rank, size, store_path, device)
    state = TrainingState.start(preset, seed=0, device=str(device), clusters=order.cluster_count)
    pairs = torch.empty(order.pair_count, channels, side_px, side_px, dtype=torch.uint8)
    counts = _counts_of(state)
    own.spread([pairs, *_tensors_of(state, counts)])
    state.step, state.images_seen, state.micro_batch = (int(count) for count in counts)
    until = preset.training.images_total
    execution = Execution(team=own, compiled=order.compiled)
    try:
        train(
            state, pairs, preset, seed=order.seed, until_images_seen=until, clusters=order.clusters, execution=execution
        )
    except Problem:
        sys.exit(LOST)  # the leader meets the same one, and tells it
    own.leave()


class _Watch(threading.Thread):
    """Ends the leader where a member is gone and the leader does not notice: waiting for a device, it cannot.

    It looks at sentinels only: an exit code can be read once, and the main thread reads it.
    """

    def __init__(self, members: list[ForkServerProcess]) -> None:
        super().__init__(name="watch of ranks", daemon=True)
        self._members = members
        self._reader, self._writer = os.pipe()

    def run(self) -> None:
        ready = connection.wait([self._reader, *(member.sentinel for member in self._members)])
        if self._reader not in ready and not connection.wait([self._reader], SECONDS_TO_NOTICE):
            log.error("a rank ended early, and its leader hangs")
            os._exit(LOST)

    def end(self) -> None:
        os.write(self._writer, b"!")
        if self.is_alive():
            self.join()
        os.close(self._reader)
        os.close(self._writer)


def _lost(members: list[ForkServerProcess]) -> RankLost | None:
    """What to say of the member whose end the leader noticed by an error; None if all are there."""
    connection.wait([member.sentinel for member in members if member.pid is not None], timeout=1)
    gone = [member for member in members if member.exitcode]
    if not gone:
        return None
    names = ", ".join(f"{member.name} (exit code {member.exitcode})" for member in gone)
    return RankLost(
        f"The process {names} ended early.",
        hint="The worker's log may say why. The job is tried again from its last checkpoint.",
    )


def _tensors_of(state: TrainingState, counts: Tensor | None = None) -> Iterator[Tensor]:
    """Everything that makes two states equal, in the same order for both; `counts` are written into by members."""
    yield _counts_of(state) if counts is None else counts
    for network in (state.network, state.average):
        yield from network.parameters()
    for parameter in state.network.parameters():
        yield from (state.optimiser.state[parameter][name] for name in ("step", "exp_avg", "exp_avg_sq"))


def _counts_of(state: TrainingState) -> Tensor:
    return torch.tensor([state.step, state.images_seen, state.micro_batch])
