"""A segmentation training is known before it runs: overrides are checked, and what ran reads back as it was."""

import pytest

from segsmith_shared.plans.segmentation import (
    SEGMENTATION_PRESETS,
    SegmentationSpec,
    UnknownSegmentationPreset,
    preset_named,
)
from segsmith_shared.problems import InvalidInput


@pytest.mark.parametrize("name", list(SEGMENTATION_PRESETS))
def test_a_preset_survives_json(name: str) -> None:
    spec = preset_named(name)
    assert SegmentationSpec.model_validate_json(spec.model_dump_json()) == spec


def test_overrides_replace_fields_and_leave_the_preset_alone() -> None:
    assert preset_named("tiny-cpu").with_overrides({"steps": 7}).steps == 7
    assert preset_named("tiny-cpu").steps != 7


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"stepz": 3}, "stepz"),
        ({"steps": 0}, "steps"),
        ({"side_px": 50}, "multiple of 8"),
        ({"encoder_depth": 4}, "one entry per level"),
        ({"encoder_weights": "../../etc/passwd"}, "encoder_weights"),
        ({"encoder_weights": "resnet18-imagenet"}, "for the encoder resnet18 or tu-resnet18"),
    ],
)
def test_a_wrong_override_names_its_field(fields: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        preset_named("tiny-cpu").with_overrides(fields)


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(UnknownSegmentationPreset) as caught:
        preset_named("huge")
    assert "paper-256" in caught.value.hint
