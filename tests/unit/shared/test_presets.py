"""Presets: stored whole, read back equal, changed only within limits."""

import json
from typing import Any

import pytest

from segsmith_shared.plans.presets import PRESETS, Preset, PresetOverrideRejected, UnknownPreset, preset_named


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_being_stored_as_json(name: str) -> None:
    preset = preset_named(name)
    assert Preset.model_validate(json.loads(json.dumps(preset.model_dump(mode="json")))) == preset


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_obeys_its_own_limits(name: str) -> None:
    assert Preset.model_validate(preset_named(name).model_dump()) == preset_named(name)


def test_nested_and_dotted_overrides_say_the_same() -> None:
    preset = preset_named("tiny-cpu")
    nested = preset.with_overrides({"training": {"batch": 6, "micro_batch": 2}})
    assert nested == preset.with_overrides({"training.batch": 6, "training.micro_batch": 2})
    assert (nested.training.batch, nested.training.micro_batch) == (6, 2)
    assert nested.network == preset.network
    assert preset.training.batch != 6


def test_the_authors_procedure_brings_its_quirks_and_a_field_beside_it_wins() -> None:
    authors = preset_named("paper-256-2023").with_overrides({"procedure": "authors", "sampling.paste_known": True})
    sampling = authors.sampling
    assert (sampling.dilation_px, sampling.dilation_kernel, sampling.opening_px) == (10, "even", 16)
    assert not sampling.clip_denoised
    assert sampling.paste_known


def test_going_to_the_authors_and_back_changes_nothing() -> None:
    preset = preset_named("paper-256-2024")
    assert preset.with_overrides({"procedure": "authors"}).with_overrides({"procedure": "corrected"}) == preset


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"training.bathc": 4}, "training.bathc"),
        ({"colour": "red"}, "colour"),
        ({"training.batch": 0}, "training.batch"),
        ({"training.learning_rate": float("nan")}, "training.learning_rate"),
        ({"procedure": "mine"}, "procedure"),
        ({"training": 3}, "training"),
        ({"network.side_px": 50}, "side_px"),
        ({"sampling.sampler": "repaint"}, "ancestral_known_clean"),
        ({"sampling.order": 3}, "sampling.order"),
        ({"sampling.langevin_steps": 0}, "sampling.langevin_steps"),
        ({"sampling.langevin_renewal": 1.5}, "sampling.langevin_renewal"),
        ({"sampling.langevin_guidance": -1}, "sampling.langevin_guidance"),
        ({"sampling.coarse_evaluations": 0}, "sampling.coarse_evaluations"),
        ({"sampling.refined_from": 0}, "sampling.refined_from"),
        ({"sampling.label_core": 0.5}, "label_core"),
        ({"sampling.sampler": "coarse_to_fine", "network.side_px": 20}, "halves evenly"),
        ({"diffusion.learned_range": True}, "fixed variance"),
        ({"training.region_dilation_px_low": 200}, "region_dilation_px_low"),
    ],
)
def test_an_impossible_override_is_refused_by_name(overrides: dict[str, Any], named: str) -> None:
    with pytest.raises(PresetOverrideRejected, match=named):
        preset_named("tiny-cpu").with_overrides(overrides)


def test_an_unknown_preset_tells_which_there_are() -> None:
    with pytest.raises(UnknownPreset) as caught:
        preset_named("huge")
    assert "tiny-cpu" in caught.value.hint


@pytest.mark.parametrize("name", ["tiny-cpu", "paper-256-2023"])
def test_a_run_from_before_a_sampling_field_reads_back(name: str) -> None:
    document = preset_named(name).model_dump(mode="json")
    for field in ("order", "label_core", "coarse_evaluations", "refined_from"):
        del document["sampling"][field]
    for field in ("langevin_steps", "langevin_renewal", "langevin_guidance"):
        del document["sampling"][field]
    stored = Preset.model_validate(document)
    assert (stored.sampling.order, stored.sampling.label_core) == (1, 0)
