"""What `procedure: authors` sets in a whole request, and what a run still does otherwise than the authors' code.

`corrected` is every field's own default. A field that the request gives is left as it is, and named as a difference.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from segsmith_shared.plans.presets import PRESETS, Preset
from segsmith_shared.plans.segmentation import preset_named as segmentation_preset
from segsmith_shared.plans.specs import ClusteringSpec, PipelineSpec, Recipe, SegmentationStudySpec
from segsmith_shared.plans.styling import PROCEDURE_STYLING, StylingSpec

AUTHORS_PRESETS = ("paper-256-2023", "paper-256-2024")
AUTHORS_SEGMENTATION: dict[str, Any] = {"input_statistics": "none", "augment": True, "epochs": 150}
"""Fields of SegmentationSpec (science §7)."""
AUTHORS_POLICY = "append_bernoulli"
NEVER_DONE = (
    "geometry: one for training and sampling (authors: centre crop to train on, squash to sample)",
    "label threshold: before any resize (authors: after, which grows the lesion by 4 to 8 %)",
    "segmentation validation: real pairs that no generator saw, the same for all arms (authors: a split by row, "
    "with samples of one source on both sides)",
    "Full synthetic with N = 3: samples 1, 2 and 3 (authors: samples 0, 1, 0)",
    "styling: one U-Net evaluation a step instead of two on the same input, which changes no value",
)
"""What no field can set."""


def with_procedure(spec: PipelineSpec) -> PipelineSpec:
    """The request with every field that its procedure sets and it does not give."""
    if spec.procedure != "authors":
        return spec
    return spec.model_copy(
        update={
            "clustering": _clustering(spec.clustering),
            "recipes": tuple(_recipe(recipe) for recipe in spec.recipes),
            "segmentation": None if spec.segmentation is None else _segmentation(spec.segmentation),
        }
    )


def differences(spec: PipelineSpec, presets: Mapping[str, Preset], import_procedure: str | None) -> list[str]:
    """What a run of `procedure: authors` does otherwise than the authors' code, field by field; nothing for others.

    `presets` are those of the recipes; `import_procedure` is how labels were read at import, None if unknown.
    """
    if spec.procedure != "authors":
        return []
    found = [*NEVER_DONE]
    if import_procedure != "authors":
        found.append("import procedure: labels at half of their range (authors: above 0)")
    if spec.clustering.minimum_cluster_size != 1:
        found.append(f"clustering.minimum_cluster_size: {spec.clustering.minimum_cluster_size} (authors: 1)")
    for recipe in spec.recipes:
        found += _of_preset(recipe.name, presets[recipe.name])
        found += _of_styling(recipe)
    return found + (list(_of_segmentation(spec.segmentation)) if spec.segmentation else [])


def _clustering(spec: ClusteringSpec) -> ClusteringSpec:
    given = "minimum_cluster_size" in spec.model_fields_set
    return spec if given else spec.model_copy(update={"minimum_cluster_size": 1})


def _recipe(recipe: Recipe) -> Recipe:
    # what the request overrides goes before what a procedure sets: Preset.with_overrides applies the procedure first
    overrides = {"procedure": "authors", **recipe.overrides}
    styling = None if recipe.styling is None else {"procedure": "authors", **recipe.styling}
    return recipe.model_copy(update={"overrides": overrides, "styling": styling})


def _segmentation(study: SegmentationStudySpec) -> SegmentationStudySpec:
    own = dict(study.overrides)
    fixed = {name: value for name, value in AUTHORS_SEGMENTATION.items() if name != "epochs" or "steps" not in own}
    policy = study.policy if "policy" in study.model_fields_set else AUTHORS_POLICY
    return study.model_copy(update={"overrides": fixed | own, "policy": policy})


def _of_preset(recipe: str, preset: Preset) -> Iterator[str]:
    """Against the paper's preset of the same training recipe, else that of 2023; network and side are compute."""
    named = next((name for name in AUTHORS_PRESETS if PRESETS[name].training.recipe == preset.training.recipe), None)
    wanted = PRESETS[named or AUTHORS_PRESETS[0]].with_overrides({"procedure": "authors"})
    size = {"batch", "micro_batch", "precision", "images_total_full", "samples_per_source"}
    for group in ("diffusion", "training", "sampling"):
        ours, theirs = getattr(preset, group).model_dump(), getattr(wanted, group).model_dump()
        for name, value in theirs.items():
            if name not in size and ours[name] != value and _is_read(wanted, group, name):
                yield f"{recipe}: {group}.{name}: {ours[name]} (authors: {value})"


def _is_read(preset: Preset, group: str, name: str) -> bool:
    """Whether a field does anything in this preset: RePaint reads none of the other samplers' fields."""
    if group == "sampling" and preset.sampling.sampler == "repaint":
        return name not in {"evaluations", "stochasticity", "order", "coarse_evaluations", "refined_from"} | {
            field for field in type(preset.sampling).model_fields if field.startswith("langevin_")
        }
    return True


def _of_styling(recipe: Recipe) -> Iterator[str]:
    if recipe.styling is None:
        return
    ours = StylingSpec().with_overrides(recipe.styling).model_dump()
    for name, value in PROCEDURE_STYLING["authors"].items():
        if ours[name] != value:
            yield f"{recipe.name}: styling.{name}: {ours[name]} (authors: {value})"


def _of_segmentation(study: SegmentationStudySpec) -> Iterator[str]:
    ours = segmentation_preset(study.preset).with_overrides(study.overrides).model_dump()
    theirs = segmentation_preset("paper-256").with_overrides(AUTHORS_SEGMENTATION).model_dump()
    for name, value in theirs.items():
        if name not in {"preset", "steps", "validation_fraction", "validate_every_steps"} and ours[name] != value:
            yield f"segmentation.{name}: {ours[name]} (authors: {value})"
    if study.policy != AUTHORS_POLICY:
        yield f"segmentation.policy: {study.policy} (authors: {AUTHORS_POLICY})"
