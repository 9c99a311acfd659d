"""Networks start from the seed alone, take encoder weights that fit, and have the paper's shape."""

import pytest
import torch

from segsmith_shared.plans.segmentation import SEGMENTATION_PRESETS, preset_named
from segsmith_worker.segmentation import models

TINY = preset_named("tiny-cpu")


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.rand(3)  # whatever the global generator did before
    first, again, other = (models.build(TINY, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("name", ["tiny-cpu", "small-64"])
@pytest.mark.parametrize("side_px", [32, 64])
def test_small_presets_run_at_small_sides_and_give_probabilities(name: str, side_px: int) -> None:
    spec = preset_named(name).with_overrides({"side_px": side_px, "batch": 2})
    images = torch.zeros(2, side_px, side_px, 3, dtype=torch.uint8)
    output = models.build(spec, 0).train()(models.normalise(images, spec))
    assert output.shape == (2, 2, side_px, side_px)
    torch.testing.assert_close(output.sum(dim=1), torch.ones(2, side_px, side_px))


def test_the_papers_network_is_unet_plus_plus_on_se_resnext50() -> None:
    spec = SEGMENTATION_PRESETS["paper-256"]
    with torch.device("meta"):
        network = models._skeleton(spec, classes=1)
        probabilities = network.eval()(torch.zeros(1, 3, 256, 256))
    assert probabilities.shape == (1, 2, 256, 256)
    assert type(network).__name__ == "UnetPlusPlus"
    encoder = sum(parameter.numel() for parameter in network.get_submodule("encoder").parameters())
    assert encoder == 25_510_896  # SE-ResNeXt-50 (32×4d) without its classifier of 2048·1000 + 1000


def test_encoder_weights_of_a_file_are_taken_and_a_classifier_is_left_out() -> None:
    donor = {name.removeprefix("encoder."): tensor for name, tensor in models.build(TINY, 5).state_dict().items()}
    encoder = {name: tensor for name, tensor in donor.items() if name.startswith("model.")}
    network = models.build(TINY, 0, encoder | {"classifier.weight": torch.zeros(1)})
    taken = network.get_submodule("encoder").state_dict()
    assert all(torch.equal(taken[name], encoder[name]) for name in taken)


def test_a_published_file_of_timm_fits_an_encoder_of_timm() -> None:
    donor = {name.removeprefix("encoder."): tensor for name, tensor in models.build(TINY, 5).state_dict().items()}
    published = {name.removeprefix("model."): t for name, t in donor.items() if name.startswith("model.")}
    taken = models.build(TINY, 0, published).get_submodule("encoder").state_dict()
    assert all(torch.equal(taken[f"model.{name}"], tensor) for name, tensor in published.items())


def test_weights_of_another_encoder_are_refused_with_the_first_missing_name() -> None:
    with pytest.raises(models.EncoderWeightsMismatch, match="missing"):
        models.build(TINY, 0, {"layer0.conv1.weight": torch.zeros(1)})


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(models.UnknownEncoder, match="no-such-net"):
        models.build(TINY.with_overrides({"encoder": "no-such-net"}), 0)


def test_input_statistics_change_the_input_as_named() -> None:
    images = torch.full((1, 2, 2, 3), 255, dtype=torch.uint8)
    plain = models.normalise(images, TINY.with_overrides({"input_statistics": "none"}))
    assert torch.equal(plain, torch.ones(1, 3, 2, 2))
    scaled = models.normalise(images, TINY)[0, :, 0, 0]
    torch.testing.assert_close(scaled, torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]))


def test_the_loss_is_low_for_the_truth_and_high_for_its_opposite() -> None:
    labels = torch.zeros(2, 8, 8, dtype=torch.bool)
    labels[:, :4] = True
    right = torch.stack([~labels, labels], dim=1).float()
    assert models.soft_dice_loss(right, labels).item() == pytest.approx(0)
    assert models.soft_dice_loss(right.flip(1), labels).item() == pytest.approx(1, abs=0.01)
