"""How many images the networks of a recipe see: the same altogether whether they share the clusters out or not.

An ablation that gives one network less training than the networks that it is compared with says nothing about
clusters. So, unless a request says otherwise, the one network of `full` and `conditioned` sees as many images as all
networks of `per_cluster` do together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segsmith_shared.plans.presets import Preset, TrainingSpec
from segsmith_shared.plans.specs import PooledImages, Recipe


@dataclass(frozen=True)
class TrainingBudget:
    """Of one recipe: its networks, the images that each sees, and those of the network that all start from."""

    networks: int
    images_each: int
    images_shared: int = 0

    @property
    def images(self) -> int:
        """All images seen, by all networks."""
        return self.networks * self.images_each + self.images_shared


def budget_of(recipe: Recipe, preset: Preset, clusters: int) -> TrainingBudget:
    """What the recipe's trainings see where the pairs fall into `clusters`; nothing for imported models."""
    training = preset.training
    if recipe.strategy == "imported":
        return TrainingBudget(0, 0)
    if recipe.strategy == "per_cluster":
        return TrainingBudget(clusters, training.images_total, training.warm_start_images)
    pooled = pooled_images(recipe, preset)
    return TrainingBudget(1, training.images_total if pooled is None else pooled.of(clusters))


def pooled_images(recipe: Recipe, preset: Preset) -> PooledImages | None:
    """What the images of the recipe's one network are summed up from when the clusters are known.

    None where the number does not depend on clusters: the recipe gives `training.images_total`, or the preset a number
    of its own for strategy `full`.
    """
    if recipe.strategy not in {"full", "conditioned"} or _gives_images(recipe.overrides):
        return None
    training = preset.training
    if recipe.strategy == "full" and training.images_total_full is not None:
        return PooledImages(each=0, shared=training.images_total_full)
    return PooledImages(each=training.images_total, shared=training.warm_start_images)


def with_images(training: TrainingSpec, images_total: int) -> TrainingSpec:
    """The same training for so many images. Raises pydantic's ValidationError beyond the limit of `images_total`."""
    return TrainingSpec.model_validate(training.model_dump() | {"images_total": images_total, "warm_start_images": 0})


def _gives_images(overrides: Mapping[str, Any]) -> bool:
    nested = overrides.get("training")
    return "training.images_total" in overrides or (isinstance(nested, Mapping) and "images_total" in nested)
