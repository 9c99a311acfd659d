"""What jobs make of pretrained files: they begin at those values, and say so; or at random ones, and say that."""

import pytest
import torch
from torch import Tensor

from segsmith_shared.database.tables import JobKind
from segsmith_shared.jobs.context import Stopped, StopReason
from segsmith_shared.plans.segmentation import preset_named
from segsmith_shared.plans.specs import ArmSpec, NamedPart, PartRef, SegmentJobSpec
from segsmith_shared.plans.styling import StylingSpec
from segsmith_shared.plans.weights import FID_INCEPTION, VGG19, WeightsCorrupt, WeightsMissing
from segsmith_shared.storage import checkpoints
from segsmith_shared.vision import dino, inception, vgg
from segsmith_shared.vision.features import extractor_for
from segsmith_worker.segmentation import models
from segsmith_worker.steps import segment
from segsmith_worker.steps.style_towers import towers_for
from tests.fixtures.drawn_version import drawn_version
from tests.fixtures.weight_imports import WeightImports

ENCODER = "resnet18-imagenet"
BARELY_LEARNS = {"encoder": "tu-resnet18", "encoder_weights": ENCODER, "lr": 1e-9, "lr_after_drop": 1e-9, "batch": 2}


def begun(imports: WeightImports, *, allow_stand_ins: bool = False) -> tuple[dict[str, Tensor], dict[str, object]]:
    """The checkpoint of a segmentation training that was paused after its first step, and what it says of itself."""
    pairs, validation, tests = (
        PartRef(version_id=drawn_version(imports.engine, imports.objects, 5, seed=s)) for s in (0, 1, 2)
    )
    spec = SegmentJobSpec(
        arm=ArmSpec(name="real"),
        sets={},
        pairs=pairs,
        validation=validation,
        tests=(NamedPart(name="test", pairs=tests),),
        geometry="squash",
        preset="tiny-cpu",
        overrides=BARELY_LEARNS,
        policy="pool",
        seed=0,
        torch_threads=1,
        allow_stand_ins=allow_stand_ins,
    )
    outcome = segment.run(imports.claimed(JobKind.SEGMENT, spec, stop=StopReason.PAUSE))
    assert isinstance(outcome, Stopped)
    return checkpoints.load(imports.objects, outcome.state["checkpoint"])


def published_encoder() -> dict[str, Tensor]:
    """Random values under the names of the published file."""
    network = models.build(preset_named("tiny-cpu").with_overrides(BARELY_LEARNS), seed=5)
    named = network.get_submodule("encoder").state_dict()
    return {name.removeprefix("model."): tensor for name, tensor in named.items()}


def test_a_segmentation_model_begins_at_the_pretrained_encoder_and_says_which(weight_imports: WeightImports) -> None:
    published = published_encoder()
    row = weight_imports.has(ENCODER, published)
    tensors, facts = begun(weight_imports)
    for name in ("conv1.weight", "layer2.0.conv1.weight"):
        torch.testing.assert_close(tensors[f"network/encoder.model.{name}"], published[name], rtol=0, atol=1e-6)
    assert facts["encoder"] == {"encoder_weights": f"{ENCODER}, SHA-256 {row.sha256}", "encoder_stand_in": False}


def test_without_the_file_an_encoder_begins_at_random_only_where_stand_ins_are_allowed_and_says_so(
    weight_imports: WeightImports,
) -> None:
    with pytest.raises(WeightsMissing) as caught:
        begun(weight_imports)
    assert f"segsmith weights fetch {ENCODER}" in caught.value.hint
    _, facts = begun(weight_imports, allow_stand_ins=True)
    assert facts["encoder"] == {
        "encoder_weights": f"random, standing in for {ENCODER}",
        "encoder_stand_in": True,
    }


def test_features_come_from_the_stored_inception_and_name_its_published_digest(weight_imports: WeightImports) -> None:
    layout = inception.empty_network().state_dict()
    row = weight_imports.has(FID_INCEPTION, {name: torch.ones(value.shape) for name, value in layout.items()})
    extractor = extractor_for(weight_imports.engine, weight_imports.objects, allow_stand_in=True)
    assert (extractor.name, extractor.digest, extractor.stand_in) == ("fid-inception-pool3", row.sha256, False)


def test_styling_compares_pictures_by_the_stored_networks_and_names_their_digests(
    weight_imports: WeightImports,
) -> None:
    spec = StylingSpec(style_network="dino-vit-s8")
    context = weight_imports.claimed(JobKind.STYLE, spec)
    with pytest.raises(WeightsMissing, match="dino-vit-s8"):
        towers_for(context, spec, allow_stand_ins=False)
    stand_ins = towers_for(context, spec, allow_stand_ins=True)
    assert (stand_ins.style.stand_in, stand_ins.texture.stand_in) == (True, True)
    dino_layout = dino.empty_network("dino-vit-s8").state_dict()
    weight_imports.has("dino-vit-s8", {name: torch.zeros(value.shape) for name, value in dino_layout.items()})
    vgg_layout = {f"features.{name}": value for name, value in vgg.empty_layers().state_dict().items()}
    row = weight_imports.has(VGG19, {name: torch.zeros(value.shape) for name, value in vgg_layout.items()})
    towers = towers_for(context, spec, allow_stand_ins=False)
    assert (towers.style.name, towers.style.digest, towers.style.stand_in) == ("dino-vit-s8", row.sha256, False)
    assert (towers.texture.digest, towers.texture.stand_in) == (row.sha256, False)


def test_another_network_under_its_name_is_refused_even_where_stand_ins_are_allowed(
    weight_imports: WeightImports,
) -> None:
    weight_imports.has(FID_INCEPTION, {"fc.weight": torch.zeros(2)})
    with pytest.raises(WeightsCorrupt, match="not FID-Inception"):
        extractor_for(weight_imports.engine, weight_imports.objects, allow_stand_in=True)
