"""What k = 20 clusters cost to train: a network each, each from a shared start, or one that is told the cluster.

Images are those that the plan asks for (shared/plans/cost.py), which is what a run will train; seconds per image are
measured, in turn. Nothing here says that the results are equally good.
"""

import torch

from benchmarks._devices import wait_for
from benchmarks._pairing import paired_seconds
from benchmarks.training import THREADS, drawn_pairs
from segsmith_shared.plans.budget import TrainingBudget
from segsmith_shared.plans.cost import training_cost
from segsmith_shared.plans.presets import Preset, preset_named
from segsmith_worker.diffusion.training import TrainingState, train

CLUSTERS = 20
ROUNDS = 5


def measure() -> dict[str, float | str]:
    """For `small-64` on a CPU, on two threads."""
    torch.set_num_threads(THREADS)
    return training_seconds(preset_named("small-64"), ROUNDS)


def training_seconds(preset: Preset, rounds: int, device: str = "cpu", steps: int = 1) -> dict[str, float | str]:
    """Planned images, measured seconds per image and their product for each strategy; ratios to a network each."""
    pairs = drawn_pairs(preset.network.side_px)
    clusters = [index % CLUSTERS for index in range(len(pairs))]
    untold = TrainingState.start(preset, seed=0, device=device)
    told = TrainingState.start(preset, seed=0, device=device, clusters=CLUSTERS)

    def run(state: TrainingState, told_clusters: list[int] | None) -> None:
        until = state.images_seen + steps * preset.training.batch
        train(state, pairs, preset, seed=0, until_images_seen=until, clusters=told_clusters)
        wait_for(device)

    each, together = paired_seconds(lambda: run(untold, None), lambda: run(told, clusters), rounds)
    each_sees, shared = preset.training.images_total, preset.training.warm_start_images
    images = {
        "per_cluster": training_cost(preset, TrainingBudget(CLUSTERS, each_sees)).images,
        "warm_start": training_cost(preset, TrainingBudget(CLUSTERS, each_sees, shared)).images,
        "conditioned": training_cost(preset).images,
    }
    seen = steps * preset.training.batch
    seconds_per_image = {"per_cluster": each / seen, "warm_start": each / seen, "conditioned": together / seen}
    seconds = {strategy: images[strategy] * seconds_per_image[strategy] for strategy in images}
    figures: dict[str, float | str] = {
        "baseline": f"{CLUSTERS} networks, each trained from nothing",
        "preset": preset.name,
    }
    for strategy, planned in images.items():
        figures |= {
            f"{strategy}_planned_images": planned,
            f"{strategy}_seconds_per_image": seconds_per_image[strategy],
            f"{strategy}_seconds": seconds[strategy],
            f"{strategy}_ratio": seconds["per_cluster"] / seconds[strategy],
        }
    return figures
