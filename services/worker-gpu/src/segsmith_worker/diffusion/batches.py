"""What one step trains on, drawn on the CPU from (seed, position): pairs, regions, noise, times and clusters."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from segsmith_shared.plans.presets import TrainingSpec
from segsmith_shared.randomness import numpy_generator_for, seed_for
from segsmith_worker.device import to_device
from segsmith_worker.diffusion.cropping import cropped
from segsmith_worker.diffusion.labels import lesions_of, unknown_of
from segsmith_worker.inpainting.regions import training_regions
from segsmith_worker.randomness import generator_for

DRAWN_AHEAD = 2
"""Micro-batches that wait ready while the network works on one."""


@dataclass(frozen=True)
class DrawnBatch:
    """The images of one pass through the network, in as few bytes as they can be, all on one device.

    pairs uint8 (b, C, H, W); region bool (b, 1, H, W) or None; noise float32 (b, C, H, W); time float64 (b,) in 0..1;
    told int64 (b,), the cluster of each, or None; label_given bool (b,), whose labels are known, or None; unknown bool
    (b, 1, H, W), where labels say nothing, or None where all say something everywhere.
    """

    pairs: Tensor
    region: Tensor | None
    noise: Tensor
    time: Tensor
    told: Tensor | None
    label_given: Tensor | None = None
    unknown: Tensor | None = None

    def to(self, device: torch.device) -> Self:
        """The same on another device; the host does not wait for the copy."""
        return self._each(lambda part: to_device(part, device))

    def pinned(self) -> Self:
        """The same in memory that a CUDA device reads by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        region = None if self.region is None else change(self.region)
        told = None if self.told is None else change(self.told)
        given = None if self.label_given is None else change(self.label_given)
        unknown = None if self.unknown is None else change(self.unknown)
        return type(self)(change(self.pairs), region, change(self.noise), change(self.time), told, given, unknown)


@dataclass(frozen=True)
class TrainingPairs:
    """What batches are drawn from: pairs uint8 (n, 3 + F, H, W), their clusters (n,) of `cluster_count`, if told."""

    pairs: Tensor
    spec: TrainingSpec
    seed: int
    clusters: Tensor | None = None
    cluster_count: int = 0

    def draw(self, positions: range) -> DrawnBatch:
        """The images seen at these positions of the run, whoever asks."""
        chosen = self.pairs[[index_at(self.seed, at, len(self.pairs)) for at in positions]]
        seen = zip(chosen, positions, strict=True)
        chosen = torch.stack([self._flipped(cropped(pair, self.spec, self.seed, at), at) for pair, at in seen])
        region = None
        if self.spec.inpainting_aware:
            labels = lesions_of(chosen).numpy()
            region = torch.from_numpy(training_regions(labels, self.spec, self.seed, positions))[:, None]
        generators = [generator_for(self.seed, "train-noise", at) for at in positions]
        noise = torch.stack([torch.randn(chosen.shape[1:], generator=g) for g in generators])
        time = torch.cat([torch.rand(1, generator=g, dtype=torch.float64) for g in generators])
        clusters, given = self._told(positions), self._label_given(positions)
        unknown = unknown_of(chosen)[:, None]
        return DrawnBatch(chosen, region, noise, time, clusters, given, unknown if unknown.any() else None)

    def _label_given(self, positions: range) -> Tensor | None:
        if not self.spec.label_given_share:
            return None
        draws = [numpy_generator_for(self.seed, "label-given", at).random() for at in positions]
        return torch.tensor([draw < self.spec.label_given_share for draw in draws])

    def _flipped(self, pair: Tensor, position: int) -> Tensor:
        bits = seed_for(self.seed, "flip", position)
        flips = self.spec.flips
        axes = [axis for axis, wanted in ((-1, flips != "none"), (-2, flips == "both")) if wanted]
        return pair.flip([axis for bit, axis in enumerate(axes) if bits >> bit & 1])

    def _told(self, positions: range) -> Tensor | None:
        """The cluster of each image, or `cluster_count`, "any", for those that come without."""
        if self.clusters is None:
            return None
        draws = [numpy_generator_for(self.seed, "cluster-dropout", at).random() for at in positions]
        own = self.clusters[[index_at(self.seed, at, len(self.clusters)) for at in positions]]
        dropped = torch.tensor([draw < self.spec.cluster_dropout for draw in draws])
        return torch.where(dropped, self.cluster_count, own)


class Feed:
    """Micro-batches on the network's device, in the order a training asks for them.

    `ahead`, the next ones are drawn in a thread while the network works on one: the same ones.
    """

    def __init__(self, source: TrainingPairs, device: torch.device, *, ahead: bool) -> None:
        self._source = source
        self._device = device
        self._ahead = ahead
        self._coming: Generator[DrawnBatch, None, None] | None = None
        self._expected: tuple[range, int] | None = None

    def of_step(self, positions: range, micro_batch: int) -> Iterator[DrawnBatch]:
        """The images at these positions, at most `micro_batch` at a time.

        Left before its end, or asked for what does not follow, it draws anew.
        """
        parts = parts_of(positions, micro_batch)
        if not self._ahead:
            yield from (self._source.draw(part).to(self._device) for part in parts)
            return
        if self._coming is None or self._expected != (positions, micro_batch):
            self.close()
            self._coming = self._drawn_ahead(positions, micro_batch)
        self._expected = None
        for _ in parts:
            yield next(self._coming).to(self._device)
        self._expected = (self._after(positions), micro_batch)

    def close(self) -> None:
        """End the thread, if there is one."""
        if self._coming is not None:
            self._coming.close()
        self._coming = None

    def _drawn_ahead(self, positions: range, micro_batch: int) -> Generator[DrawnBatch, None, None]:
        asked_for = self._from(positions, micro_batch)
        thread = ThreadPoolExecutor(1, "prefetch")
        try:
            waiting = deque(thread.submit(self._drawn, next(asked_for)) for _ in range(DRAWN_AHEAD))
            while True:
                waiting.append(thread.submit(self._drawn, next(asked_for)))
                yield waiting.popleft().result()
        finally:
            thread.shutdown(cancel_futures=True)

    def _drawn(self, positions: range) -> DrawnBatch:
        batch = self._source.draw(positions)
        if self._device.type != "cuda":
            return batch
        with torch.cuda.device(self._device):  # a thread begins on the first device, whichever its process uses
            return batch.pinned()

    def _from(self, positions: range, micro_batch: int) -> Iterator[range]:
        while True:
            yield from parts_of(positions, micro_batch)
            positions = self._after(positions)

    def _after(self, positions: range) -> range:
        """The positions of the same share of the next batch."""
        return range(positions.start + self._source.spec.batch, positions.stop + self._source.spec.batch)


def parts_of(positions: range, size: int) -> list[range]:
    """Consecutive parts of at most this size."""
    return [positions[start : start + size] for start in range(0, len(positions), size)]


def index_at(seed: int, position: int, count: int) -> int:
    """Which pair is seen at this position: each once per round, every round in a new order."""
    lap, place = divmod(position, count)
    return int(numpy_generator_for(seed, "order", lap, count).permutation(count)[place])
