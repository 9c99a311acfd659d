"""What makes the arms and recipes of one request comparable, checked before anything runs and said where it is not."""

from collections.abc import Iterable, Mapping
from typing import Any

from segsmith_shared.plans.budget import TrainingBudget
from segsmith_shared.plans.presets import Preset, draws_from_negatives, learns_from_negatives
from segsmith_shared.plans.segmentation import SegmentationSpec, preset_named
from segsmith_shared.plans.specs import ArmSpec, SegmentationStudySpec
from segsmith_shared.problems import InvalidInput


class TooFewRealPairs(InvalidInput):
    """An arm asks for more real pairs than there are to train on."""

    title = "An arm asks for too many real pairs"


class EnlargedPictures(InvalidInput):
    """A segmentation model would see synthetic pictures enlarged and real ones sharp."""

    title = "Synthetic pictures would be enlarged"


def at_drawn_side(preset: str, overrides: Mapping[str, Any], presets: Iterable[Preset]) -> dict[str, Any]:
    """The overrides with a `side_px` at which no synthetic picture is enlarged: that of the smallest drawn, or less.

    A side that the request gives is kept. Raises EnlargedPictures where it is larger than what is drawn, and what
    `SegmentationSpec.with_overrides` does.
    """
    spec = preset_named(preset).with_overrides(dict(overrides))
    drawn_px = min(each.network.side_px for each in presets)
    if spec.side_px <= drawn_px:
        return dict(overrides)
    if "side_px" in overrides:
        raise EnlargedPictures(
            f"Segmentation at {spec.side_px} px would enlarge the synthetic pictures, drawn at {drawn_px} px.",
            hint=f"Give a side_px of at most {drawn_px}, or draw larger pictures.",
        )
    return {**overrides, "side_px": _fitting_side(spec, drawn_px)}


def _fitting_side(spec: SegmentationSpec, at_most_px: int) -> int:
    step_px: int = 2**spec.encoder_depth
    return max(at_most_px // step_px, 1) * step_px


def check_real_limits(study: SegmentationStudySpec, real_pairs: int) -> None:
    """Raises TooFewRealPairs."""
    for arm in study.arms:
        if arm.real_limit is not None and arm.real_limit > real_pairs:
            raise TooFewRealPairs(
                f"Arm {arm.name!r} asks for {arm.real_limit} real pairs; {real_pairs} are left to train on.",
                hint="Lower real_limit, or use more pairs: validation and test pairs are set aside before.",
            )


def reference_of(arm: ArmSpec, arms: Iterable[ArmSpec], real_pairs: int) -> ArmSpec | None:
    """The arm of as many real pairs alone that `arm` is compared with; None where there is none, or it is that one."""
    wanted = real_count(arm, real_pairs)
    alone = (each for each in arms if each.real and not each.sets)
    found = next((each for each in alone if real_count(each, real_pairs) == wanted), None)
    return None if found is None or found.name == arm.name else found


def real_count(arm: ArmSpec, real_pairs: int) -> int:
    """n of an arm: the real pairs that it trains on, or whose samples it trains on."""
    return real_pairs if arm.real_limit is None else min(arm.real_limit, real_pairs)


def without_reference(study: SegmentationStudySpec, real_pairs: int) -> list[str]:
    """Arms with synthetic pairs for which no arm trains on as many real pairs alone, by name."""
    return [arm.name for arm in study.arms if arm.sets and reference_of(arm, study.arms, real_pairs) is None]


def notes_on_arms(study: SegmentationStudySpec, real_pairs: int) -> list[str]:
    """What a reader of the arms must know before the run."""
    alone = without_reference(study, real_pairs)
    if not alone:
        return []
    names = ", ".join(repr(name) for name in alone)
    return [f"No arm trains on as many real pairs alone as {names}: what these gain will not be said."]


def notes_on_negatives(presets: Mapping[str, Preset], negatives: int) -> list[str]:
    """Which recipes leave the pictures without a lesion out, and of what."""
    if not negatives:
        return []
    untrained = [name for name, preset in presets.items() if not learns_from_negatives(preset.training)]
    undrawn = [name for name, preset in presets.items() if not draws_from_negatives(preset.sampling)]
    notes = []
    if untrained:
        notes.append(f"{negatives} pictures without a lesion are not trained on by {', '.join(untrained)}.")
    if undrawn:
        notes.append(
            f"{negatives} pictures without a lesion are no sources of {', '.join(undrawn)}: sampling.label `exchanged` "
            "draws a lesion into them to another picture's label."
        )
    return notes


def notes_on_budgets(budgets: Mapping[str, TrainingBudget]) -> list[str]:
    """Whether recipes are trained on different numbers of images, in words."""
    seen = {name: budget.images for name, budget in budgets.items() if budget.networks}
    if len(set(seen.values())) < 2:
        return []
    listed = ", ".join(f"{name} {images:,}" for name, images in seen.items())
    return [f"Recipes see different numbers of images, so their sets do not compare strategies alone: {listed}."]
