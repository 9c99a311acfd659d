"""Drawing one set: by batches that are stored as they are done, so that a cut study goes on where it was."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.samplers.material import PairList, TrainedModel
from benchmarks.samplers.rows import Row
from segsmith_shared.plans.presets import preset_named
from segsmith_shared.randomness import seed_for
from segsmith_worker.inpainting.redraw import choose_cluster, redraw
from segsmith_worker.inpainting.regions import redraw_regions

Tell = Callable[[str], None]


@dataclass(frozen=True)
class DrawnSet:
    """One row under one seed, in the order of the sources, each of which has one sample.

    images uint8 (n, H, W, 3), labels and regions bool (n, H, W), accepted bool (n,), seconds of all samples together.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.bool_]
    regions: NDArray[np.bool_]
    accepted: NDArray[np.bool_]
    wall_seconds: float
    cpu_seconds: float


def set_folder(output: Path, row: Row, seed: int, sources: PairList, models: Sequence[TrainedModel]) -> Path:
    """Where this set lies: another row, model or list of sources has another folder, so that nothing stale is read."""
    identity: list[Any] = [dict(row.overrides), [each.digest for each in models], sources.names]
    digest = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return output / "sets" / f"{row.name}-{digest}" / f"seed-{seed}"


def draw_set(
    row: Row, seed: int, sources: PairList, models: Sequence[TrainedModel], folder: Path, tell: Tell
) -> DrawnSet:
    """One sample per source; batches whose file is in the folder are read, the others drawn and written there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not models:
        return _undrawn(sources)
    spec = row.preset(models[0].model.preset).sampling
    chosen = [choose_cluster(seed, at, 1, 0, len(models), spec) for at in range(len(sources.names))]
    images = np.empty((len(chosen), *sources.squares.shape[2:], 3), np.uint8)
    labels = np.empty((len(chosen), *sources.squares.shape[2:]), np.bool_)
    regions, accepted, seconds = np.empty_like(labels), np.empty(len(chosen), np.bool_), np.zeros(2)
    for number, trained in enumerate(models):
        own = [at for at, model in enumerate(chosen) if model == number]
        for start in range(0, len(own), spec.batch):
            places = own[start : start + spec.batch]
            path = folder / f"model-{number}-from-{start}.npz"
            if not path.exists():
                _draw_batch(row, seed, sources, trained, places, path)
                tell(f"{row.name}, seed {seed}: {path.stem}")
            with np.load(path, allow_pickle=False) as batch:
                images[places], labels[places] = batch["images"], batch["labels"]
                regions[places], accepted[places] = batch["regions"], batch["accepted"]
                seconds += batch["seconds"]
    return DrawnSet(images, labels, regions, accepted, float(seconds[0]), float(seconds[1]))


def _draw_batch(
    row: Row, seed: int, sources: PairList, trained: TrainedModel, places: Sequence[int], path: Path
) -> None:
    spec = row.preset(trained.model.preset).sampling
    seeds = [seed_for(seed, "sample", place, 1) for place in places]
    began = np.array([time.perf_counter(), time.process_time()])
    # of exactly as many as there are: a batch filled up would be paid for, and no row is compared bit by bit
    result = redraw(
        trained.model,
        torch.from_numpy(sources.squares[list(places)]),
        seeds,
        spec.model_copy(update={"batch": len(places)}),
    )
    seconds = np.array([time.perf_counter(), time.process_time()]) - began
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(
            file,
            images=np.ascontiguousarray(result.images.numpy().transpose(0, 2, 3, 1)),
            labels=result.labels.numpy() > 0,
            regions=result.redraw_regions.numpy(),
            accepted=np.array(result.accepted),
            seconds=seconds,
        )
    part.rename(path)


def _undrawn(sources: PairList) -> DrawnSet:
    labels = sources.squares[:, 3] >= 128
    images = np.ascontiguousarray(sources.squares[:, :3].transpose(0, 2, 3, 1))
    return DrawnSet(images, labels, regions_of(sources.squares), np.ones(len(labels), np.bool_), 0.0, 0.0)


def regions_of(squares: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """What would be redrawn of real pairs uint8 (n, 4, H, W), as all rows dilate it: bool (n, H, W)."""
    return redraw_regions(squares[:, 3] >= 128, preset_named("small-64").sampling)
