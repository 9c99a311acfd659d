"""What the registry says of a file, and how far a digest is believed."""

import pytest

from segsmith_shared.plans.pipeline import required_weights
from segsmith_shared.plans.specs import PartRef, PipelineSpec, Recipe, SegmentationStudySpec
from segsmith_shared.plans.weights import (
    ENCODERS_OF,
    PRETRAINED,
    PretrainedWeights,
    UnknownWeights,
    WeightsCorrupt,
    missing_weights,
    weights_in_file,
    weights_named,
)

PAIRS = PartRef.model_validate({"version_id": "7f0c2a52-5a0b-4f0e-9d1c-6d3f1f1f5a10"})
MODEL = "0d9e5c9e-2f6b-4bb1-8f0e-5b1d3ad1f111"


def published(sha256: str) -> PretrainedWeights:
    return PRETRAINED["dino-vit-s8"].model_copy(update={"sha256": sha256})


def test_a_digest_is_believed_as_far_as_it_is_published() -> None:
    digest = "6726825d" + "a" * 56
    assert published(digest).pinned_by(digest) == "published digest"
    assert published("6726825d").pinned_by(digest) == "digest in the published name"
    assert published("").pinned_by(digest) == "first import"
    by_others = published(digest).model_copy(update={"printed_by": "others"})
    assert by_others.pinned_by(digest) == "digest that others print"


@pytest.mark.parametrize("known", ["6726825d", "6726825d" + "b" * 56])
def test_another_digest_is_refused_with_the_command_that_mends_it(known: str) -> None:
    with pytest.raises(WeightsCorrupt, match="6726825d") as caught:
        published(known).pinned_by("0" * 64)
    assert "segsmith weights fetch dino-vit-s8" in caught.value.hint


def test_missing_files_are_told_with_their_size_their_use_and_one_command() -> None:
    problem = missing_weights(["vgg19", "fid-inception"])
    assert problem.status == 422
    assert "fid-inception (96 MB, clustering, FID, KID)" in problem.detail
    assert "`segsmith weights fetch fid-inception vgg19`" in problem.hint
    assert problem.as_document()["missing"] == ["fid-inception", "vgg19"]


def test_a_file_is_known_by_its_published_name() -> None:
    assert all(weights_in_file(known.file_name) == known for known in PRETRAINED.values())
    with pytest.raises(UnknownWeights) as caught:
        weights_in_file("model.safetensors")
    assert "--name" in caught.value.hint
    with pytest.raises(UnknownWeights):
        weights_named("resnet")


def test_every_address_is_encrypted_and_names_the_file_whose_digest_its_name_bears() -> None:
    for known in PRETRAINED.values():
        assert known.address.startswith("https://")
        if len(known.sha256) == 8:
            assert known.address.endswith(f"-{known.sha256}.pth")


def required(**fields: object) -> set[str]:
    return required_weights(PipelineSpec.model_validate({"pairs": PAIRS, "segmentation": None} | fields))


def test_a_pipeline_needs_the_files_that_its_jobs_read() -> None:
    assert required() == {"fid-inception"}
    assert required(evaluation=None) == {"fid-inception"}  # clustering reads it, too
    study = SegmentationStudySpec(preset="paper-256")
    assert required(segmentation=study) == {"fid-inception", "se-resnext50-imagenet"}
    from_scratch = SegmentationStudySpec(preset="paper-256", overrides={"encoder_weights": None})
    assert required(segmentation=from_scratch) == {"fid-inception"}


def test_styling_needs_the_networks_it_compares_pictures_by() -> None:
    assert required(recipes=(Recipe(styling={}),)) == {"fid-inception", "dino-vit-b8", "vgg19"}
    smaller = Recipe(styling={"style_network": "dino-vit-s8"})
    assert required(recipes=(smaller,)) == {"fid-inception", "dino-vit-s8", "vgg19"}


def test_drawing_with_imported_models_alone_needs_nothing() -> None:
    recipes = (Recipe.model_validate({"strategy": "imported", "model_ids": [MODEL]}),)
    assert required(recipes=recipes, evaluation=None) == set()
    assert required(recipes=recipes) == {"fid-inception"}


def test_stand_ins_are_used_only_when_asked_for() -> None:
    assert not PipelineSpec(pairs=PAIRS).allow_stand_ins


def test_every_encoder_that_a_preset_may_name_is_in_the_registry() -> None:
    assert set(ENCODERS_OF) == {name for name in PRETRAINED if name.endswith("-imagenet")}
