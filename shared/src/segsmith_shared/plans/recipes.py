"""A recipe's whole preset: the row it names, or that of the stored models it draws with or starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from uuid import UUID

from segsmith_shared.plans.presets import Preset, PresetOverrideRejected, preset_named
from segsmith_shared.plans.specs import PipelineSpec, Recipe
from segsmith_shared.problems import InvalidInput


class ModelsDoNotFit(InvalidInput):
    """The stored models that a recipe names cannot be used as it wants."""

    title = "The models do not fit the recipe"


@dataclass(frozen=True)
class StoredModel:
    """A model that is there already: the job that made it, its preset, and whether it is told the cluster."""

    job_id: UUID
    preset: Preset
    told_clusters: bool = False


def preset_of(
    spec: PipelineSpec,
    recipe: Recipe,
    models: Mapping[UUID, StoredModel] = MappingProxyType({}),
    *,
    grey: bool = False,
    classes: int = 1,
) -> Preset:
    """The recipe's whole preset: the named row, or that of the imported models, with the recipe's overrides.

    Where the pairs are `grey`, samples are too unless the recipe says otherwise; networks draw as many `classes` as the
    pairs' labels tell apart. Raises UnknownPreset, PresetOverrideRejected, ModelsDoNotFit.
    """
    colour = {"sampling.colour": "grey"} if grey else {}
    if recipe.strategy == "imported":
        named = [models[model_id] for model_id in recipe.model_ids]
        for model in named:
            _check_drawn_classes(model.preset, classes, "An imported model")
        return _preset_of_imported(
            recipe, [replace(model, preset=model.preset.with_overrides(colour)) for model in named]
        )
    by_data = colour | {"network.classes": classes}
    preset = preset_named(recipe.preset or spec.preset).with_overrides(by_data).with_overrides(recipe.overrides)
    if preset.network.classes != classes:
        raise PresetOverrideRejected(
            f"Recipe {recipe.name} sets network.classes to {preset.network.classes}; the labels tell apart {classes}.",
            hint="Leave it out: it is as many as the classes named when the pairs were imported.",
        )
    if recipe.warm_start_model_id is not None:
        given = models[recipe.warm_start_model_id]
        _check_drawn_classes(given.preset, classes, "The model to start from")
        _check_fit(given.preset, preset, "The model to start from")
        if given.told_clusters:
            raise ModelsDoNotFit(
                "The model to start from is told clusters, which are others in each clustering.",
                hint="Start from one that was trained per cluster or on all pairs.",
            )
    return preset


def _check_drawn_classes(given: Preset, classes: int, what: str) -> None:
    if given.network.classes != classes:
        raise ModelsDoNotFit(
            f"{what} draws labels of {_classes(given.network.classes)}, but those of the pairs tell apart "
            f"{_classes(classes)}.",
            hint="Choose a model that was trained on labels of as many classes, or train one.",
        )


def _classes(count: int) -> str:
    return "one class" if count == 1 else f"{count} classes"


def _preset_of_imported(recipe: Recipe, models: Sequence[StoredModel]) -> Preset:
    presets = [model.preset for model in models]
    preset = presets[0].with_overrides(recipe.overrides)
    told = any(model.told_clusters for model in models)
    if told and len(models) > 1:
        raise ModelsDoNotFit("A model that is told the cluster draws alone.", hint="Give that one a recipe of its own.")
    for other in presets:
        _check_fit(other, preset, "An imported model")
        if other.training.inpainting_aware != preset.training.inpainting_aware or other.diffusion != preset.diffusion:
            raise _drawn_as_trained()
    if preset.model_copy(update={"sampling": presets[0].sampling}) != presets[0]:
        raise _drawn_as_trained()
    if (told or len(presets) > 1) and preset.sampling.cluster_choice == "own":
        raise ModelsDoNotFit(
            "Which of the imported models, or of the clusters that one is told, is a source's own is not known.",
            hint="Set sampling.cluster_choice to random, or give one model that is told no clusters.",
        )
    return preset


def _drawn_as_trained() -> ModelsDoNotFit:
    return ModelsDoNotFit("Imported models draw as they were trained.", hint="Change fields of `sampling` only.")


def _check_fit(given: Preset, wanted: Preset, what: str) -> None:
    if (given.network, given.diffusion.learned_range) != (wanted.network, wanted.diffusion.learned_range):
        raise ModelsDoNotFit(
            f"{what} has another network than the recipe's preset.",
            hint=f"Its network: {given.network.model_dump_json()}, learned_range {given.diffusion.learned_range}.",
        )
